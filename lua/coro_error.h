#ifndef EVSERVE_LUA_CORO_ERROR_H
#define EVSERVE_LUA_CORO_ERROR_H

/* What the log says and the client gets when a coroutine fails. Except for the last one, these do not raise. */

#include "lua/state.h"

struct coro;

/* Log text with the place and the traceback of L, where the running coroutine is at work. Returns whether memory was
 * enough: struct run.report. */
bool coro_report(lua_State *L, const char *text);

/* The same for a coroutine that the script itself has suspended where nothing resumes it. Returns 0, or -errno when
 * memory was too short; then nothing is logged. */
int coro_report_yield(struct coro *coro);

/* Log text with the request and the route, or the timer, that it is about; no traceback, no memory needed. */
void coro_log_failure(const struct coro *coro, const char *text);

/* End the response early, if it is not complete: with status if it has not begun; otherwise the connection is cut. */
void coro_give_up(struct coro *coro, int status);

/* The error value at index is raised next. Its traceback is the text at trace, of where it happened in a worker,
 * followed by that of L. Raises (memory). */
void coro_keep_trace(lua_State *L, int index, int trace);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_coro_error(lua_State *L);

#endif
