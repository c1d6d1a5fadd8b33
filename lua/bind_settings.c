/* Settings as scripts give them.
 *
 * Happy path: app.set hands each value to the limits of http/ or to the script's own settings; what the host fixed
 * stays as it is.
 *
 * Failure modes: every mistake raises an error that begins with the file and line of the script. A value that is
 * allowed, but most likely meant otherwise, is a warning with the same place. */

#include "lua/bind_settings.h"

#include "core/log.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "lua/memory.h"
#include "lua/script_error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { CALL_ODD_MS = 100 }; /* a smaller number as a time of a call most likely means seconds */

static void push_names(lua_State *L, const struct limit_info *table, size_t len)
{
    int used = (int)lua_objlen(L, -1);
    for (size_t i = 0; i < len; i++) {
        lua_pushstring(L, table[i].name);
        lua_rawseti(L, -2, used + (int)i + 1);
    }
}

/* setting_names(): a list. */
static int lua_setting_names(lua_State *L)
{
    lua_newtable(L);
    push_names(L, limit_table, limit_table_len);
    push_names(L, setting_table, setting_table_len);
    return 1;
}

static void write_warning_of_seconds(lua_State *L, const char *what, const char *name, uint64_t value)
{
    const struct script *script = script_of(L);
    char place[PLACE_MAX];
    unsigned long long number = value;
    script_place(L, place);
    log_write(script->log, LOG_WARN,
              "%s: %s: %s = %llu is %llu ms: write \"%llus\" for seconds, or \"%llums\" to confirm it", place, what,
              name, number, number, number, number);
}

void script_warn_of_seconds(lua_State *L, const char *what, const char *name, uint64_t value)
{
    if (!script_of(L)->is_repeat) {
        write_warning_of_seconds(L, what, name, value);
    }
}

void script_warn_of_seconds_once(lua_State *L, int index, const char *what, const char *name, uint32_t ms)
{
    struct script *script = script_of(L);
    if (lua_type(L, index) == LUA_TNUMBER && ms > 0 && ms < CALL_ODD_MS && !script->is_warned_of_seconds) {
        script->is_warned_of_seconds = true;
        write_warning_of_seconds(L, what, name, ms);
    }
}

void script_warn_if_seconds(lua_State *L, int index, const char *what, const char *name, uint32_t ms, uint32_t below_ms)
{
    if (lua_type(L, index) == LUA_TNUMBER && ms > 0 && ms < below_ms) {
        script_warn_of_seconds(L, what, name, ms);
    }
}

uint64_t script_check_setting(lua_State *L, int index, const struct limit_info *info, const char *what)
{
    static const char *const expected[] = {
        [LIMIT_MS] = "a number or text such as \"30s\"",
        [LIMIT_BYTES] = "a number or text such as \"64K\"",
        [LIMIT_COUNT] = "a number or text such as \"100\"",
        [LIMIT_FLAG] = "true or false",
    };
    char err[SCRIPT_TEXT_MAX];
    uint64_t value = 0;
    int type = lua_type(L, index);
    if (type == LUA_TBOOLEAN && info->unit == LIMIT_FLAG) {
        return lua_toboolean(L, index) != 0;
    }
    if (info->unit == LIMIT_FLAG || (type != LUA_TNUMBER && type != LUA_TSTRING)) {
        script_raise(L, "%s: %s: %s expected, got %s", what, info->name, expected[info->unit], luaL_typename(L, index));
    }
    if (type == LUA_TNUMBER) {
        double number = lua_tonumber(L, index);
        if (!(number >= 0 && number < 9007199254740992.0) || number != (double)(uint64_t)number) {
            lua_pushnumber(L, number);
            script_raise(L, "%s: %s: %s is not a whole number", what, info->name, lua_tostring(L, -1));
        }
        value = (uint64_t)number;
    } else if (strlen(lua_tostring(L, index)) != lua_objlen(L, index)) {
        script_raise(L, "%s: %s: the text contains a NUL byte", what, info->name);
    } else if (limits_parse_value(info->unit, lua_tostring(L, index), &value, err, sizeof err) < 0) {
        script_raise(L, "%s: %s: %s", what, info->name, err);
    }
    if (limit_check_value(info, value, err, sizeof err) < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    if (type == LUA_TNUMBER && limit_looks_like_seconds(info, value)) {
        script_warn_of_seconds(L, what, info->name, value);
    }
    return value;
}

/* set(name, value): name is a setting. */
static int lua_set(lua_State *L)
{
    struct script *script = script_of(L);
    const char *name = luaL_checkstring(L, 1);
    const struct limit_info *limit = limits_find(name);
    const struct limit_info *info = limit != NULL ? limit : settings_find(name);
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.set");
    if (info == NULL) {
        script_raise(L, "app.set: unknown setting \"%.40s\"", name);
    }
    uint64_t value = script_check_setting(L, 2, info, "app.set"); /* within its range */
    if (limit != NULL) {
        (void)limits_set(&script->site->limits, limit, value, err, sizeof err);
    } else if (settings_get(&script->fixed, info) == 0) {
        (void)settings_set(&script->settings, info, value, err, sizeof err);
        memory_reset_mark(script);
    }
    return 0;
}

/* set_access_log(name, value): "access_log" or "access_log_format". */
static int lua_set_access_log(lua_State *L)
{
    struct site *site = script_of(L)->site;
    const char *name = luaL_checkstring(L, 1);
    bool is_format = strcmp(name, "access_log_format") == 0;
    char what[64], err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.set");
    snprintf(what, sizeof what, "app.set: %s", name);
    if (lua_type(L, 2) == LUA_TBOOLEAN && !lua_toboolean(L, 2) && !is_format) {
        lua_pushliteral(L, "off");
        lua_replace(L, 2);
    }
    if (lua_type(L, 2) != LUA_TSTRING || lua_objlen(L, 2) == 0) {
        script_raise(L, "%s: %s expected, got %s", what,
                     is_format ? "\"combined\", \"json\" or a text with $variables"
                               : "a file, \"stdout\", \"syslog:\" or false",
                     lua_type(L, 2) == LUA_TSTRING ? "an empty text" : luaL_typename(L, 2));
    }
    const char *text = script_check_text(L, 2, what);
    int rv = is_format ? site_set_access_format(site, text, err, sizeof err) : site_set_access_log(site, text);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    return 0;
}

/* set_trusted_proxies(list). */
static int lua_set_trusted_proxies(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.set");
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.set: trusted_proxies: a text such as \"127.0.0.1, 10.0.0.0/8, unix:\" expected, got %s",
                     luaL_typename(L, 1));
    }
    const char *text = script_check_text(L, 1, "app.set: trusted_proxies");
    int rv = site_set_trusted_proxies(script_of(L)->site, text, err, sizeof err);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "app.set: trusted_proxies: %s", err);
    }
    return 0;
}

