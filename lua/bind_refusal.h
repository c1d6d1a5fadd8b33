#ifndef EVSERVE_LUA_BIND_REFUSAL_H
#define EVSERVE_LUA_BIND_REFUSAL_H

/* Responses of the server that middleware and the functions of app.on() see: http/refusal.h. */

#include <lua.h>

struct handler;
struct lua_route;

/* The handler for refusals of a route, whose function is on top of the stack and stays there. made is the index of a
 * table: functions that have got a handler before have the same one again. Raises (memory). */
const struct handler *refusals_make(lua_State *L, int made, const struct lua_route *route);

/* Set what handles the requests of each host that no route has. Raises (memory). */
void refusals_set_no_routes(lua_State *L);

/* Add the functions that the prelude needs for them to the table on top of the stack. */
void bind_refusal(lua_State *L);

#endif
