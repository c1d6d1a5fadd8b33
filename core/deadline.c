/* The timer is always due at the deadline or before. A later deadline keeps that true by itself (deadline_set_look());
 * for an earlier one deadline_move() asks the reactor when the timer is due, which therefore need not be stored
 * here. */

#include "core/deadline.h"

void deadline_move(struct deadline *deadline, struct reactor *reactor, int64_t look_ms, int64_t at_ms,
                   reactor_timer_fn fn, void *arg)
{
    deadline->at_ms = at_ms;
    if (look_ms == DEADLINE_NEVER) {
        return;
    }
    if (deadline->timer != 0) {
        if (reactor_timer_due_ms(reactor, deadline->timer) <= look_ms) {
            return;
        }
        reactor_cancel_timer(reactor, deadline->timer);
    }
    int64_t delay_ms = look_ms - reactor_now_ms(reactor);
    if (delay_ms < 0) {
        delay_ms = 0;
    } else if (delay_ms > UINT32_MAX) {
        delay_ms = UINT32_MAX; /* it fires early, and is set again */
    }
    deadline->timer = reactor_set_timeout(reactor, (uint32_t)delay_ms, fn, arg);
}

bool deadline_fired(struct deadline *deadline, struct reactor *reactor)
{
    deadline->timer = 0;
    return deadline_is_over(deadline, reactor_now_ms(reactor));
}

void deadline_cancel(struct deadline *deadline, struct reactor *reactor)
{
    reactor_cancel_timer(reactor, deadline->timer);
    *deadline = (struct deadline){.at_ms = DEADLINE_NEVER};
}
