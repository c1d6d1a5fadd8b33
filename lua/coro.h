#ifndef EVSERVE_LUA_CORO_H
#define EVSERVE_LUA_CORO_H

/* Running coroutines: those of requests, and whatever else coro_take() was called for. */

#include "lua/coro_pool.h"

/* Start or go on: the function (at the start) and nargs values lie on coro->L. Whatever becomes of it is dealt with
 * here: its end, its errors, its waiting. The coroutine may be in use for something else when this returns. This is the
 * one place where Lua code of requests and timers is entered. */
void coro_resume(struct coro *coro, int nargs);

/* It waits, and that is over; or it has not begun yet. It is resumed soon, but never inside this call, with the last
 * nargs values on its L: what the function that waits returns, or the arguments of the function below them. Those that
 * were woken first go first. Needs no memory. */
void coro_wake(struct coro *coro, int nargs);

/* If the wait that coro is about to begin takes longer than ms, it ends with nil: a timer, wait_id of coro. Whatever
 * else ends the wait calls coro_cancel_timeout(), which does nothing without a timer. Returns 0 or -ENOMEM. */
int coro_set_timeout(struct coro *coro, uint32_t ms);
void coro_cancel_timeout(struct coro *coro);

/* Nobody wants its result any more: what it waits for ends as if its client had gone, and if it has not begun, it never
 * will. While it is shielded, that has to wait. Not for a coroutine with an exchange. */
void coro_cancel(struct coro *coro);

/* Resume each of those that are ready now: the script ends. */
void coro_finish_ready(struct script *script);

/* What script->ready_task does. */
void coro_init_ready(struct script *script);

/* Its client has gone: part with the exchange, and end what it waits for. */
void coro_lose(struct coro *coro);

/* The coroutine that responds to exchange, or NULL: it has passed that on, or ended. */
struct coro *coro_of(const struct exchange *exchange);

/* From now on coro responds to exchange. */
void coro_attach(struct coro *coro, struct exchange *exchange);

#endif
