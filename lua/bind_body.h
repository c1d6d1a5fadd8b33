#ifndef EVSERVE_LUA_BIND_BODY_H
#define EVSERVE_LUA_BIND_BODY_H

/* How scripts take request bodies. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_body(lua_State *L);

#endif
