#ifndef EVSERVE_LUA_BIND_AUTH_H
#define EVSERVE_LUA_BIND_AUTH_H

/* app.basic_auth: password files, and functions of the script that know the passwords. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_auth(lua_State *L);

#endif
