#ifndef EVSERVE_LUA_RELAY_H
#define EVSERVE_LUA_RELAY_H

/* Waiting inside coroutines that the script makes itself. */

#include "lua/state.h"

/* Whether L is a coroutine of the script's own in which a function that waits must not go on, but return relay_call(L)
 * instead, with its arguments alone on the stack. It is then called again where it can wait, and what it returns there
 * is what it returns here. If it raises there, it returns false and the error here. */
bool relay_is_needed(lua_State *L);
int relay_call(lua_State *L);

/* The same for another function, without arguments. */
int relay_to(lua_State *L, lua_CFunction fn);

#endif
