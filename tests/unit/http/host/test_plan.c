/* http/host/plan.c: the memory that threads share. */

#include "http/host/plan.h"

#include "evserve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MEBI = 1 << 20 };

static void states_of_all_threads_get_half_of_the_memory(void **state)
{
    (void)state;
    static const struct {
        uint64_t limit;
        unsigned reactors;
        uint64_t each;
    } rows[] = {
        {UINT64_MAX, 0, 0},
        {UINT64_MAX, EVSERVE_REACTORS_MAX, 0},
        {512ULL * MEBI, 0, 0},
        {512ULL * MEBI - 1, 0, 255ULL * MEBI},
        {512ULL * MEBI, 2, 128ULL * MEBI},
        {1024ULL * MEBI, 2, 0},
        {64ULL * MEBI, 0, 32ULL * MEBI},
        {64ULL * MEBI, 1, 32ULL * MEBI},
        {64ULL * MEBI, 4, 8ULL * MEBI},
        {64ULL * MEBI, 100, 4ULL * MEBI}, /* less is of no use */
        {0, 0, 4ULL * MEBI},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(plan_share_memory(rows[i].limit, rows[i].reactors) == rows[i].each);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_of_all_threads_get_half_of_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
