#ifndef EVSERVE_LUA_BIND_TLS_H
#define EVSERVE_LUA_BIND_TLS_H

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. */
void bind_tls(lua_State *L);

#endif
