#ifndef EVSERVE_LUA_CORO_ERROR_H
#define EVSERVE_LUA_CORO_ERROR_H

/* What the log and the client are told when a coroutine fails. None of these raises. */

#include <lua.h>
#include <stdbool.h>

struct coro;

/* Log text with the place and the traceback of L, where coro is at work now. Returns whether memory was enough. */
bool coro_report(lua_State *L, struct coro *coro, const char *text);

/* The same for a coroutine that the script itself has suspended where nothing resumes it. Returns 0, or -errno when
 * memory was too short; then nothing is logged. */
int coro_report_yield(struct coro *coro);

/* Log text with the request and the route, or the timer, that it is about; no traceback, no memory needed. */
void coro_log_failure(const struct coro *coro, const char *text);

/* No more of the answer, if there is still one to be given: status if it has not begun, else the connection is cut. */
void coro_give_up(struct coro *coro, int status);

#endif
