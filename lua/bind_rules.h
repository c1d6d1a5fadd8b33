#ifndef EVSERVE_LUA_BIND_RULES_H
#define EVSERVE_LUA_BIND_RULES_H

/* Rules of a host: app.redirect_from, app.headers, app.cache, app.allow, app.deny, app.limit, app.cors. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_rules(lua_State *L);

#endif
