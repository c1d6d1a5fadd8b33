#ifndef EVSERVE_LUA_SOCKET_ERROR_H
#define EVSERVE_LUA_SOCKET_ERROR_H

/* The error texts of sockets, which are those of OpenResty, because drivers compare them. */

#include "lua/state.h"

/* Push the text of -errno in small letters: "connection refused". May raise (memory). */
void socket_push_error(lua_State *L, int error);

#endif
