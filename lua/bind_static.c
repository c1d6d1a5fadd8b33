/* app.static: a table of options becomes struct static_options. lua/static_texts.c reads files in memory.
 *
 * Happy path: option_table names each option and the function that reads it; what they point to stays alive on the Lua
 * stack until the mount has made its copy.
 *
 * Failure modes: a value of the wrong kind raises an error that begins with the file and line of the script, and so
 * does what http/static_options.c finds wrong. Nothing here is owned, so an error has nothing to free. */

#include "lua/bind_static.h"

#include "core/packed.h"
#include "http/limits.h"
#include "http/static_mounts.h"
#include "http/vhost.h"
#include "lua/bind_host.h"
#include "lua/bind_number.h"
#include "lua/script_error.h"
#include "lua/static_texts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* On the stack: the table of options, the host, what was called, and a list of strings made on the way. */
enum { OPTIONS_INDEX = 3, STATIC_HOST_INDEX, STATIC_WHAT_INDEX, KEEP_INDEX };

/* The options being read, with room for what they point to; one more than allowed, so that too many are told from
 * all. */
struct reading {
    const char *what; /* "app.static", or "host.static" */
    struct static_options options;
    struct static_field headers[STATIC_HEADERS_MAX + 1];
    const char *index[STATIC_INDEX_MAX + 1];
    struct mime_override types[STATIC_TYPES_MAX + 1];
};

/* The text at index of the stack, or an error. A number is a text, too, where numbers are allowed; it is kept alive. */
static const char *check_text(lua_State *L, const struct reading *reading, int index, const char *option,
                              const char *expected, bool allows_number)
{
    int type = lua_type(L, index);
    if (type == LUA_TNUMBER && allows_number) {
        lua_pushvalue(L, index); /* converting a key in place would confuse lua_next() */
        script_number_to_text(L, -1);
        const char *text = lua_tostring(L, -1);
        lua_rawseti(L, KEEP_INDEX, (int)lua_objlen(L, KEEP_INDEX) + 1);
        return text;
    }
    if (type != LUA_TSTRING) {
        script_raise(L, "%s: %s: %s expected, got %s", reading->what, option, expected, luaL_typename(L, index));
    }
    if (strlen(lua_tostring(L, index)) != lua_objlen(L, index)) {
        script_raise(L, "%s: %s: a text contains a NUL byte", reading->what, option);
    }
    return lua_tostring(L, index);
}

static void check_table(lua_State *L, const struct reading *reading, const char *option, const char *expected)
{
    if (!lua_istable(L, -1)) {
        script_raise(L, "%s: %s: %s expected, got %s", reading->what, option, expected, luaL_typename(L, -1));
    }
}

/* The options. Each reader finds the value on top of the stack, and leaves the stack as it is. */

/* Seconds: "1h", or 0. */
static void read_cache(lua_State *L, struct reading *reading)
{
    uint64_t ms = 0;
    char err[SCRIPT_TEXT_MAX];
    if (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) == 0) {
        return;
    }
    if (lua_type(L, -1) != LUA_TSTRING) { /* a bare number could be meant as seconds or as milliseconds */
        script_raise(L, "%s: cache: a time with a unit such as \"1h\" expected", reading->what);
    }
    if (limits_parse_value(LIMIT_MS, check_text(L, reading, -1, "cache", "a time", false), &ms, err, sizeof err) < 0) {
        script_raise(L, "%s: cache: %s", reading->what, err);
    }
    if (ms % 1000 != 0 || ms / 1000 > INT32_MAX) {
        script_raise(L, "%s: cache: \"%s\" is not a whole number of seconds below 68 years", reading->what,
                     lua_tostring(L, -1));
    }
    reading->options.cache_s = (uint32_t)(ms / 1000);
}

/* A line of its own for each value. The name is at -2, the value at -1. */
static void add_header(lua_State *L, struct reading *reading)
{
    size_t *count = &reading->options.header_count;
    if (*count < sizeof reading->headers / sizeof reading->headers[0]) {
        const char *name = check_text(L, reading, -2, "headers", "field names", false);
        const char *value = check_text(L, reading, -1, "headers", "text, a number or a list of these", true);
        reading->headers[(*count)++] = (struct static_field){name, value};
    }
}

static void take_headers(lua_State *L, struct reading *reading)
{
    reading->options.headers = reading->headers;
    check_table(L, reading, "headers", "a table such as { [\"x-frame-options\"] = \"DENY\" }");
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (!lua_istable(L, -1)) {
            add_header(L, reading);
            continue;
        }
        size_t count = lua_objlen(L, -1);
        for (size_t i = 1; i <= count; i++) {
            lua_pushvalue(L, -2);
            lua_rawgeti(L, -2, (int)i);
            add_header(L, reading);
            lua_pop(L, 2);
        }
    }
}

/* A name, a list of them, or false. */
static void read_index(lua_State *L, struct reading *reading)
{
    static const char expected[] = "a name such as \"index.html\", a list of names, or false";
    struct static_options *options = &reading->options;
    options->index = reading->index;
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) {
        options->no_index = true;
    } else if (!lua_istable(L, -1)) {
        reading->index[options->index_count++] = check_text(L, reading, -1, "index", expected, false);
    } else {
        size_t count = lua_objlen(L, -1);
        options->no_index = count == 0;
        for (size_t i = 1; i <= count && i <= STATIC_INDEX_MAX + 1; i++) {
            lua_rawgeti(L, -1, (int)i);
            reading->index[options->index_count++] = check_text(L, reading, -1, "index", expected, false);
            lua_pop(L, 1);
        }
    }
}

