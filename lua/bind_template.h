#ifndef EVSERVE_LUA_BIND_TEMPLATE_H
#define EVSERVE_LUA_BIND_TEMPLATE_H

/* What templates need in C: escaping. The compiler, prelude_template*.lua, is loaded by the first app.template. */

#include "lua/state.h"

/* Add the functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_template(lua_State *L);

#endif
