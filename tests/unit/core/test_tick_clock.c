/* core/tick_clock.c: when ticks end, and how long they take. */

#include "core/tick_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MS = 1000000 };

static void tick_ends_when_the_loop_waits_or_the_next_one_begins(void **state)
{
    (void)state;
    struct tick_clock clock = {.is_on = true};
    tick_clock_turn(&clock, 5 * MS, 10 * MS); /* nothing is known of what was before the first one */
    assert_int_equal(clock.times.busy_ns, 0);
    tick_clock_turn(&clock, 11 * MS, 30 * MS);
    assert_int_equal(clock.times.busy_ns, 1 * MS);
    tick_clock_turn(&clock, 0, 35 * MS); /* it did not wait */
    assert_int_equal(clock.times.busy_ns, (1 + 5) * MS);
    clock.left_ns = 37 * MS; /* a host's loop did something else before the next wait */
    clock.is_asked = true;
    tick_clock_turn(&clock, 90 * MS, 95 * MS);
    assert_int_equal(clock.times.busy_ns, (1 + 5 + 2) * MS);
    tick_clock_turn(&clock, 96 * MS, 97 * MS);
    struct tick_times sum = {0};
    tick_clock_add_times(&clock, &sum);
    assert_int_equal(sum.busy_ns, (1 + 5 + 2 + 1) * MS);
    assert_int_equal(sum.ticks[0], 2);
    assert_int_equal(sum.ticks[1], 2);
}

static unsigned ends;

static void on_end(void *arg)
{
    struct tick_clock *clock = arg;
    ends++;
    clock->quick_count = 0;
}

static void on_end_is_called_for_ticks_that_are_not_quick_and_for_those_that_are_asked_for(void **state)
{
    (void)state;
    uint64_t number = 0, sum_ns = 0;
    struct tick_clock clock = {.is_on = true, .began_ns = MS, .quick_number = &number, .quick_ns = &sum_ns};
    clock.on_end = on_end;
    clock.on_end_arg = &clock;
    clock.quick_count = 3;
    tick_clock_turn(&clock, 2 * MS, 10 * MS); /* as long as a quick one may be */
    assert_int_equal(ends, 0);
    assert_int_equal(clock.quick_count, 0);
    assert_int_equal(number, 3);
    assert_int_equal(sum_ns, 3 * MS);
    clock.quick_count = 1;
    tick_clock_turn(&clock, 11 * MS + 1, 20 * MS); /* and one past it */
    assert_int_equal(ends, 1);
    clock.is_asked = true;
    tick_clock_turn(&clock, 20 * MS, 30 * MS);
    tick_clock_turn(&clock, 30 * MS, 40 * MS); /* once */
    assert_int_equal(ends, 2);
    assert_int_equal(number, 3);
}

static void ticks_are_counted_by_how_long_they_took(void **state)
{
    (void)state;
    for (size_t i = 0; i < TICK_BOUNDS; i++) {
        for (int64_t more = 0; more <= 1; more++) { /* at the bound, and one past it */
            struct tick_clock clock = {.is_on = true, .began_ns = 1};
            tick_clock_turn(&clock, 1 + tick_bounds_ns[i] + more, INT64_MAX);
            assert_int_equal(clock.times.ticks[i + (size_t)more], 1);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tick_ends_when_the_loop_waits_or_the_next_one_begins),
        cmocka_unit_test(ticks_are_counted_by_how_long_they_took),
        cmocka_unit_test(on_end_is_called_for_ticks_that_are_not_quick_and_for_those_that_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
