#ifndef EVSERVE_LUA_BIND_WAIT_H
#define EVSERVE_LUA_BIND_WAIT_H

/* app.wait: waiting for fds of libraries. */

#include "lua/state.h"

/* Add the C function that the prelude makes app.wait of to the table on top of L. Raises (memory). */
void bind_wait(lua_State *L);

#endif
