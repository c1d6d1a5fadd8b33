#ifndef EVSERVE_LUA_BIND_SESSION_H
#define EVSERVE_LUA_BIND_SESSION_H

/* What sessions need in C: which host a request is for. The rest, prelude_session.lua, is loaded by the first
 * app.session. */

#include "lua/state.h"

/* Add the functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_session(lua_State *L);

#endif
