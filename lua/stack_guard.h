#ifndef EVSERVE_LUA_STACK_GUARD_H
#define EVSERVE_LUA_STACK_GUARD_H

/* The end of recursion through C before the C stack ends. */

#include "lua/state.h"

/* Raise "stack overflow" when so little of the C stack is left that nothing should call Lua from C any more; what is
 * "string.gsub". */
void script_check_stack(lua_State *L, const char *what);

/* Put by in the place of a C function of Lua's, with the same environment. table is the global that it is in, NULL when
 * it is a global itself. Returns the function, for by to call; NULL, with nothing changed, when this LuaJIT has it in
 * assembly. Raises. */
lua_CFunction script_replace_function(lua_State *L, const char *table, const char *name, lua_CFunction by);

/* Put guards in the places of Lua's own functions that call Lua back, and add check_stack() to the table on top of the
 * stack, which the prelude gets. May raise. */
void bind_stack_guard(lua_State *L);

#endif
