/* core/limiter.c: each limit at the limit and one past it, a table that is full, and other sizes. Time is a number. */

#include "core/limiter.h"

#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000000LL

static struct limiter *limiter;

static int make_small(void **state)
{
    (void)state;
    return limiter_create(&limiter, LIMITER_LEAST);
}

static int free_limiter_of_test(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    limiter_destroy(limiter);
    limiter = NULL;
    assert_int_equal(fake_mem_live(), 0);
    return 0;
}

static uint64_t key_of(const char *text)
{
    return limiter_key(limiter, 1, text, strlen(text));
}

static uint64_t numbered(unsigned number)
{
    char text[32];
    return limiter_key(limiter, 1, text, (size_t)snprintf(text, sizeof text, "client %u", number));
}

static struct limiter_counts counts(void)
{
    struct limiter_counts now;
    limiter_get_counts(limiter, &now);
    return now;
}

static void a_burst_passes_and_the_next_one_waits(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND / 10, .burst = 3};
    uint64_t key = key_of("a");
    int64_t now = 5 * SECOND;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(limiter_take(limiter, key, &rate, now), 0);
    }
    assert_int_equal(limiter_take(limiter, key, &rate, now), SECOND / 10);
    assert_int_equal(limiter_take(limiter, key, &rate, now), SECOND / 10); /* a refusal costs nothing */
    assert_int_equal(limiter_take(limiter, key_of("b"), &rate, now), 0);
    assert_int_equal(limiter_take(limiter, key, &rate, now + SECOND / 10 - 1), 1);
    assert_int_equal(limiter_take(limiter, key, &rate, now + SECOND / 10), 0);
    assert_int_equal(limiter_take(limiter, key, &rate, now + SECOND / 10), SECOND / 10);
    now += 10 * SECOND; /* a long rest gives no more than a burst */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(limiter_take(limiter, key, &rate, now), 0);
    }
    assert_int_equal(limiter_take(limiter, key, &rate, now), SECOND / 10);
}

static void over_time_a_rate_is_exact(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND / 7, .burst = 1};
    int passed = 0;
    for (int64_t now = 0; now < 100 * SECOND; now += SECOND / 1000) {
        passed += limiter_take(limiter, key_of("a"), &rate, now) == 0;
    }
    /* Each waits for the next millisecond, so an interval of 142.86 ms lasts 143. */
    assert_int_equal(passed, 100000 / 143 + 1);
}

static void the_extremes_of_a_rate_do_not_overflow(void **state)
{
    (void)state;
    const struct limiter_rate slow = {.interval_ns = LIMITER_SPAN_MAX_S * SECOND, .burst = 1};
    const struct limiter_rate fast = {.interval_ns = 1, .burst = LIMITER_BURST_MAX};
    int64_t now = INT64_MAX / 2;
    assert_int_equal(limiter_take(limiter, key_of("slow"), &slow, now), 0);
    assert_int_equal(limiter_take(limiter, key_of("slow"), &slow, now + 1), LIMITER_SPAN_MAX_S * SECOND - 1);
    for (int i = 0; i < LIMITER_BURST_MAX; i++) {
        if (limiter_take(limiter, key_of("fast"), &fast, now) != 0) {
            fail_msg("refused after %d", i);
        }
    }
    assert_int_equal(limiter_take(limiter, key_of("fast"), &fast, now), 1);
}

static void what_is_given_back_may_be_taken_again(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND, .burst = 2};
    uint64_t key = key_of("a");
    assert_int_equal(limiter_take(limiter, key, &rate, 0), 0);
    assert_int_equal(limiter_take(limiter, key, &rate, 0), 0);
    limiter_give_back(limiter, key, &rate);
    assert_int_equal(limiter_take(limiter, key, &rate, 0), 0);
    assert_int_equal(limiter_take(limiter, key, &rate, 0), SECOND);
    limiter_give_back(limiter, key_of("unknown"), &rate); /* its place was taken meanwhile */
}

