#ifndef EVSERVE_CORE_DEADLINE_H
#define EVSERVE_CORE_DEADLINE_H

/* A deadline that moves with every sign of life, such as a connection's timeout. Moving it later only stores a number:
 * the timer in the reactor's heap stays where it is, fires early, sees the later deadline, and is set again. It moves
 * at once only if it would come too late. So activity costs no heap operation.
 *
 * The owner embeds a struct deadline, zero to begin with, and has one timer callback, which it passes to each call:
 *
 *     static void on_deadline(struct reactor *reactor, uint64_t timer, void *arg)
 *     {
 *         struct owner *owner = arg;
 *         if (deadline_fired(&owner->deadline, reactor)) {
 *             ...its time is over...
 *         } else {
 *             deadline_set(&owner->deadline, reactor, owner->deadline.at_ms, on_deadline, owner);
 *         }
 *     }
 *
 * When the reactor has no memory for a timer, none is set, and the next call tries again. All times are those of
 * reactor_now_ms(). The reactor's thread only. */

#include "core/reactor.h"

#include <stdbool.h>
#include <stdint.h>

#define DEADLINE_NEVER INT64_MAX

struct deadline {
    uint64_t timer; /* 0 while none is set; due at at_ms or before */
    int64_t at_ms;  /* when the time is over, or DEADLINE_NEVER */
};

/* The part of deadline_set_look() that most calls do not need. Call that. */
void deadline_move(struct deadline *deadline, struct reactor *reactor, int64_t look_ms, int64_t at_ms,
                   reactor_timer_fn fn, void *arg);

/* Move the deadline to at_ms, earlier or later, and have fn called at look_ms or before, which is at_ms or earlier:
 * then the owner can see how things are before the time is over. After deadline_fired() the callback says, by calling
 * this again, when to look next. */
static inline void deadline_set_look(struct deadline *deadline, struct reactor *reactor, int64_t look_ms, int64_t at_ms,
                                     reactor_timer_fn fn, void *arg)
{
    if (deadline->timer != 0 && look_ms >= deadline->at_ms) {
        deadline->at_ms = at_ms; /* the timer is due at the former deadline or before: it does not come too late */
    } else {
        deadline_move(deadline, reactor, look_ms, at_ms, fn, arg);
    }
}

/* Move the deadline to at_ms, earlier or later. fn is called with arg then, or sooner. */
static inline void deadline_set(struct deadline *deadline, struct reactor *reactor, int64_t at_ms, reactor_timer_fn fn,
                                void *arg)
{
    deadline_set_look(deadline, reactor, at_ms, at_ms, fn, arg);
}

/* Whether the time is over. For a task that decides after the tick's I/O, when the deadline may have moved (R3). */
static inline bool deadline_is_over(const struct deadline *deadline, int64_t now_ms)
{
    return now_ms >= deadline->at_ms && deadline->at_ms != DEADLINE_NEVER;
}

/* Call this first in the timer's callback: the timer is used up. Returns whether the time is over. If not, set the
 * deadline again, to at_ms as it is or to another time. */
bool deadline_fired(struct deadline *deadline, struct reactor *reactor);

/* Set no deadline and take back the timer, so that the owner may be freed. */
void deadline_cancel(struct deadline *deadline, struct reactor *reactor);

#endif
