#ifndef EVSERVE_CORE_TICK_CLOCK_H
#define EVSERVE_CORE_TICK_CLOCK_H

/* When ticks of a reactor begin and end, and how long they take: what a ready event waits at most before it is served.
 * Off until somebody wants to know; then it costs no look at the clock beside those that the loop needs anyway. For
 * reactor.c, and for those who get it from reactor_clock().
 *
 * One thread writes, any thread may read the times (relaxed atomics). */

#include "core/stalls.h"

#include <stdbool.h>
#include <stdint.h>

enum { TICK_BOUNDS = 5 }; /* of tick_bounds_ns: 1, 10, 100 ms, 1 and 10 s */

extern const int64_t tick_bounds_ns[TICK_BOUNDS];

enum { TICK_QUICK_NS = 1000000 }; /* the first of them */

/* Totals. */
struct tick_times {
    uint64_t ticks[TICK_BOUNDS + 1]; /* by how long they took: at most the bound; the last ones longer than all */
    uint64_t busy_ns;                /* all of them together */
};

struct tick_clock {
    bool is_on;
    int64_t began_ns;     /* this tick; 0 before the first one */
    int64_t ended_ns;     /* in on_end(): this tick */
    int64_t left_ns;      /* when a loop of the host's was left to itself; 0: the loop waits for the next tick itself */
    uint64_t quick_count; /* things that began and ended in this tick: if it is quick, they are added to the next two */
    uint64_t *quick_number, *quick_ns;
    bool is_asked; /* when the tick ended is wanted, even if it is quick: on_end() is called, or left_ns is set */

    /* Called when it is known when the tick ended, before the next one, unless the tick is quick and nothing else is to
     * be done than with quick_count. It adds those things itself, and leaves quick_count 0. NULL: nobody asks. */
    void (*on_end)(void *arg);
    void *on_end_arg;
    struct tick_times times;
    struct stalls stalls; /* ticks that take too long: apart from all that, and on or off by themselves */
};

/* A tick begins, at now_ns. waits_ns: when the loop began to wait for it, 0 if it did not wait. The clock is on. */
void tick_clock_turn(struct tick_clock *clock, int64_t waits_ns, int64_t now_ns);

/* Add the totals to sum. Any thread. */
void tick_clock_add_times(const struct tick_clock *clock, struct tick_times *sum);

#endif
