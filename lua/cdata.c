/* Happy path: the ffi's own functions, which are C, say what a value is and make new ones; the integer itself is where
 * lua_topointer() says. Both run while the scratch buffer is lent, so functions in Lua, with which a script may have
 * replaced them, are not called.
 *
 * Failure modes: without memory the functions of the ffi raise, and so do these. */

#include "lua/cdata.h"

#include "lua/scratch.h"
#include "lua/script_error.h"

#include <string.h>

void cdata_load(lua_State *L, const char *what)
{
    int top = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "ffi");
    if (!lua_istable(L, -1)) {
        lua_getglobal(L, "require");
        lua_pushliteral(L, "ffi");
        if (lua_pcall(L, 1, 1, 0) != 0 || !lua_istable(L, -1)) {
            script_raise(L, "%s: 64-bit integers need LuaJIT's ffi, which cannot be loaded here; use int64 = \"text\"",
                         what);
        }
    }
    lua_settop(L, top);
}

/* Push a function of the ffi; false, and nothing, if it is not there or not C. */
static bool push_function(lua_State *L, const char *name)
{
    int top = lua_gettop(L);
    script_reserve_values(L, 6, "ffi");
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    if (lua_istable(L, -1)) {
        lua_pushliteral(L, "ffi");
        lua_rawget(L, -2);
        if (lua_istable(L, -1)) {
            lua_pushstring(L, name);
            lua_rawget(L, -2);
            if (lua_iscfunction(L, -1)) {
                lua_replace(L, top + 1);
                lua_settop(L, top + 1);
                return true;
            }
        }
    }
    lua_settop(L, top);
    return false;
}

/* Call what is below count arguments, for one value. */
static void call_function(lua_State *L, int count)
{
    if (lua_pcall(L, count, 1, 0) != 0) {
        script_raise_top(L);
    }
}

static bool is_of_type(lua_State *L, int index, const char *type)
{
    if (!push_function(L, "istype")) {
        return false;
    }
    lua_pushstring(L, type);
    lua_pushvalue(L, index);
    call_function(L, 2);
    bool is_it = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return is_it;
}

bool cdata_get_integer(lua_State *L, int index, struct cdata_integer *integer)
{
    integer->is_signed = is_of_type(L, index, "int64_t");
    if (!integer->is_signed && !is_of_type(L, index, "uint64_t")) {
        return false;
    }
    memcpy(&integer->bits, lua_topointer(L, index), sizeof integer->bits);
    return true;
}

bool cdata_push_integer(lua_State *L, const struct cdata_integer *integer)
{
    const char *type = integer->is_signed ? "int64_t" : "uint64_t";
    if (!push_function(L, "new")) {
        return false;
    }
    lua_pushstring(L, type);
    call_function(L, 1);
    if (lua_type(L, -1) != CDATA_TYPE || !is_of_type(L, lua_gettop(L), type)) {
        lua_pop(L, 1);
        return false;
    }
    /* A new value, of which nobody else knows yet. */
    union {
        const void *read;
        void *write;
    } place = {.read = lua_topointer(L, -1)};
    memcpy(place.write, &integer->bits, sizeof integer->bits);
    return true;
}
