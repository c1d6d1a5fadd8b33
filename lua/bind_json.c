/* JSON for scripts. */

#include "lua/bind_json.h"

#include "lua/cdata.h"
#include "lua/json_decode.h"
#include "lua/json_encode.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <string.h>

/* Raise unless the options at index 2 are a table of these names; all is their list for the error. */
static void check_json_options(lua_State *L, const char *what, const char *const *names, const char *all)
{
    if (!lua_istable(L, 2)) {
        script_raise(L, "%s: a table of options expected, got %s", what, luaL_typename(L, 2));
    }
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "that is not a name";
        bool is_known = false;
        for (const char *const *known = names; *known != NULL; known++) {
            is_known = is_known || strcmp(*known, name) == 0;
        }
        if (!is_known) {
            script_raise(L, "%s: unknown option %s: %s", what, name, all);
        }
    }
}

/* The style in the options at index 2. */
static struct json_style take_style(lua_State *L)
{
    static const char what[] = "app.json.encode";
    static const char *const names[] = {"sort", "indent", NULL};
    struct json_style style = {0};
    check_json_options(L, what, names, "there are sort, indent");
    lua_getfield(L, 2, "sort");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1)) {
        script_raise(L, "%s: sort is true or false, not a %s", what, luaL_typename(L, -1));
    }
    style.is_sorted = lua_toboolean(L, -1) != 0;
    lua_getfield(L, 2, "indent");
    if (!lua_isnil(L, -1)) {
        lua_Number indent = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        if (!(indent >= 0 && indent <= JSON_INDENT_MAX) || indent != (lua_Number)(unsigned)indent) {
            script_raise(L, "%s: indent is a number of spaces, 0 to %d", what, JSON_INDENT_MAX);
        }
        style.indent = (unsigned)indent;
    }
    lua_pop(L, 2);
    return style;
}

/* json_encode(value, options): text. */
static int lua_json_encode(lua_State *L)
{
    int count = lua_gettop(L);
    struct json_style style = {0};
    if (count != 1 && count != 2) {
        script_raise(L, "app.json.encode: one value expected");
    }
    if (count == 2 && !lua_isnil(L, 2)) {
        style = take_style(L);
    }
    struct write_buffer *out = script_lend_scratch(L, "app.json.encode");
    json_encode_styled(L, 1, &style, out);
    lua_pushlstring(L, write_buffer_data(out), write_buffer_len(out));
    script_return_scratch(L);
    return 1;
}

/* What is to become of large integers, by the options at index 2. */
static enum json_int64 take_int64(lua_State *L)
{
    static const char what[] = "app.json.decode";
    static const char *const names[] = {"int64", NULL};
    check_json_options(L, what, names, "there is only int64");
    lua_getfield(L, 2, "int64");
    const char *wish = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    enum json_int64 int64 = JSON_INT64_NUMBER;
    if (strcmp(wish, "text") == 0) {
        int64 = JSON_INT64_TEXT;
    } else if (strcmp(wish, "cdata") == 0) {
        int64 = JSON_INT64_CDATA;
        cdata_load(L, what);
    } else if (!lua_isnil(L, -1)) {
        script_raise(L, "%s: int64 is \"cdata\" or \"text\"", what);
    }
    lua_pop(L, 1);
    return int64;
}

/* json_decode(text, options): value, or nil and what is wrong. */
static int lua_json_decode(lua_State *L)
{
    lua_settop(L, 2);
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.json.decode: a string expected, got %s", luaL_typename(L, 1));
    }
    enum json_int64 int64 = lua_isnil(L, 2) ? JSON_INT64_NUMBER : take_int64(L);
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    int count = json_decode(L, text, len, int64, script_lend_scratch(L, "app.json.decode"));
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
