#ifndef EVSERVE_LUA_SCRATCH_H
#define EVSERVE_LUA_SCRATCH_H

/* The text buffer in which C functions make what they push, one at a time. */

#include "lua/state.h"

/* Lend it, empty, to a C function, until that returns it. It has one user at a time, so what the user calls meanwhile
 * must not run Lua code, and garbage is not collected. An error ends the loan: it jumps past the return. user is
 * "app.json.encode". */
struct write_buffer *script_lend_scratch(lua_State *L, const char *user);

/* Give it back. A buffer larger than usual is freed. */
void script_return_scratch(lua_State *L);

/* End the loan, if there is one, so that LuaJIT may collect again in compiled code. Does not raise; allowed inside the
 * allocator. */
void script_end_loan(struct script *script);

/* Make room for so many values on L's stack, also during a loan. Raises; what is "JSON". */
void script_reserve_values(lua_State *L, int count, const char *what);

/* Free the buffer of a script whose Lua state is closed. */
void scratch_done(struct script *script);

#endif
