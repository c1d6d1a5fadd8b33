/* app.host: hosts of the site, and what is set for one of them. The prelude knows a host by its number.
 *
 * Failure modes: every mistake raises an error that begins with the file and line of the script. A host whose second
 * name is wrong stays in the site with its first one, if the script goes on all the same. */

#include "lua/bind_host.h"

#include "http/compress_options.h"
#include "http/host_name.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "lua/bind_settings.h"
#include "lua/script_error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct vhost *host_check(lua_State *L, int index)
{
    struct site *site = script_of(L)->site;
    if (lua_isnoneornil(L, index)) {
        return &site->default_host;
    }
    struct vhost *vhost = vhosts_get(site->hosts, (size_t)luaL_checkinteger(L, index) - 1);
    luaL_argcheck(L, vhost != NULL, index, "a host expected");
    return vhost;
}

/* host(names): a list of texts. Returns its number, and for each name whether a certificate may be for it. */
static int host_make(lua_State *L)
{
    struct script *script = script_of(L);
    struct vhost *vhost = NULL;
    char place[PLACE_MAX], err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.host");
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    script_place(L, place);
    if (site_add_host(script->site, place, &vhost) < 0) {
        script_raise_memory(L);
    }
    int count = (int)lua_objlen(L, 1);
    lua_createtable(L, count, 0);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        const char *name = script_check_text(L, -1, "app.host");
        int rv = vhosts_add_name(script->site->hosts, vhost, name, err, sizeof err);
        if (rv == -ENOMEM) {
            script_raise_memory(L);
        }
        if (rv < 0) {
            script_raise(L, "app.host: %s", err);
        }
        lua_pushboolean(L, host_name_is_dns(name));
        lua_rawseti(L, 2, i);
        lua_settop(L, 2);
    }
    size_t number = 0;
    while (vhosts_get(script->site->hosts, number) != vhost) {
        number++;
    }
    lua_pushinteger(L, (lua_Integer)number + 1);
    lua_insert(L, 2);
    return 2;
}

/* host_setting_names(): a list of what may be set for one host. */
static int host_setting_names(lua_State *L)
{
    int count = 0;
    lua_newtable(L);
    for (size_t i = 0; i < limit_table_len; i++) {
        if (limit_table[i].scope == LIMIT_ROUTE) {
            lua_pushstring(L, limit_table[i].name);
            lua_rawseti(L, -2, ++count);
        }
    }
    return 1;
}

/* host_set(host, name, value): name is one of them. */
static int host_set(lua_State *L)
{
    struct vhost *vhost = host_check(L, 1);
    const struct limit_info *limit = limits_find(luaL_checkstring(L, 2));
    script_check_loading(L, "host.set");
    luaL_argcheck(L, limit != NULL && limit->scope == LIMIT_ROUTE, 2, "a limit expected");
    uint64_t value = script_check_setting(L, 3, limit, "host.set"); /* within its range */
    if (vhost_set_limit(vhost, limit, value) < 0) {
        script_raise_memory(L);
    }
    return 0;
}

/* host_set_access(host, name, value): "access_log" or "access_log_format". */
static int host_set_access(lua_State *L)
{
    struct vhost *vhost = host_check(L, 1);
    const char *name = luaL_checkstring(L, 2);
    bool is_format = strcmp(name, "access_log_format") == 0;
    char what[64], err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "host.set");
    snprintf(what, sizeof what, "host.set: %s", name);
    bool is_switch = lua_type(L, 3) == LUA_TBOOLEAN && !is_format;
    if (!is_switch && (lua_type(L, 3) != LUA_TSTRING || lua_objlen(L, 3) == 0)) {
        script_raise(L, "%s: %s expected, got %s", what,
                     is_format ? "\"combined\", \"json\" or a text with $variables"
                               : "a file, \"stdout\", \"syslog:\", true or false",
                     lua_type(L, 3) == LUA_TSTRING ? "an empty text" : luaL_typename(L, 3));
    }
    const char *text = is_switch ? (lua_toboolean(L, 3) ? NULL : "off") : script_check_text(L, 3, what);
    int rv = is_format ? vhost_set_access_format(vhost, text, err, sizeof err) : vhost_set_access_log(vhost, text);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    return 0;
}

/* trailing_slash(host, what, policy): set it. */
static int host_set_slash(lua_State *L)
{
    static const char *const policies[] = {
        [SLASH_STRICT] = "strict", [SLASH_REDIRECT] = "redirect", [SLASH_IGNORE] = "ignore"};
    struct vhost *vhost = host_check(L, 1);
    const char *what = luaL_checkstring(L, 2);
    lua_pushfstring(L, "%s: trailing_slash", what);
    const char *given = lua_type(L, 3) == LUA_TSTRING ? script_check_text(L, 3, lua_tostring(L, -1)) : "";
    script_check_loading(L, what);
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        if (strcmp(given, policies[i]) == 0) {
            vhost->trailing_slash = (enum slash_policy)i;
            vhost->has_slash = true;
            return 0;
        }
    }
    script_raise(L, "%s: trailing_slash: \"strict\", \"redirect\" or \"ignore\" expected", what);
}

/* compress(host, what, codings, types, min, level): what is compressed on the fly; types, min and level may be nil. */
static int host_compress(lua_State *L)
{
    static const struct limit_info numbers[] = {
        {.name = "compress_min", .unit = LIMIT_BYTES, .least = 0, .most = COMPRESS_MIN_MOST},
        {.name = "compress_level", .unit = LIMIT_COUNT, .least = 1, .most = 9},
    };
    struct vhost *vhost = host_check(L, 1);
    const char *what = luaL_checkstring(L, 2);
    struct compress_order order = {.codings = script_check_text(L, 3, what)};
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, what);
    if (!lua_isnil(L, 4)) {
        order.types = script_check_text(L, 4, what);
    }
    if (!lua_isnil(L, 5)) {
        order.min_bytes = script_check_setting(L, 5, &numbers[0], what);
        order.has_min = true;
    }
    if (!lua_isnil(L, 6)) {
        order.level = (unsigned)script_check_setting(L, 6, &numbers[1], what);
    }
    struct compress_options *options;
    int rv = compress_options_create(&options, &order, err, sizeof err);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    compress_options_destroy(vhost->own_compress);
    vhost->own_compress = options;
    return 0;
}

/* unknown_host(status): 404, 421, or 0 for the default host. */
static int host_set_unknown(lua_State *L)
{
    script_check_loading(L, "app.set");
    script_of(L)->site->unknown_host = (int)luaL_checkinteger(L, 1);
    return 0;
}

void bind_host(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"host", host_make},
        {"host_setting_names", host_setting_names},
        {"compress", host_compress},
        {"host_set", host_set},
        {"host_set_access", host_set_access},
        {"trailing_slash", host_set_slash},
        {"unknown_host", host_set_unknown},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
