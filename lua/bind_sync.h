#ifndef EVSERVE_LUA_BIND_SYNC_H
#define EVSERVE_LUA_BIND_SYNC_H

/* Coroutines that wait for each other: what semaphores and channels are made of in the prelude, and app.shield. */

#include "lua/state.h"

/* Add its functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_sync(lua_State *L);

/* The script is closed: no task of the reactor may find it any more. */
void sync_end(struct script *script);

#endif
