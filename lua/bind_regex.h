#ifndef EVSERVE_LUA_BIND_REGEX_H
#define EVSERVE_LUA_BIND_REGEX_H

/* Regular expressions for the prelude. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack. May raise. */
void bind_regex(lua_State *L);

#endif
