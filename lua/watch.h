#ifndef EVSERVE_LUA_WATCH_H
#define EVSERVE_LUA_WATCH_H

/* Functions of C that may take long. */

#include "lua/state.h"

/* Put the watched functions in the places of Lua's own. May raise. */
void bind_watch(lua_State *L);

#endif
