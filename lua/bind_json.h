#ifndef EVSERVE_LUA_BIND_JSON_H
#define EVSERVE_LUA_BIND_JSON_H

/* app.json. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_json(lua_State *L);

#endif
