#ifndef EVSERVE_LUA_CDATA_H
#define EVSERVE_LUA_CDATA_H

/* The 64-bit integers of LuaJIT's ffi, 42LL and 42ULL, for which Lua's API in C has no functions. */

#include "lua/state.h"

enum { CDATA_TYPE = 10 }; /* what lua_type() gives for values of the ffi */

struct cdata_integer {
    uint64_t bits;
    bool is_signed; /* int64_t rather than uint64_t */
};

/* Load the ffi, as require "ffi" does. Raises if this LuaJIT has none; what is "app.json.decode". Must come before
 * cdata_push_integer(), outside of a loan of the scratch buffer. */
void cdata_load(lua_State *L, const char *what);

/* Whether the value at index, of CDATA_TYPE, is an int64_t or a uint64_t; which goes to *integer. Runs no Lua code.
 * Raises only for memory. */
bool cdata_get_integer(lua_State *L, int index, struct cdata_integer *integer);

/* Push it. Returns false, and pushes nothing, if the script has changed the ffi's functions. Runs no Lua code. Raises
 * only for memory. */
bool cdata_push_integer(lua_State *L, const struct cdata_integer *integer);

#endif
