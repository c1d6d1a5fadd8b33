/* Happy path: a tick is quick, as most are while there is little to do, and costs no call and no loop.
 *
 * No failure modes: nothing here allocates or asks the kernel. */

#include "core/tick_clock.h"

#include "core/tally.h"

#include <stddef.h>

const int64_t tick_bounds_ns[5] = {TICK_QUICK_NS, 10000000, 100000000, 1000000000, 10000000000};

/* A tick that was long, was the first one, or whose end somebody waits for. */
__attribute__((noinline)) static void end_tick(struct tick_clock *clock, int64_t ended_ns)
{
    clock->ended_ns = clock->left_ns != 0 ? clock->left_ns : ended_ns;
    if (clock->began_ns != 0) {
        int64_t took_ns = clock->ended_ns - clock->began_ns;
        size_t bucket = 0;
        while (bucket < TICK_BOUNDS && took_ns > tick_bounds_ns[bucket]) {
            bucket++;
        }
        tally_add(&clock->times.ticks[bucket], 1);
        tally_add(&clock->times.busy_ns, (uint64_t)took_ns);
    }
    if (clock->on_end != NULL) {
        clock->on_end(clock->on_end_arg);
    }
    clock->left_ns = 0;
    clock->is_asked = false;
}

void tick_clock_turn(struct tick_clock *clock, int64_t waits_ns, int64_t now_ns)
{
    int64_t ended_ns = waits_ns != 0 ? waits_ns : now_ns;
    uint64_t took_ns = (uint64_t)(ended_ns - clock->began_ns); /* of the first one, a long time */
    if (took_ns > TICK_QUICK_NS || clock->is_asked) {
        end_tick(clock, ended_ns);
    } else {
        const uint64_t quick_count = clock->quick_count;
        tally_add(&clock->times.ticks[0], 1);
        tally_add(&clock->times.busy_ns, took_ns);
        if (quick_count > 0) {
            clock->quick_count = 0;
            tally_add(clock->quick_number, quick_count);
            tally_add(clock->quick_ns, quick_count * took_ns);
        }
    }
    clock->began_ns = now_ns;
}

void tick_clock_add_times(const struct tick_clock *clock, struct tick_times *sum)
{
    for (size_t i = 0; i <= TICK_BOUNDS; i++) {
        sum->ticks[i] += __atomic_load_n(&clock->times.ticks[i], __ATOMIC_RELAXED);
    }
    sum->busy_ns += __atomic_load_n(&clock->times.busy_ns, __ATOMIC_RELAXED);
}
