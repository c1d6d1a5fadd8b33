/* No failure modes: nothing here allocates or asks the kernel. */

#include "core/tick_clock.h"

#include <stddef.h>

const int64_t tick_bounds_ns[5] = {1000000, 10000000, 100000000, 1000000000, 10000000000};

static void add_time(uint64_t *number, uint64_t n)
{
    __atomic_store_n(number, *number + n, __ATOMIC_RELAXED);
}

void tick_clock_turn(struct tick_clock *clock, int64_t waits_ns, int64_t now_ns)
{
    clock->ended_ns = clock->left_ns != 0 ? clock->left_ns : waits_ns != 0 ? waits_ns : now_ns;
    if (clock->began_ns != 0) {
        int64_t took_ns = clock->ended_ns - clock->began_ns;
        size_t bucket = 0;
        while (bucket < TICK_BOUNDS && took_ns > tick_bounds_ns[bucket]) {
            bucket++;
        }
        add_time(&clock->times.ticks[bucket], 1);
        add_time(&clock->times.busy_ns, (uint64_t)took_ns);
    }
    if (clock->on_end != NULL) {
        clock->on_end(clock->on_end_arg);
    }
    clock->left_ns = 0;
    clock->began_ns = now_ns;
}

void tick_clock_add_times(const struct tick_clock *clock, struct tick_times *sum)
{
    for (size_t i = 0; i <= TICK_BOUNDS; i++) {
        sum->ticks[i] += __atomic_load_n(&clock->times.ticks[i], __ATOMIC_RELAXED);
    }
    sum->busy_ns += __atomic_load_n(&clock->times.busy_ns, __ATOMIC_RELAXED);
}
