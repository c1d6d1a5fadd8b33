#ifndef EVSERVE_LUA_BIND_SEAL_H
#define EVSERVE_LUA_BIND_SEAL_H

/* app.seal, app.open. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_seal(lua_State *L);

#endif
