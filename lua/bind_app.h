#ifndef EVSERVE_LUA_BIND_APP_H
#define EVSERVE_LUA_BIND_APP_H

/* Addresses, routes, the log, statistics. */

#include "lua/state.h"

struct lua_route;

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_app(lua_State *L);

/* Take the options that routes of all kinds have among those at index: limits, half_close, access_log, name. what is
 * "app.get". May raise. */
void bind_take_route_options(lua_State *L, int index, const char *what, struct lua_route *route);

#endif
