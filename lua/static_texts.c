/* Happy path: the table is counted, then read into an array of that size. Nothing in it is called: metamethods could
 * change the table meanwhile.
 *
 * Failure modes: what is no file raises an error that names its path. The array belongs to the Lua state, so an error
 * has nothing to free. */

#include "lua/static_texts.h"

#include "core/packed.h"
#include "lua/script_error.h"

#include <string.h>

static size_t count_files(lua_State *L, int index, const char *what)
{
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        count++;
    }
    if (count > STATIC_TEXTS_MAX) {
        script_raise(L, "%s: more than %d files in memory; serve a directory", what, STATIC_TEXTS_MAX);
    }
    return count;
}

/* The key at -2, as a path below the mount: with or without a slash at its beginning. */
static const char *check_file_path(lua_State *L, const char *what)
{
    if (lua_type(L, -2) != LUA_TSTRING) {
        script_raise(L, "%s: the files are named by paths such as [\"/index.html\"], not by a %s", what,
                     luaL_typename(L, -2));
    }
    const char *path = lua_tostring(L, -2);
    if (strlen(path) != lua_objlen(L, -2)) {
        script_raise(L, "%s: the path \"%s\" contains a NUL byte", what, path);
    }
    return path + (path[0] == '/' ? 1 : 0);
}

/* The names in the table at -1 are those of a file: a text, and perhaps its type. */
static void check_file_names(lua_State *L, const char *path, const char *what)
{
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        bool is_text = lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) == 1;
        bool is_type = lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "type") == 0;
        if (!is_text && !is_type) {
            lua_pushvalue(L, -2); /* converting a key in place would confuse lua_next() */
            const char *name = lua_tostring(L, -1);
            script_raise(L, "%s: \"/%s\": { text, type = \"...\" } expected, without \"%s\"", what, path,
                         name == NULL ? luaL_typename(L, -1) : name);
        }
    }
}

/* The content at -1. */
static void take_file_text(lua_State *L, struct asset *asset, const char *what)
{
    if (lua_type(L, -1) != LUA_TSTRING) {
        script_raise(L, "%s: \"/%s\": text or { text, type = \"...\" } expected, got %s", what, asset->path,
                     luaL_typename(L, -1));
    }
    asset->content = lua_tolstring(L, -1, &asset->len);
}

/* { text, type = "image/png" } at -1. */
static void take_file_table(lua_State *L, struct asset *asset, const char *what)
{
    check_file_names(L, asset->path, what);
    lua_rawgeti(L, -1, 1);
    take_file_text(L, asset, what);
    lua_pop(L, 1);
    lua_pushliteral(L, "type");
    lua_rawget(L, -2);
    if (!lua_isnil(L, -1)) {
        bool is_text = lua_type(L, -1) == LUA_TSTRING;
        if (!is_text || strlen(lua_tostring(L, -1)) != lua_objlen(L, -1)) {
            script_raise(L, "%s: \"/%s\": type: a text such as \"image/png\" expected, got %s", what, asset->path,
                         is_text ? "one with a NUL byte" : luaL_typename(L, -1));
        }
        asset->type = lua_tostring(L, -1);
    }
    lua_pop(L, 1);
}

const struct asset *static_texts_read(lua_State *L, int index, const char *what, size_t *count)
{
    size_t room = count_files(L, index, what);
    struct asset *assets = lua_newuserdata(L, (room + 1) * sizeof *assets);
    size_t n = 0;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        assets[n] = (struct asset){.path = check_file_path(L, what)};
        if (lua_istable(L, -1)) {
            take_file_table(L, &assets[n], what);
        } else {
            take_file_text(L, &assets[n], what);
        }
        n++;
    }
    *count = n;
    return assets;
}

const struct asset *static_packed_read(lua_State *L, const struct packed_file *files, size_t count, size_t skip)
{
    struct asset *assets = lua_newuserdata(L, count * sizeof *assets);
    for (size_t i = 0; i < count; i++) {
        assets[i] = (struct asset){
            .path = files[i].path + skip,
            .content = files[i].content,
            .len = files[i].len,
            .type = files[i].type,
            .etag = files[i].etag,
            .modified_s = files[i].modified_s,
        };
    }
    return assets;
}
