/* core/stores.c: who gets which store, how long it lives, and names and numbers at their limits. */

#include "core/stores.h"

#include "core/store.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct stores *stores;
static char err[256];

static int make_stores(void **state)
{
    (void)state;
    return stores_create(&stores);
}

static int free_stores(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    stores_release(stores);
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

static struct store *keep(const char *name, uint64_t size)
{
    struct store *store = NULL;
    if (stores_get(stores, name, size, &store, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    return store;
}

static void a_name_is_a_store_as_long_as_it_is_kept(void **state)
{
    (void)state;
    double sum = 0;
    struct store_key key = {"k", 1};
    struct store *first = keep("a", 0), *other = keep("b", 1 << 17), *again = keep("a", 1 << 18);
    assert_ptr_equal(first, again);
    assert_ptr_not_equal(first, other);
    assert_int_equal(store_size(first), STORE_SIZE_USUAL);
    assert_int_equal(store_size(other), 1 << 17);
    assert_int_equal(store_add(first, key, 1, 0, 0, &sum), 0);
    stores_put(stores, first);
    assert_int_equal(store_add(again, key, 1, 0, 0, &sum), 0);
    assert_int_equal((int)sum, 2);
    stores_put(stores, again);
    first = keep("a", 0);
    assert_int_equal(store_add(first, key, 1, 0, 0, &sum), 0);
    assert_int_equal((int)sum, 1); /* a new one */
    stores_put(stores, first);
    stores_put(stores, other);
}

static void names_and_sizes_have_limits(void **state)
{
    (void)state;
    struct store *store;
    char longest[STORE_NAME_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    static const char *const bad[] = {"", "a b", "\xc3\xa4", "a/b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(stores_get(stores, bad[i], 0, &store, err, sizeof err), -EINVAL);
    }
    assert_string_equal(err, "the name \"a/b\" must be 1 to 64 letters, digits and '_', '-', '.', ':'");
    assert_int_equal(stores_get(stores, longest, 0, &store, err, sizeof err), -EINVAL);
    stores_put(stores, keep(longest + 1, 0));
    assert_int_equal(stores_get(stores, "a", STORE_SIZE_LEAST - 1, &store, err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "a: size: 65535 bytes are out of range: 65536 (64K) to "));
    assert_int_equal(stores_get(stores, "a", STORE_SIZE_MAX + 1, &store, err, sizeof err), -EINVAL);
    stores_put(stores, keep("a", STORE_SIZE_LEAST));
}

static void there_are_at_most_so_many(void **state)
{
    (void)state;
    struct store *all[STORES_MAX], *more;
    char name[16];
    for (int i = 0; i < STORES_MAX; i++) {
        snprintf(name, sizeof name, "s%d", i);
        all[i] = keep(name, STORE_SIZE_LEAST);
    }
    assert_int_equal(stores_get(stores, "more", 0, &more, err, sizeof err), -ENOSPC);
    assert_string_equal(err, "more: a server has at most 64 stores: use fewer, with prefixes of keys");
    stores_put(stores, all[7]);
    all[7] = keep("more", STORE_SIZE_LEAST);
    for (int i = 0; i < STORES_MAX; i++) {
        stores_put(stores, all[i]);
    }
}

static void short_memory_leaves_the_name_free(void **state)
{
    (void)state;
    struct store *store;
    struct stores *other;
    fake_mem_fail_after(1, false);
    assert_int_equal(stores_create(&other), -ENOMEM);
    for (uint64_t n = 1; n <= 3; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(stores_get(stores, "a", 0, &store, err, sizeof err), -ENOMEM);
    }
    stores_put(stores, keep("a", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_is_a_store_as_long_as_it_is_kept, make_stores, free_stores),
        cmocka_unit_test_setup_teardown(names_and_sizes_have_limits, make_stores, free_stores),
        cmocka_unit_test_setup_teardown(there_are_at_most_so_many, make_stores, free_stores),
        cmocka_unit_test_setup_teardown(short_memory_leaves_the_name_free, make_stores, free_stores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
