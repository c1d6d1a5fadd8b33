#ifndef EVSERVE_LUA_BIND_WEBSOCKET_H
#define EVSERVE_LUA_BIND_WEBSOCKET_H

/* The object that the function of a WebSocket gets, and how a handler becomes one. */

#include "lua/state.h"

struct coro;

/* Answer the request of coro with a 101, and push what run_websocket() of the prelude takes: the function at index fn,
 * and the object. Returns the number of values; 0: the handshake was refused, and is answered. Raises before anything
 * is answered. */
int websocket_answer(lua_State *L, struct coro *coro, int fn);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_websocket(lua_State *L);

#endif
