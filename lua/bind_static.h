#ifndef EVSERVE_LUA_BIND_STATIC_H
#define EVSERVE_LUA_BIND_STATIC_H

/* app.static. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_static(lua_State *L);

#endif
