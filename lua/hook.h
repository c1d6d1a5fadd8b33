#ifndef EVSERVE_LUA_HOOK_H
#define EVSERVE_LUA_HOOK_H

/* The count hook, script->on_count: how soon it is called. */

#include "lua/state.h"

/* Call it after each so many instructions of Lua code. */
void hook_set_interval(struct script *script, int instructions);

/* Call it before the next instruction of Lua code. Allowed inside the allocator. */
void hook_look_soon(struct script *script);

#endif
