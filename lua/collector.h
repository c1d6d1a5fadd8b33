#ifndef EVSERVE_LUA_COLLECTOR_H
#define EVSERVE_LUA_COLLECTOR_H

/* When garbage is collected, and with it, when finalizers run: between instructions of Lua code and after a run, never
 * inside a C function that has called Lua's API. So C functions can rely on it that nothing calls Lua behind their
 * back.
 *
 * The exception is a route with jit = true: compiled code calls no hook, so LuaJIT collects by itself while it runs,
 * except while something is lent (script_lend_scratch()). */

#include "lua/state.h"

/* The state is new: from now on garbage is collected here alone. */
void collector_start(lua_State *L);

/* Let LuaJIT collect by itself while a run of compiled code lasts; not any more. */
void collector_let(lua_State *L);
void collector_stop(lua_State *L);

/* A loan is over, for which it was stopped: let LuaJIT collect again if compiled code runs. Does not raise. */
void collector_let_again(lua_State *L);

/* It is time for a step. Does not raise. Between two instructions of L, or when no Lua code runs. */
void collector_step(lua_State *L);

static inline void collector_look(struct script *script, lua_State *L)
{
    if (script->memory_bytes >= script->collect_at) {
        collector_step(L);
    }
}

/* Collect all garbage. Does not raise. Where a step may be made. */
void collector_finish(lua_State *L);

/* Put collectgarbage() in the place of Lua's, and add log_finalizer() to the table on top of the stack, which the
 * prelude gets. May raise. */
void bind_collector(lua_State *L);

#endif
