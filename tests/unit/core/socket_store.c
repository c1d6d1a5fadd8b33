/* core/store.c with threads and real clocks: sums are exact, once is once, and what was read is whole. TSan runs it. */

#include "core/store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 3000, LARGE = 5000 };

static struct store *store;
static atomic_int firsts;

static struct store_key key_of(const char *text)
{
    return (struct store_key){text, strlen(text)};
}

static void *count(void *arg)
{
    double sum;
    for (int i = 0; i < ROUNDS; i++) {
        (void)store_add(store, key_of("sum"), 1, 0, 0, &sum);
        (void)arg;
    }
    return NULL;
}

static void *be_first(void *arg)
{
    char key[32];
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof key, "job %d", i);
        struct store_value value = {.bytes = "t", .len = 1};
        firsts += store_put(store, key_of(key), value, 60000, STORE_IF_ABSENT) == 0;
    }
    return NULL;
}

/* Each thread writes texts of one letter: a mixture would be a torn value. */
static void *write_and_read(void *arg)
{
    char text[LARGE];
    const int *number = arg;
    memset(text, 'a' + *number, sizeof text);
    for (int i = 0; i < ROUNDS; i++) {
        struct store_value value = {.bytes = text, .len = i % 2 == 0 ? LARGE : 100};
        struct store_found found;
        struct store_key key = key_of(i % 3 == 0 ? "x" : "y");
        assert_int_equal(store_put(store, key, value, i % 5 == 0 ? 1 : 0, STORE_ALWAYS), 0);
        if (i % 100 == 0) {
            (void)store_resize(store, i % 200 == 0 ? STORE_SIZE_LEAST : 2 * STORE_SIZE_LEAST);
        }
        if (i % 500 == 0) {
            store_flush(store);
        }
        if (store_get(store, key, &found)) {
            for (size_t byte = 1; byte < found.value.len; byte++) {
                assert_int_equal(found.value.bytes[byte], found.value.bytes[0]);
            }
            store_done(&found);
        }
    }
    return NULL;
}

static void run_threads(void *(*fn)(void *arg), uint64_t size)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    assert_int_equal(store_create(&store, size), 0);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, fn, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void sums_are_exact(void **state)
{
    (void)state;
    double sum = 0;
    run_threads(count, STORE_SIZE_LEAST);
    assert_int_equal(store_add(store, key_of("sum"), 0, 0, 0, &sum), 0);
    assert_int_equal((int)sum, THREADS * ROUNDS);
    store_destroy(store);
}

static void each_key_is_added_by_one_thread(void **state)
{
    (void)state;
    run_threads(be_first, 4 * STORE_PART_LEAST);
    assert_int_equal(firsts, ROUNDS);
    store_destroy(store);
}

static void values_are_never_torn(void **state)
{
    (void)state;
    run_threads(write_and_read, STORE_SIZE_LEAST);
    store_destroy(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(each_key_is_added_by_one_thread),
        cmocka_unit_test(values_are_never_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
