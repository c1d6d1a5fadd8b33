/* core/limiter.c with threads: together they get what one limit allows, and not one call more. TSan runs it. */

#include "core/limiter.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 3000, MOST = 3 };

static struct limiter *limiter;
static atomic_int passed, inside, refused;

static void *take(void *arg)
{
    const struct limiter_rate rate = {.interval_ns = 1000, .burst = ROUNDS};
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        passed += limiter_take(limiter, limiter_key(limiter, 1, "a", 1), &rate, 0) == 0;
    }
    return NULL;
}

static void *enter(void *arg)
{
    uint64_t key = limiter_key(limiter, 2, "a", 1);
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (limiter_enter(limiter, key, MOST, 0) != LIMITER_COUNTED) {
            refused++;
            continue;
        }
        if (++inside > MOST) {
            fail_msg("%d are in", inside);
        }
        inside--;
        limiter_leave(limiter, key);
        if (i % 100 == 0) {
            (void)limiter_resize(limiter, i % 200 == 0 ? 2048 : 4096);
        }
    }
    return NULL;
}

static void run(void *(*fn)(void *arg))
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fn, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void threads_share_a_rate(void **state)
{
    (void)state;
    run(take);
    assert_int_equal(passed, ROUNDS);
}

static void threads_share_a_number(void **state)
{
    (void)state;
    run(enter);
    assert_int_equal(inside, 0);
    assert_int_equal(limiter_enter(limiter, limiter_key(limiter, 2, "a", 1), 1, 0), LIMITER_COUNTED);
}

static int make_limiter(void **state)
{
    (void)state;
    return limiter_create(&limiter, 2048);
}

static int free_limiter_of_threads(void **state)
{
    (void)state;
    limiter_destroy(limiter);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_share_a_rate, make_limiter, free_limiter_of_threads),
        cmocka_unit_test_setup_teardown(threads_share_a_number, make_limiter, free_limiter_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
