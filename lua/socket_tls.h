#ifndef EVSERVE_LUA_SOCKET_TLS_H
#define EVSERVE_LUA_SOCKET_TLS_H

/* TLS on sockets of scripts, and their options of the kernel. */

#include "lua/state.h"

/* Add the functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_socket_tls(lua_State *L);

#endif
