#ifndef EVSERVE_LUA_BIND_PRELUDE_H
#define EVSERVE_LUA_BIND_PRELUDE_H

/* The prelude, the part of the API that is written in Lua, and what it needs of C to begin with. */

#include "lua/state.h"

struct prelude_part;

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_prelude(lua_State *L);

/* Run parts of the prelude (lua/prelude.h) with the table of C functions on top of the stack, the module, and what they
 * share. May raise. */
void prelude_run(lua_State *L, const struct prelude_part *parts);

/* Run further parts with the same tables, which lie at core (an absolute index), core + 1 and core + 2. May raise. */
void prelude_run_parts(lua_State *L, int core, const struct prelude_part *parts);

#endif
