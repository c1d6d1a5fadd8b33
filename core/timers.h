#ifndef EVSERVE_CORE_TIMERS_H
#define EVSERVE_CORE_TIMERS_H

/* Calling the timers of a reactor that are due (R5, R6). For reactor.c; timer_heap.h has what they are kept in. */

#include "core/timer_heap.h"

#include <stdbool.h>
#include <stdint.h>

struct reactor;

/* Whether the first timer is due. */
static inline bool timers_are_due(const struct timer_heap *heap, int64_t now_ns)
{
    const struct timer_entry *first = timer_heap_first(heap);
    return first != NULL && first->deadline_ns <= now_ns;
}

/* Call the timers that are due at now_ns, which is the clock of the tick. One that is set meanwhile waits for the next
 * call, and those that the spell has no time for are still the first of the heap then. A single timer reads no clock.
 * Returns how many were called. */
int timers_run(struct timer_heap *heap, struct reactor *reactor, int64_t now_ns);

#endif
