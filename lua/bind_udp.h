#ifndef EVSERVE_LUA_BIND_UDP_H
#define EVSERVE_LUA_BIND_UDP_H

/* app.udp: sockets for datagrams. */

#include "lua/state.h"

/* Add the C functions that the prelude makes app.udp of to the table on top of L. May raise (memory). */
void bind_udp(lua_State *L);

#endif
