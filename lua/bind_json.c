/* JSON for scripts. */

#include "lua/bind_json.h"

#include "lua/json_decode.h"
#include "lua/json_encode.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

/* json_encode(value): text. */
static int lua_json_encode(lua_State *L)
{
    if (lua_gettop(L) != 1) {
        script_raise(L, "app.json.encode: one value expected");
    }
    struct write_buffer *out = script_lend_scratch(L, "app.json.encode");
    json_encode(L, 1, out);
    lua_pushlstring(L, write_buffer_data(out), write_buffer_len(out));
    script_return_scratch(L);
    return 1;
}

/* json_decode(text): value, or nil and what is wrong. */
static int lua_json_decode(lua_State *L)
{
    lua_settop(L, 1);
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.json.decode: a string expected, got %s", luaL_typename(L, 1));
    }
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    int count = json_decode(L, text, len, script_lend_scratch(L, "app.json.decode"));
    script_return_scratch(L);
    return count;
}

void bind_json(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"json_encode", lua_json_encode},
        {"json_decode", lua_json_decode},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
