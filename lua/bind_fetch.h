#ifndef EVSERVE_LUA_BIND_FETCH_H
#define EVSERVE_LUA_BIND_FETCH_H

/* app.fetch: requests to other servers. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_fetch(lua_State *L);

#endif