/* set_forwarded(text). */
static int lua_set_forwarded(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.set");
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L,
                     "app.set: forwarded: \"x-forwarded\", \"forwarded\", \"off\" or a list of fields expected, got %s",
                     luaL_typename(L, 1));
    }
    const char *text = script_check_text(L, 1, "app.set: forwarded");
    if (site_set_forwarded(script_of(L)->site, text, err, sizeof err) < 0) {
        script_raise(L, "app.set: forwarded: %s", err);
    }
    return 0;
}

/* set_strip_forwarded(flag). */
static int lua_set_strip_forwarded(lua_State *L)
{
    script_check_loading(L, "app.set");
    if (lua_type(L, 1) != LUA_TBOOLEAN) {
        script_raise(L, "app.set: strip_forwarded: true or false expected, got %s", luaL_typename(L, 1));
    }
    script_of(L)->site->strips_forwarded = lua_toboolean(L, 1) != 0;
    return 0;
}

/* set_deny_connect(list). */
static int lua_set_deny_connect(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.set");
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.set: deny_connect: a text such as \"private\" or \"10.0.0.0/8, unix:\" expected, got %s",
                     luaL_typename(L, 1));
    }
    const char *text = script_check_text(L, 1, "app.set: deny_connect");
    int rv = site_set_deny_connect(script_of(L)->site, text, err, sizeof err);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "app.set: deny_connect: %s", err);
    }
    return 0;
}

/* set_broker(url). */
static int lua_set_broker(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, "app.set");
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.set: broker: a URL such as \"redis://127.0.0.1:6379/0\" expected, got %s",
                     luaL_typename(L, 1));
    }
    const char *url = script_check_text(L, 1, "app.set: broker");
    int rv = site_set_broker(script_of(L)->site, url, err, sizeof err);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "app.set: broker: %s", err);
    }
    return 0;
}

/* check_settings(): whether they fit together. */
static int lua_check_settings(lua_State *L)
{
    char err[SCRIPT_TEXT_MAX];
    if (limits_check(&script_of(L)->site->limits, err, sizeof err) < 0) {
        script_raise(L, "app.set: %s", err);
    }
    return 0;
}

void bind_settings(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"setting_names", lua_setting_names},   {"set", lua_set},
        {"set_access_log", lua_set_access_log}, {"set_trusted_proxies", lua_set_trusted_proxies},
        {"check_settings", lua_check_settings}, {"set_deny_connect", lua_set_deny_connect},
        {"set_forwarded", lua_set_forwarded},   {"set_strip_forwarded", lua_set_strip_forwarded},
        {"set_broker", lua_set_broker},         {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
