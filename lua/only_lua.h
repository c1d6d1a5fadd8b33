#ifndef EVSERVE_LUA_ONLY_LUA_H
#define EVSERVE_LUA_ONLY_LUA_H

#include <stdbool.h>
#include <stddef.h>

struct lua_State;

/* Whether the functions that we call are LuaJIT's, and those of no other Lua in this process are. All Luas have the
 * same names, and the dynamic linker gives each name to the first library that has it: whoever is second runs on the
 * first one's functions, and crashes. Returns 0, or -ENOTSUP with a text in err that names both files. For path, the
 * script that is to run. Any thread.
 *
 * With EVSERVE_LUAJIT_PRIVATE nobody else can reach our LuaJIT, and it may have company. But then a host has no
 * functions for a state of ours: has_init, that it has a lua_init, is refused. */
int only_lua_check(const char *path, bool has_init, char *err, size_t errlen);

/* With EVSERVE_LUAJIT_PRIVATE: no modules in C, which would call another Lua, or none. May raise (memory). */
void only_lua_limit(struct lua_State *L);

#endif
