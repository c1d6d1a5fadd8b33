#ifndef EVSERVE_LUA_BIND_APP_H
#define EVSERVE_LUA_BIND_APP_H

/* Addresses, routes, the log, statistics. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_app(lua_State *L);

#endif
