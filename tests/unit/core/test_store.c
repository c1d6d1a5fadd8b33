/* core/store.c: what each call does, at its limits, with deadlines, and without memory. Threads are
 * socket_store.c's. */

#include "core/store.h"

#include "core/write_buffer.h"

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct store *store;

static int make_store(void **state)
{
    (void)state;
    fake_sys_reset();
    return store_create(&store, STORE_SIZE_LEAST);
}

static int free_store_again(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    store_destroy(store);
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

static struct store_key key_of(const char *text)
{
    return (struct store_key){text, strlen(text)};
}

static struct store_value text_value(const char *text)
{
    return (struct store_value){.bytes = text, .len = strlen(text)};
}

static struct store_value number_value(double number)
{
    return (struct store_value){.is_number = true, .number = number};
}

static int put(const char *key, const char *value, int64_t ttl_ms, enum store_when when)
{
    return store_put(store, key_of(key), text_value(value), ttl_ms, when);
}

/* The text of a key, or NULL. */
static const char *get(const char *key)
{
    static char text[1000];
    struct store_found found;
    if (!store_get(store, key_of(key), &found)) {
        return NULL;
    }
    assert_false(found.value.is_number);
    snprintf(text, sizeof text, "%.*s", (int)found.value.len, found.value.bytes);
    store_done(&found);
    return text;
}

static void pass(int64_t ms)
{
    fake_sys_advance_ms(ms);
}

static void values_are_put_got_and_deleted(void **state)
{
    (void)state;
    struct store_found found;
    assert_null(get("a"));
    assert_int_equal(put("a", "one", 0, STORE_ALWAYS), 0);
    assert_int_equal(put("a", "two", 0, STORE_ALWAYS), 0);
    assert_int_equal(put("", "empty", 0, STORE_ALWAYS), 0);
    assert_string_equal(get("a"), "two");
    assert_string_equal(get(""), "empty");
    assert_int_equal(store_put(store, key_of("n"), number_value(1.5), 0, STORE_ALWAYS), 0);
    assert_true(store_get(store, key_of("n"), &found));
    assert_true(found.value.is_number && found.value.number >= 1.5 && found.value.number <= 1.5);
    assert_true(store_delete(store, key_of("a")));
    assert_false(store_delete(store, key_of("a")));
    assert_null(get("a"));
}

static void put_minds_what_is_there(void **state)
{
    (void)state;
    assert_int_equal(put("a", "one", 0, STORE_IF_PRESENT), -ENOENT);
    assert_int_equal(put("a", "one", 0, STORE_IF_ABSENT), 0);
    assert_int_equal(put("a", "two", 0, STORE_IF_ABSENT), -EEXIST);
    assert_string_equal(get("a"), "one");
    assert_int_equal(put("a", "two", 0, STORE_IF_PRESENT), 0);
    assert_string_equal(get("a"), "two");
}

static void deadlines_end_entries(void **state)
{
    (void)state;
    int64_t ttl_ms = -1;
    assert_int_equal(put("a", "one", 1000, STORE_ALWAYS), 0);
    pass(999);
    assert_true(store_ttl(store, key_of("a"), &ttl_ms));
    assert_int_equal(ttl_ms, 1);
    assert_string_equal(get("a"), "one");
    pass(1);
    assert_false(store_ttl(store, key_of("a"), &ttl_ms));
    assert_null(get("a"));
    assert_int_equal(put("a", "two", 1000, STORE_IF_ABSENT), 0);
    assert_int_equal(put("a", "three", 0, STORE_ALWAYS), 0); /* without a deadline from now on */
    assert_true(store_ttl(store, key_of("a"), &ttl_ms));
    assert_int_equal(ttl_ms, 0);
    pass(100000);
    assert_true(store_expire(store, key_of("a"), 10));
    assert_false(store_expire(store, key_of("b"), 10));
    pass(9);
    assert_true(store_expire(store, key_of("a"), 0));
    pass(1);
    assert_string_equal(get("a"), "three");
    assert_true(store_expire(store, key_of("a"), INT64_MAX));
    assert_string_equal(get("a"), "three");
    assert_true(store_expire(store, key_of("a"), 10));
    pass(10);
    assert_int_equal(put("a", "four", 0, STORE_IF_PRESENT), -ENOENT);
}

static void numbers_are_added_to(void **state)
{
    (void)state;
    double sum = 0;
    assert_int_equal(store_add(store, key_of("n"), 1, 10, 1000, &sum), 0);
    assert_int_equal((int)sum, 11);
    assert_int_equal(store_add(store, key_of("n"), -1, 10, 5000, &sum), 0);
    assert_int_equal((int)sum, 10);
    pass(1000); /* the deadline is that of the first one */
    assert_int_equal(store_add(store, key_of("n"), 1, 0, 0, &sum), 0);
    assert_int_equal((int)sum, 1);
    assert_int_equal(put("text", "1", 0, STORE_ALWAYS), 0);
    assert_int_equal(store_add(store, key_of("text"), 1, 0, 0, &sum), -EINVAL);
    assert_string_equal(get("text"), "1");
}

static void longest_value_fits_and_one_byte_more_does_not(void **state)
{
    (void)state;
    size_t most = (size_t)store_value_most(store, 1);
    char *bytes = calloc(1, most + 1);
    struct store_value value = {.bytes = bytes, .len = most};
    assert_int_equal(put("b", "small", 0, STORE_ALWAYS), 0);
    value.len++;
    assert_int_equal(store_put(store, key_of("a"), value, 0, STORE_ALWAYS), -EMSGSIZE);
    assert_string_equal(get("b"), "small");
    value.len--;
    assert_int_equal(store_put(store, key_of("a"), value, 0, STORE_ALWAYS), 0);
    assert_null(get("b"));
    value.len = (size_t)STORE_VALUE_MAX + 1;
    assert_int_equal(store_put(store, key_of("a"), value, 0, STORE_ALWAYS), -EMSGSIZE);
    free(bytes);
}

static void longest_key_is_found_again(void **state)
{
    (void)state;
    static char text[STORE_KEY_MAX];
    memset(text, 'k', sizeof text);
    struct store_key key = {text, sizeof text};
    assert_int_equal(store_put(store, key, text_value("v"), 0, STORE_ALWAYS), 0);
    key.len--;
    assert_false(store_delete(store, key));
    key.len++;
    assert_true(store_delete(store, key));
}

/* What is over makes room before what is old, and what is used stays. */
static void full_store_evicts_in_order(void **state)
{
    (void)state;
    struct store_stats stats;
    static char kilo[1025];
    char key[16];
    memset(kilo, 'x', 1024);
    put("over", kilo, 10, STORE_ALWAYS);
    put("used", kilo, 0, STORE_ALWAYS);
    put("old", kilo, 0, STORE_ALWAYS);
    int count = 0;
    do {
        snprintf(key, sizeof key, "k%d", count++);
        put(key, kilo, 0, STORE_ALWAYS);
        store_stats(store, &stats);
    } while (stats.size - stats.bytes > 2 * 1024);
    assert_non_null(get("used"));
    pass(10);
    snprintf(key, sizeof key, "k%d", count++);
    put(key, kilo, 0, STORE_ALWAYS);
    put("more", kilo, 0, STORE_ALWAYS);
    assert_non_null(get("old"));
    assert_non_null(get("used"));
    store_stats(store, &stats);
    assert_int_equal(stats.evicted, 0);
    assert_int_equal(put("k0", kilo, 0, STORE_ALWAYS), 0);
    put("last", kilo, 0, STORE_ALWAYS);
    store_stats(store, &stats);
    assert_int_equal(stats.evicted, 1);
    assert_null(get("k1"));
    assert_non_null(get("used"));
    assert_in_range(stats.bytes, 1, stats.size);
}

static void value_that_is_held_outlives_its_entry(void **state)
{
    (void)state;
    static char text[STORE_ROOM + 2];
    struct store_found found, small;
    memset(text, 'x', STORE_ROOM);
    put("small", text, 0, STORE_ALWAYS);
    text[STORE_ROOM] = 'x';
    put("large", text, 0, STORE_ALWAYS);
    assert_true(store_get(store, key_of("small"), &small));
    assert_null(small.held);
    assert_true(store_get(store, key_of("large"), &found));
    assert_non_null(found.held);
    store_flush(store);
    assert_null(get("large"));
    assert_memory_equal(found.value.bytes, text, STORE_ROOM + 1);
    assert_memory_equal(small.value.bytes, text, STORE_ROOM);
    store_done(&found);
    store_done(&small);
}

static void each_key_is_listed_once(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    bool is_seen[COUNT] = {false};
    char key[16];
    struct write_buffer out;
    write_buffer_init(&out);
    for (int i = 0; i < COUNT; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        put(key, "", 0, STORE_ALWAYS);
    }
    put("other", "", 0, STORE_ALWAYS);
    put("key:over", "", 10, STORE_ALWAYS);
    pass(10);
    uint64_t at = 0;
    int rounds = 0;
    while (store_keys(store, &at, key_of("key:"), &out) == 0) {
        rounds++;
    }
    assert_true(rounds > 1);
    const char *text = write_buffer_data(&out), *end = text + write_buffer_len(&out);
    int count = 0;
    while (text < end) {
        uint16_t len;
        memcpy(&len, text, sizeof len);
        snprintf(key, sizeof key, "%.*s", len, text + sizeof len);
        int number = atoi(key + 4);
        assert_in_range(number, 0, COUNT - 1);
        assert_false(is_seen[number]);
        is_seen[number] = true;
        text += sizeof len + len;
        count++;
    }
    assert_int_equal(count, COUNT);
    write_buffer_done(&out);
}

static void another_size_keeps_what_fits(void **state)
{
    (void)state;
    struct store_stats stats;
    static char kilo[1025];
    char key[16];
    memset(kilo, 'x', 1024);
    assert_int_equal(store_resize(store, 4 * STORE_SIZE_LEAST), 0);
    for (int i = 0; i < 150; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(key, kilo, i % 2 == 0 ? 0 : 1000, STORE_ALWAYS);
    }
    store_stats(store, &stats);
    assert_int_equal(stats.keys, 150);
    assert_int_equal(stats.size, 4 * STORE_SIZE_LEAST);
    fake_mem_fail_after(1, false);
    assert_int_equal(store_resize(store, STORE_SIZE_LEAST), -ENOMEM);
    assert_int_equal(store_size(store), 4 * STORE_SIZE_LEAST);
    assert_int_equal(store_resize(store, STORE_SIZE_LEAST), 0);
    store_stats(store, &stats);
    assert_in_range(stats.keys, 40, 60);
    assert_in_range(stats.bytes, 1, STORE_SIZE_LEAST);
    assert_non_null(get("k149"));
    assert_null(get("k0"));
    pass(1000);
    assert_null(get("k149"));
    assert_non_null(get("k148"));
}

static void large_store_has_parts_that_work_as_one(void **state)
{
    (void)state;
    store_destroy(store);
    assert_int_equal(store_create(&store, (uint64_t)STORE_PART_LEAST * STORE_PARTS_MAX), 0);
    struct store_stats stats;
    char key[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        put(key, key, 0, STORE_ALWAYS);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_string_equal(get(key), key);
    }
    store_stats(store, &stats);
    assert_int_equal(stats.keys, 1000);
    struct write_buffer out;
    write_buffer_init(&out);
    uint64_t at = 0;
    while (store_keys(store, &at, key_of(""), &out) == 0) {
    }
    assert_int_equal(write_buffer_len(&out), 10 * 4 + 90 * 5 + 900 * 6);
    write_buffer_done(&out);
    store_flush(store);
    store_stats(store, &stats);
    assert_int_equal(stats.keys, 0);
    assert_in_range(store_value_most(store, 10), STORE_PART_LEAST / 2, STORE_PART_LEAST);
}

static void short_memory_changes_nothing(void **state)
{
    (void)state;
    struct store *other = NULL;
    double sum;
    for (uint64_t n = 1; n <= 5; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(store_create(&other, 2 * STORE_PART_LEAST), -ENOMEM);
    }
    put("a", "one", 0, STORE_ALWAYS);
    fake_mem_fail_after(1, false);
    assert_int_equal(put("a", "two", 0, STORE_ALWAYS), -ENOMEM);
    fake_mem_fail_after(1, false);
    assert_int_equal(store_add(store, key_of("n"), 1, 0, 0, &sum), -ENOMEM);
    assert_string_equal(get("a"), "one");
    struct write_buffer out;
    write_buffer_init(&out);
    uint64_t at = 0;
    int rv = 0;
    fake_mem_fail_after(1, false);
    while (rv == 0) {
        rv = store_keys(store, &at, key_of(""), &out);
    }
    assert_int_equal(rv, -ENOMEM);
    write_buffer_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_are_put_got_and_deleted, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(put_minds_what_is_there, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(deadlines_end_entries, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(numbers_are_added_to, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(longest_value_fits_and_one_byte_more_does_not, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(longest_key_is_found_again, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(full_store_evicts_in_order, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(value_that_is_held_outlives_its_entry, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(each_key_is_listed_once, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(another_size_keeps_what_fits, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(large_store_has_parts_that_work_as_one, make_store, free_store_again),
        cmocka_unit_test_setup_teardown(short_memory_changes_nothing, make_store, free_store_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
