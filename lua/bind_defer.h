#ifndef EVSERVE_LUA_BIND_DEFER_H
#define EVSERVE_LUA_BIND_DEFER_H

/* app.defer: what is done after the response. */

#include "lua/state.h"

/* Whether functions are due that have not been called. */
bool defer_is_due(const struct script *script);

/* The script ends: run what is due up to its first wait. */
void defer_finish(struct script *script);

/* Free what belonged to a script whose Lua state is closed. The server must be gone. */
void defer_free_all(struct script *script);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_defer(lua_State *L);

#endif
