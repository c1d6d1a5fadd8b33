#ifndef EVSERVE_LUA_BIND_RULES_H
#define EVSERVE_LUA_BIND_RULES_H

/* Rules of a host: app.redirect_from, app.headers, app.cache, app.allow, app.deny, app.limit. prelude_rules.lua has the list of
 * such functions. */

#include "lua/state.h"

struct vhost;

/* The host that rules are added to: of the value at index, the field host of a scope (prelude_rules.lua). nil is the
 * default host. */
struct vhost *rules_check_host(lua_State *L, int index);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_rules(lua_State *L);

#endif
