#ifndef EVSERVE_LUA_WEBSOCKET_FIELDS_H
#define EVSERVE_LUA_WEBSOCKET_FIELDS_H

/* What a WebSocket keeps of the request that it began with. All functions may raise (memory). */

#include "lua/state.h"

/* Push a table with the fields of the request at work, whose response has not begun, and with what the script has set
 * in it. As there are many WebSockets that do nothing for long, it lacks what takes memory and says nothing: see
 * websocket_push_absent(), and the header fields of the handshake. */
void websocket_push_fields(lua_State *L);

/* Push what the table at index fields does not have under the name at index name: what was left out, or nil. */
void websocket_push_absent(lua_State *L, int fields, int name);

#endif
