#ifndef EVSERVE_LUA_BIND_PROXY_H
#define EVSERVE_LUA_BIND_PROXY_H

/* app.proxy. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_proxy(lua_State *L);

#endif
