#ifndef EVSERVE_LUA_BIND_HOST_H
#define EVSERVE_LUA_BIND_HOST_H

/* app.host: what is served under names of its own (http/vhost.h). */

#include "lua/state.h"

struct vhost;

/* The host of the value at index, the field host of a scope or a group of the prelude's: nil for the default host, or
 * the number that host() gave. */
struct vhost *host_check(lua_State *L, int index);

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_host(lua_State *L);

#endif
