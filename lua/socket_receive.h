#ifndef EVSERVE_LUA_SOCKET_RECEIVE_H
#define EVSERVE_LUA_SOCKET_RECEIVE_H

/* How scripts read from sockets: receive, receiveany and receiveuntil. */

#include "lua/state.h"

/* Add the functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_socket_receive(lua_State *L);

#endif
