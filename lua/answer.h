#ifndef EVSERVE_LUA_ANSWER_H
#define EVSERVE_LUA_ANSWER_H

/* From what a handler returned to a response. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_reply(lua_State *L);

#endif
