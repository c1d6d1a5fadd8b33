#ifndef EVSERVE_LUA_COMPILER_H
#define EVSERVE_LUA_COMPILER_H

/* LuaJIT's compiler: off, except for routes with jit = true. */

#include "lua/state.h"

/* Turn it off: from the beginning. May raise. */
void compiler_start(lua_State *L);

/* Compile the function at index and those that are defined inside it, once the compiler is on. */
void compiler_allow(lua_State *L, int index);

/* Once the script has loaded: turn the compiler on if something is to be compiled, and if the process may make code. */
void compiler_settle(lua_State *L);

/* Add the functions of the prelude that concern it to the table on top of the stack. */
void bind_compiler(lua_State *L);

#endif
