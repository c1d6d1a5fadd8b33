#ifndef EVSERVE_LUA_BIND_SUBSCRIBE_H
#define EVSERVE_LUA_BIND_SUBSCRIBE_H

/* app.subscribe, and the object that it returns. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_subscribe(lua_State *L);

#endif
