/* Rules: what the prelude has checked becomes an entry of http/rules/.
 *
 * Happy path: the texts of a table stay alive on the Lua stack until http/rules/ has made its copy.
 *
 * Failure modes: what http/rules/ finds wrong raises an error that begins with the file and line of the script. Nothing
 * here is owned, so an error has nothing to free. */

#include "lua/bind_rules.h"

#include "http/limits.h"
#include "http/rules/rule_access.h"
#include "http/rules/rule_cache.h"
#include "http/rules/rule_cors.h"
#include "http/rules/rule_fields.h"
#include "http/rules/rule_limit.h"
#include "http/rules/rule_redirect.h"
#include "http/site.h"
#include "lua/bind_host.h"
#include "lua/script_error.h"

#include <errno.h>
#include <string.h>

/* Arguments of each function: the host, what was called ("app.allow"), and a prefix or a pattern. */
enum { HOST_INDEX = 1, WHAT_INDEX, PREFIX_INDEX, FIRST_OWN_INDEX };

/* The rules that the call is about; what and prefix are texts without NUL. */
static struct rules **check_rule_call(lua_State *L, const char **what, const char **prefix)
{
    *what = luaL_checkstring(L, WHAT_INDEX);
    script_check_loading(L, *what);
    *prefix = script_check_text(L, PREFIX_INDEX, *what);
    return &host_check(L, HOST_INDEX)->rules;
}

static int finish_rule(lua_State *L, int rv, const char *what, const char *err)
{
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    return 0;
}

/* rule_access(host, what, prefix, allows, list) */
static int add_access_rule(lua_State *L)
{
    const char *what, *prefix;
    char err[SCRIPT_TEXT_MAX];
    struct rules **rules = check_rule_call(L, &what, &prefix);
    const char *list = script_check_text(L, FIRST_OWN_INDEX + 1, what);
    int rv = rule_access_add(rules, prefix, lua_toboolean(L, FIRST_OWN_INDEX) != 0, list, err, sizeof err);
    return finish_rule(L, rv, what, err);
}

/* rule_redirect(host, what, pattern, target, status): target is nil for 410. */
static int add_redirect_rule(lua_State *L)
{
    const char *what, *pattern;
    char err[SCRIPT_TEXT_MAX], place[PLACE_MAX];
    struct rules **rules = check_rule_call(L, &what, &pattern);
    const char *target = lua_isnil(L, FIRST_OWN_INDEX) ? NULL : script_check_text(L, FIRST_OWN_INDEX, what);
    int status = (int)luaL_checkinteger(L, FIRST_OWN_INDEX + 1);
    script_place(L, place);
    return finish_rule(L, rule_redirect_add(rules, pattern, target, status, place, err, sizeof err), what, err);
}

/* The text at place i of the list at FIRST_OWN_INDEX, which keeps it alive; NULL for false. */
static const char *text_of_list(lua_State *L, size_t i, const char *what)
{
    lua_rawgeti(L, FIRST_OWN_INDEX, (int)i);
    const char *text = lua_isboolean(L, -1) ? NULL : script_check_text(L, -1, what);
    lua_pop(L, 1);
    return text;
}

/* rule_fields(host, what, prefix, list, replaces): list is { name, value or false, name, ... } */
static int add_fields_rule(lua_State *L)
{
    const char *what, *prefix;
    char err[SCRIPT_TEXT_MAX];
    struct rule_field fields[RULE_FIELDS_MAX + 1]; /* one more than allowed, so that too many are told from all */
    struct rules **rules = check_rule_call(L, &what, &prefix);
    luaL_checktype(L, FIRST_OWN_INDEX, LUA_TTABLE);
    size_t count = lua_objlen(L, FIRST_OWN_INDEX) / 2;
    for (size_t i = 0; i < count && i <= RULE_FIELDS_MAX; i++) {
        fields[i].name = text_of_list(L, 2 * i + 1, what);
        fields[i].value = text_of_list(L, 2 * i + 2, what);
    }
    bool replaces = lua_toboolean(L, FIRST_OWN_INDEX + 1) != 0;
    return finish_rule(L, rule_fields_add(rules, prefix, fields, count, replaces, err, sizeof err), what, err);
}

/* rule_cache(host, what, prefix, list): list is { pattern, value, pattern, ... } */
static int add_cache_rule(lua_State *L)
{
    const char *what, *prefix;
    char err[SCRIPT_TEXT_MAX];
    struct rule_cache_entry entries[CACHE_ENTRIES_MAX + 1]; /* as above */
    struct rules **rules = check_rule_call(L, &what, &prefix);
    luaL_checktype(L, FIRST_OWN_INDEX, LUA_TTABLE);
    size_t count = lua_objlen(L, FIRST_OWN_INDEX) / 2;
    for (size_t i = 0; i < count && i <= CACHE_ENTRIES_MAX; i++) {
        entries[i].pattern = text_of_list(L, 2 * i + 1, what);
        entries[i].value = text_of_list(L, 2 * i + 2, what);
    }
    return finish_rule(L, rule_cache_add(rules, prefix, entries, count, err, sizeof err), what, err);
}