static void so_many_may_be_in_at_a_time(void **state)
{
    (void)state;
    uint64_t key = key_of("a");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(limiter_enter(limiter, key, 3, 0), LIMITER_COUNTED);
    }
    assert_int_equal(limiter_enter(limiter, key, 3, 0), LIMITER_REFUSED);
    assert_int_equal(limiter_enter(limiter, key_of("b"), 3, 0), LIMITER_COUNTED);
    limiter_leave(limiter, key);
    assert_int_equal(limiter_enter(limiter, key, 3, 0), LIMITER_COUNTED);
    assert_int_equal(limiter_enter(limiter, key, 3, 0), LIMITER_REFUSED);
    for (int i = 0; i < 3; i++) {
        limiter_leave(limiter, key);
    }
    limiter_leave(limiter, key_of("b"));
}

static void limits_do_not_share_their_keys(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND, .burst = 1};
    uint64_t one = limiter_key(limiter, 1, "a", 1), two = limiter_key(limiter, 2, "a", 1);
    assert_int_not_equal(one, two);
    assert_int_equal(limiter_take(limiter, one, &rate, 0), 0);
    assert_int_equal(limiter_take(limiter, two, &rate, 0), 0);
    assert_int_equal(limiter_enter(limiter, one, 1, 0), LIMITER_COUNTED); /* nor do a rate and a number */
    assert_int_equal(limiter_take(limiter, one, &rate, 0), SECOND);
    limiter_leave(limiter, one);
}

static void a_full_table_forgets_the_least_debt(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND, .burst = 100};
    for (unsigned i = 0; i < LIMITER_LEAST; i++) {
        for (unsigned n = 0; n <= i; n++) {
            assert_int_equal(limiter_take(limiter, numbered(i), &rate, 0), 0);
        }
    }
    assert_int_equal(counts().forgotten, 0);
    assert_int_equal(counts().entries, LIMITER_LEAST);
    for (unsigned i = 100; i < 1100; i++) { /* a flood of new keys */
        assert_int_equal(limiter_take(limiter, numbered(i), &rate, 0), 0);
    }
    assert_int_equal(counts().forgotten, 1000);
    const struct limiter_rate strict = {.interval_ns = SECOND, .burst = 1}; /* shows the debt, without adding to it */
    for (unsigned i = 1; i < LIMITER_LEAST; i++) {
        assert_int_equal(limiter_take(limiter, numbered(i), &strict, 0), (i + 1) * SECOND);
    }
    assert_int_equal(limiter_take(limiter, numbered(0), &strict, 0), 0); /* it was the first to be forgotten */
}

static void debts_that_are_over_make_room(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND, .burst = 1};
    for (unsigned i = 0; i < 10 * LIMITER_LEAST; i++) {
        int64_t now = (int64_t)(i / LIMITER_LEAST) * SECOND;
        assert_int_equal(limiter_take(limiter, numbered(i), &rate, now), 0);
    }
    assert_int_equal(counts().forgotten, 0);
}

static void who_has_entered_is_never_forgotten(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND, .burst = 1};
    assert_int_equal(limiter_take(limiter, key_of("rate"), &rate, 0), 0);
    for (unsigned i = 0; i < LIMITER_LEAST; i++) {
        assert_int_equal(limiter_enter(limiter, numbered(i), 1, 0), LIMITER_COUNTED);
    }
    assert_int_equal(counts().forgotten, 1); /* the rate */
    assert_int_equal(limiter_enter(limiter, numbered(LIMITER_LEAST), 1, 0), LIMITER_UNCOUNTED);
    assert_int_equal(limiter_take(limiter, key_of("rate"), &rate, 0), 0); /* nothing can be noted of it */
    assert_int_equal(limiter_take(limiter, key_of("rate"), &rate, 0), 0);
    assert_int_equal(counts().uncounted, 3);
    for (unsigned i = 0; i < LIMITER_LEAST; i++) {
        assert_int_equal(limiter_enter(limiter, numbered(i), 1, 0), LIMITER_REFUSED);
        limiter_leave(limiter, numbered(i));
    }
    assert_int_equal(limiter_take(limiter, key_of("rate"), &rate, 0), 0);
    assert_int_equal(limiter_take(limiter, key_of("rate"), &rate, 0), SECOND);
}

