#ifndef EVSERVE_LUA_BIND_SOCKET_H
#define EVSERVE_LUA_BIND_SOCKET_H

/* app.connect and the methods of sockets, except those that read (socket_receive.h). */

#include "lua/state.h"

/* Add the functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_socket(lua_State *L);

#endif
