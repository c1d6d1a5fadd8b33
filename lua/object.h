#ifndef EVSERVE_LUA_OBJECT_H
#define EVSERVE_LUA_OBJECT_H

/* Values whose metatable says what they are: objects that C makes, and tables that the prelude makes. */

#include "lua/state.h"

/* Make the metatable ref of objects that have nothing but methods; scripts that ask for it get its name instead. May
 * raise (memory). */
void object_set_methods(lua_State *L, const luaL_Reg *methods, const char *name, enum script_ref ref);

/* Whether the value at index has the metatable meta itself. Needs a stack slot. */
bool object_has_meta(lua_State *L, int index, enum script_ref meta);

/* Whether the table at index has keys, but no items: { name = value }. Needs two stack slots. */
bool table_is_record(lua_State *L, int index);

/* The userdata at index, if it has the size of what C made, else NULL. For a metamethod, whose metatable has led to it:
 * debug.getmetatable() gives that to everybody. */
void *object_check_size(lua_State *L, int index, size_t size);

/* The userdata at index, if it has the metatable and the size of what C made; debug.setmetatable() may have given the
 * metatable to something else. Raises for anything else; what is "req:header". */
void *object_check(lua_State *L, int index, enum script_ref meta, size_t size, const char *what);

#endif
