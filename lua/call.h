#ifndef EVSERVE_LUA_CALL_H
#define EVSERVE_LUA_CALL_H

/* Calls on the main thread, in protected mode. With coro_resume() these are all the ways in which C enters Lua. */

#include "lua/state.h"

/* Call what lies on the main thread's stack with nargs arguments: the one place for calls that are not coroutines.
 * Returns 0 with nresults values pushed, or -EINVAL or -ENOMEM with a one-line text in err. */
int script_call(struct script *script, int nargs, int nresults, char *err, size_t errlen);

/* Call fn(L, arg) on the main thread's stack, so that it may raise. Returns as script_call(). */
int script_protect(struct script *script, lua_CFunction fn, void *arg, char *err, size_t errlen);

#endif
