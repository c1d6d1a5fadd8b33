#ifndef EVSERVE_LUA_BIND_NUMBER_H
#define EVSERVE_LUA_BIND_NUMBER_H

/* Numbers as text for scripts. */

#include "lua/state.h"

/* Make a text of the number at index of L, in place: digits for whole numbers. May raise (memory). */
void script_number_to_text(lua_State *L, int index);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_number(lua_State *L);

#endif