static void take_types(lua_State *L, struct reading *reading)
{
    static const char expected[] = "a table such as { wasm = \"application/wasm\" }";
    struct static_options *options = &reading->options;
    options->types = reading->types;
    check_table(L, reading, "types", expected);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (options->type_count <= STATIC_TYPES_MAX) {
            const char *extension = check_text(L, reading, -2, "types", expected,
                                               true); /* a list is of no use: 1 is no mistake */
            const char *type = check_text(L, reading, -1, "types", expected, false);
            reading->types[options->type_count++] = (struct mime_override){extension, type};
        }
    }
}

static void read_fallback(lua_State *L, struct reading *reading)
{
    reading->options.fallback = check_text(L, reading, -1, "fallback", "the path of a file", false);
}

static void read_not_found(lua_State *L, struct reading *reading)
{
    reading->options.not_found = check_text(L, reading, -1, "not_found", "the path of a file", false);
}

static bool check_boolean(lua_State *L, const struct reading *reading, const char *option)
{
    if (!lua_isboolean(L, -1)) {
        script_raise(L, "%s: %s: true or false expected, got %s", reading->what, option, luaL_typename(L, -1));
    }
    return lua_toboolean(L, -1);
}

static void read_list(lua_State *L, struct reading *reading)
{
    reading->options.list = check_boolean(L, reading, "list");
}

static void read_dotfiles(lua_State *L, struct reading *reading)
{
    reading->options.dotfiles = check_boolean(L, reading, "dotfiles");
}

static void read_precompressed(lua_State *L, struct reading *reading)
{
    reading->options.no_precompressed = !check_boolean(L, reading, "precompressed");
}

static const struct {
    const char *name;
    void (*read)(lua_State *L, struct reading *reading);
} option_table[] = {
    {"cache", read_cache},         {"dotfiles", read_dotfiles},
    {"fallback", read_fallback},   {"headers", take_headers},
    {"index", read_index},         {"list", read_list},
    {"not_found", read_not_found}, {"precompressed", read_precompressed},
    {"types", take_types},
};

enum { OPTION_COUNT = sizeof option_table / sizeof option_table[0] };

/* static_names(): a list of the options' names. */
static int static_names(lua_State *L)
{
    lua_createtable(L, OPTION_COUNT, 0);
    for (int i = 0; i < OPTION_COUNT; i++) {
        lua_pushstring(L, option_table[i].name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* Mount what is at 2 of the stack: a directory, or a table of files in memory. Returns 0 or -errno with a text. */
static int mount(lua_State *L, struct static_mounts *mounts, const struct reading *reading, char *err, size_t errlen)
{
    const char *prefix = lua_tostring(L, 1);
    const struct static_options *options = &reading->options;
    size_t packed_count, skip;
    if (!lua_istable(L, 2)) {
        const char *directory = lua_tostring(L, 2);
        const struct packed_file *packed = packed_below(script_of(L)->packed, directory, &packed_count, &skip);
        if (packed != NULL) {
            const struct asset *files = static_packed_read(L, packed, packed_count, skip);
            return static_mounts_add_assets(mounts, prefix, files, packed_count, false, options, err, errlen);
        }
        return static_mounts_add(mounts, prefix, directory, options, err, errlen);
    }
    size_t count;
    const struct asset *files = static_texts_read(L, 2, reading->what, &count);
    int rv = static_mounts_add_assets(mounts, prefix, files, count, true, options, err, errlen);
    const char *end = rv == -EBADMSG && strncmp(err, "assets[", 7) == 0 ? strstr(err, "]: ") : NULL;
    if (end != NULL) { /* the number is of no use: a table has no order */
        memmove(err, end + 3, strlen(end + 3) + 1);
    }
    return rv;
}

/* static(prefix, source, options, host, what): source is a directory or a table of files; options is a table or nil,
 * whose names have been checked. */
static int static_mount(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    struct reading reading = {.what = luaL_checkstring(L, STATIC_WHAT_INDEX)};
    script_check_loading(L, reading.what);
    const struct vhost *vhost = host_check(L, STATIC_HOST_INDEX);
    lua_settop(L, STATIC_WHAT_INDEX);
    lua_newtable(L); /* KEEP_INDEX */
    for (int i = 1; i < OPTIONS_INDEX; i++) {
        const char *what = i == 1 ? "prefix such as \"/\"" : "directory, or a table of files,";
        if (i == 2 && lua_istable(L, i)) {
            continue;
        }
        if (lua_type(L, i) != LUA_TSTRING) {
            script_raise(L, "%s: a %s expected, got %s", reading.what, what, luaL_typename(L, i));
        }
        if (strlen(lua_tostring(L, i)) != lua_objlen(L, i)) {
            script_raise(L, "%s: the %s contains a NUL byte", reading.what, i == 1 ? "prefix" : "directory");
        }
    }
    for (int i = 0; i < OPTION_COUNT && !lua_isnil(L, OPTIONS_INDEX); i++) {
        lua_getfield(L, OPTIONS_INDEX, option_table[i].name);
        if (!lua_isnil(L, -1)) {
            option_table[i].read(L, &reading);
        }
        lua_pop(L, 1);
    }
    char place[PLACE_MAX];
    char where[STATIC_WHERE_MAX];
    script_place(L, place);
    snprintf(where, sizeof where, "%s: %s: ", place, reading.what);
    reading.options.where = where;
    if (mount(L, vhost->mounts, &reading, err, sizeof err) < 0) {
        script_raise(L, "%s: %s", reading.what, err);
    }
    return 0;
}

void bind_static(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"static_names", static_names},
        {"static", static_mount},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
