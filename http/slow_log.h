#ifndef EVSERVE_HTTP_SLOW_LOG_H
#define EVSERVE_HTTP_SLOW_LOG_H

/* A line of the log for each request that takes longer than log_slow (http/limits.def), with what its time was spent
 * on. Time counts from the first byte of the request to the last one of its response that the kernel has taken.
 *
 * While no route of the site has a log_slow, service->times_requests is false, and nothing here is called. Otherwise
 * the clock is read when a request begins and when it is over, and for one that lasts longer than a turn of its
 * connection also at the begin and at the end of each turn. Everything belongs to the reactor's thread. */

#include "http/outcome_end.h"
#include "http/slow_times.h"

#include <stdint.h>

struct exchange;

/* The first byte of a request is looked at, at now_ns. */
void slow_log_begin(struct exchange *exchange, int64_t now_ns);

/* A turn of its connection begins, in which its time is spent on part unless a handler runs; and ends, with the
 * exchange waiting for what part says. */
void slow_log_enter_turn(struct exchange *exchange, enum slow_part part);
void slow_log_leave_turn(struct exchange *exchange, enum slow_part part);

/* A handler runs outside of turns: what slow_log_enter_handler() returns is for slow_log_leave_handler(). */
enum slow_part slow_log_enter_handler(struct exchange *exchange);
void slow_log_leave_handler(struct exchange *exchange, enum slow_part part);

/* The exchange is over: write its line if it was slow. A request whose head was never complete has none: there is
 * nothing to name it by. */
void slow_log_end(struct exchange *exchange, enum outcome_end end);

#endif
