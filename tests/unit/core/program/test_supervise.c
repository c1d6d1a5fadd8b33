/* core/program/supervise.c: how long it waits. The rest is in tests/e2e/test_supervise.py. */

#include "core/program/supervise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void each_wait_is_twice_as_long_up_to_the_longest(void **state)
{
    (void)state;
    static const int64_t waits[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    int64_t wait = 0;
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        wait = supervise_delay_ms(wait, 0);
        assert_int_equal(wait, waits[i]);
    }
}

static void server_that_has_lived_for_a_minute_is_started_soon(void **state)
{
    (void)state;
    assert_int_equal(supervise_delay_ms(30000, 59999), 30000);
    assert_int_equal(supervise_delay_ms(30000, 60000), 100);
    assert_int_equal(supervise_delay_ms(100, 60000), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wait_is_twice_as_long_up_to_the_longest),
        cmocka_unit_test(server_that_has_lived_for_a_minute_is_started_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
