#ifndef EVSERVE_LUA_ANSWER_H
#define EVSERVE_LUA_ANSWER_H

/* From what a handler returned to a response. */

#include "lua/state.h"

struct coro;

/* The usual case, for which there is no need to enter Lua: a handler has returned the one value at index of its thread,
 * and that is a text short enough to be copied. Returns whether it is so, and the text was sent. Does not raise. */
bool answer_plainly(struct coro *coro, int index);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_reply(lua_State *L);

#endif
