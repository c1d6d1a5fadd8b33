#ifndef EVSERVE_LUA_BIND_ANSWER_H
#define EVSERVE_LUA_BIND_ANSWER_H

/* What the prelude needs of C to make response objects. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_answer(lua_State *L);

#endif
