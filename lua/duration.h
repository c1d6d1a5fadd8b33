#ifndef EVSERVE_LUA_DURATION_H
#define EVSERVE_LUA_DURATION_H

/* Durations that scripts give: whole milliseconds, or text with a unit, such as "500ms" or "2s". */

#include "lua/state.h"

/* The duration at index in milliseconds. Raises for anything else; what is "app.sleep". */
uint32_t duration_check(lua_State *L, int index, const char *what);

#endif
