#ifndef EVSERVE_LUA_BIND_PASSWORD_H
#define EVSERVE_LUA_BIND_PASSWORD_H

/* app.password. */

#include "lua/state.h"

/* Close the script's desk at the threads that hash: hashes that are under way go on without anybody waiting. */
void password_free_all(struct script *script);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_password(lua_State *L);

#endif