/* A whole number at index, 0 for nil; the prelude has checked that it is one. */
static uint64_t whole_number(lua_State *L, int index)
{
    return lua_isnil(L, index) ? 0 : (uint64_t)luaL_checknumber(L, index);
}

/* A number of bytes, or a text such as "1M", at index; 0 for nil. */
static uint64_t size_at(lua_State *L, int index, const char *what)
{
    char err[SCRIPT_TEXT_MAX];
    uint64_t bytes = 0;
    if (lua_type(L, index) != LUA_TSTRING) {
        return whole_number(L, index);
    }
    if (limits_parse_value(LIMIT_BYTES, script_check_text(L, index, what), &bytes, err, sizeof err) < 0) {
        script_raise(L, "%s: rate_limit: %s", what, err);
    }
    return bytes;
}

/* rule_limit(host, what, prefix, rate, burst, concurrency, by, status, rate_limit): each from rate on may be nil */
static int add_limit_rule(lua_State *L)
{
    enum { RATE_INDEX = FIRST_OWN_INDEX, BURST_INDEX, CONCURRENCY_INDEX, BY_INDEX, STATUS_INDEX, BYTES_INDEX };
    const char *what, *prefix;
    char err[SCRIPT_TEXT_MAX];
    struct rules **rules = check_rule_call(L, &what, &prefix);
    const struct rule_limit limit = {
        .rate = lua_isnil(L, RATE_INDEX) ? NULL : script_check_text(L, RATE_INDEX, what),
        .burst = whole_number(L, BURST_INDEX),
        .concurrency = whole_number(L, CONCURRENCY_INDEX),
        .by = lua_isnil(L, BY_INDEX) ? NULL : script_check_text(L, BY_INDEX, what),
        .rate_limit = size_at(L, BYTES_INDEX, what),
        .status = (int)whole_number(L, STATUS_INDEX),
    };
    return finish_rule(L, rule_limit_add(rules, prefix, &limit, err, sizeof err), what, err);
}

/* The list at index, NULL for nil. */
static const char *list_or_null(lua_State *L, int index, const char *what)
{
    return lua_isnil(L, index) ? NULL : script_check_text(L, index, what);
}

/* Seconds of a number or a text such as "10m" at index; nil: CORS_AGE_NONE. */
static int age_at(lua_State *L, int index, const char *what)
{
    char err[SCRIPT_TEXT_MAX];
    uint64_t ms = 0;
    if (lua_type(L, index) != LUA_TSTRING) {
        return lua_isnil(L, index) ? CORS_AGE_NONE : (int)luaL_checkinteger(L, index);
    }
    if (limits_parse_value(LIMIT_MS, script_check_text(L, index, what), &ms, err, sizeof err) < 0) {
        script_raise(L, "%s: max_age: %s", what, err);
    }
    return ms / 1000 > CORS_AGE_MAX ? CORS_AGE_MAX + 1 : (int)(ms / 1000);
}

/* rule_cors(host, what, prefix, origins, methods, headers, expose, credentials, max_age): texts from methods to expose,
 * and max_age, may be nil */
static int add_cors_rule(lua_State *L)
{
    enum { ORIGINS_INDEX = FIRST_OWN_INDEX, METHODS_INDEX, HEADERS_INDEX, EXPOSE_INDEX, CREDENTIALS_INDEX, AGE_INDEX };
    const char *what, *prefix;
    char err[SCRIPT_TEXT_MAX];
    struct rules **rules = check_rule_call(L, &what, &prefix);
    const struct rule_cors cors = {
        .origins = script_check_text(L, ORIGINS_INDEX, what),
        .methods = list_or_null(L, METHODS_INDEX, what),
        .headers = list_or_null(L, HEADERS_INDEX, what),
        .expose = list_or_null(L, EXPOSE_INDEX, what),
        .credentials = lua_toboolean(L, CREDENTIALS_INDEX) != 0,
        .max_age = age_at(L, AGE_INDEX, what),
    };
    return finish_rule(L, rule_cors_add(rules, prefix, &cors, err, sizeof err), what, err);
}

void bind_rules(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"rule_access", add_access_rule},
        {"rule_cache", add_cache_rule},
        {"rule_cors", add_cors_rule},
        {"rule_fields", add_fields_rule},
        {"rule_limit", add_limit_rule},
        {"rule_redirect", add_redirect_rule},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
