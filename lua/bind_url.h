#ifndef EVSERVE_LUA_BIND_URL_H
#define EVSERVE_LUA_BIND_URL_H

/* app.url. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_url(lua_State *L);

#endif
