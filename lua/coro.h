#ifndef EVSERVE_LUA_CORO_H
#define EVSERVE_LUA_CORO_H

/* Running coroutines: those of requests, and whatever else coro_take() was called for. */

#include "lua/coro_pool.h"

/* Start or go on: the function (at the start) and nargs values lie on coro->L. Whatever becomes of it is dealt with
 * here: its end, its errors, its waiting. The coroutine may be in use for something else when this returns. This is the
 * one place where Lua code of requests and timers is entered. */
void coro_resume(struct coro *coro, int nargs);

/* Its client has gone: part with the exchange, and end what it waits for. */
void coro_lose(struct coro *coro);

/* From now on coro responds to exchange. */
void coro_attach(struct coro *coro, struct exchange *exchange);

#endif
