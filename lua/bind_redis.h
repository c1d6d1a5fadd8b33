#ifndef EVSERVE_LUA_BIND_REDIS_H
#define EVSERVE_LUA_BIND_REDIS_H

/* What stores in Redis need in C: keys, times and values as Redis has them. prelude_redis.lua is made of it, which is
 * loaded by the first of these stores. */

#include "lua/state.h"

/* Add the functions to the table on top of the stack, which the prelude gets. May raise. */
void bind_redis(lua_State *L);

#endif
