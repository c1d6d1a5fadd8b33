#include "lua/object.h"

#include "lua/script_error.h"

void object_set_methods(lua_State *L, const luaL_Reg *methods, const char *name, enum script_ref ref)
{
    lua_newtable(L);
    lua_newtable(L);
    luaL_register(L, NULL, methods);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__metatable");
    script_set_ref(L, ref);
}

bool object_has_meta(lua_State *L, int index, enum script_ref meta)
{
    if (!lua_getmetatable(L, index)) {
        return false;
    }
    bool is_same = lua_topointer(L, -1) == script_of(L)->ref_places[meta];
    lua_pop(L, 1);
    return is_same;
}

void *object_check_size(lua_State *L, int index, size_t size)
{
    void *object = lua_touserdata(L, index); /* NULL for other values; light userdata have no length */
    return object != NULL && lua_objlen(L, index) == size ? object : NULL;
}

bool table_is_record(lua_State *L, int index)
{
    if (lua_objlen(L, index) > 0) {
        return false;
    }
    lua_pushnil(L);
    if (lua_next(L, index) == 0) {
        return false;
    }
    lua_pop(L, 2);
    return true;
}

void *object_check(lua_State *L, int index, enum script_ref meta, size_t size, const char *what)
{
    void *object = object_check_size(L, index, size);
    if (object == NULL || !object_has_meta(L, index, meta)) {
        script_raise(L, "%s: call it as a method, with a colon", what);
    }
    return object;
}