static void a_large_table_is_filled_to_three_fifths_without_loss(void **state)
{
    (void)state;
    enum { LARGE = 65536 };
    limiter_destroy(limiter);
    assert_int_equal(limiter_create(&limiter, LARGE), 0);
    assert_int_equal(counts().entries, LARGE);
    for (unsigned i = 0; i < LARGE * 3 / 5; i++) {
        assert_int_equal(limiter_enter(limiter, numbered(i), 1, 0), LIMITER_COUNTED);
    }
    for (unsigned i = 0; i < LARGE * 3 / 5; i++) {
        assert_int_equal(limiter_enter(limiter, numbered(i), 1, 0), LIMITER_REFUSED);
        limiter_leave(limiter, numbered(i));
    }
}

static void another_size_keeps_what_fits(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND, .burst = 1};
    for (unsigned i = 0; i < LIMITER_LEAST / 2; i++) {
        assert_int_equal(limiter_take(limiter, numbered(i), &rate, 0), 0);
        assert_int_equal(limiter_enter(limiter, numbered(i), 1, 0), LIMITER_COUNTED);
    }
    assert_int_equal(limiter_resize(limiter, 100), 0);
    assert_int_equal(counts().entries, 104); /* whole sets */
    for (unsigned i = 0; i < LIMITER_LEAST / 2; i++) {
        assert_int_equal(limiter_take(limiter, numbered(i), &rate, 0), SECOND);
        assert_int_equal(limiter_enter(limiter, numbered(i), 1, 0), LIMITER_REFUSED);
    }
    for (unsigned i = LIMITER_LEAST / 2; i < LIMITER_LEAST; i++) {
        assert_int_equal(limiter_enter(limiter, numbered(i), 1, 0), LIMITER_COUNTED);
    }
    assert_int_equal(limiter_enter(limiter, numbered(LIMITER_LEAST), 1, 0), LIMITER_COUNTED);
    assert_int_equal(limiter_resize(limiter, LIMITER_LEAST), -ENOSPC); /* one too many has entered */
    assert_int_equal(counts().entries, 104);
    limiter_leave(limiter, numbered(LIMITER_LEAST));
    assert_int_equal(limiter_resize(limiter, LIMITER_LEAST), 0); /* the rates are what does not fit */
    for (unsigned i = 0; i < LIMITER_LEAST; i++) {
        assert_int_equal(limiter_enter(limiter, numbered(i), 1, 0), LIMITER_REFUSED);
        limiter_leave(limiter, numbered(i));
    }
    assert_int_equal(limiter_take(limiter, numbered(0), &rate, 0), 0);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    const struct limiter_rate rate = {.interval_ns = SECOND, .burst = 1};
    limiter_destroy(limiter);
    limiter = NULL;
    int rv = -ENOMEM;
    unsigned failures = 0;
    for (; rv == -ENOMEM; failures++) {
        fake_mem_fail_after(failures + 1, false);
        rv = limiter_create(&limiter, 2000);
    }
    assert_int_equal(rv, 0);
    assert_int_equal(failures, 18); /* the limiter and 16 shards */
    fake_mem_fail_after(0, false);
    assert_int_equal(limiter_take(limiter, key_of("a"), &rate, 0), 0);
    rv = -ENOMEM;
    for (failures = 0; rv == -ENOMEM; failures++) {
        fake_mem_fail_after(failures + 1, false);
        assert_int_equal(limiter_take(limiter, key_of("a"), &rate, 0), SECOND);
        rv = limiter_resize(limiter, 4000);
    }
    assert_int_equal(rv, 0);
    assert_int_equal(failures, 17);
    fake_mem_fail_after(0, false);
    assert_int_equal(counts().entries, 4096);
    assert_int_equal(limiter_take(limiter, key_of("a"), &rate, 0), SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_burst_passes_and_the_next_one_waits, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(over_time_a_rate_is_exact, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(the_extremes_of_a_rate_do_not_overflow, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(what_is_given_back_may_be_taken_again, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(so_many_may_be_in_at_a_time, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(limits_do_not_share_their_keys, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(a_full_table_forgets_the_least_debt, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(debts_that_are_over_make_room, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(who_has_entered_is_never_forgotten, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(a_large_table_is_filled_to_three_fifths_without_loss, make_small,
                                        free_limiter_of_test),
        cmocka_unit_test_setup_teardown(another_size_keeps_what_fits, make_small, free_limiter_of_test),
        cmocka_unit_test_setup_teardown(without_memory_nothing_changes, make_small, free_limiter_of_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
