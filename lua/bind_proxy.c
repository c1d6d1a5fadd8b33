/* Happy path: the options are read into a struct proxy_options, whose texts are those of Lua; the proxy that is made
 * copies them, and belongs to a route.
 * Failure modes: a mistake raises an error that names the option. Nothing is owned meanwhile. */

#include "lua/bind_proxy.h"

#include "core/log.h"
#include "core/sys.h"
#include "http/proxy/proxy.h"
#include "http/router.h"
#include "http/site.h"
#include "lua/bind_app.h"
#include "lua/bind_host.h"
#include "lua/bind_settings.h"
#include "lua/duration.h"
#include "lua/routes.h"
#include "lua/script_error.h"

#include <stdio.h>
#include <string.h>

enum { PROXY_TIME_ODD_MS = 1000 }; /* a number below most likely means seconds */

enum { PROXY_HOST_INDEX = 1, PROXY_WHAT_INDEX, PROXY_PREFIX_INDEX, PROXY_UPSTREAMS_INDEX, PROXY_OPTIONS_INDEX };

/* What is read, with room for its lists. */
struct proxy_reading {
    struct proxy_options options;
    const char *what; /* "app.proxy" */
    const char *upstreams[PROXY_UPSTREAMS_MAX];
    struct proxy_field fields[PROXY_FIELDS_MAX];
};

static const char *const proxy_option_names[] = {
    "ca",        "client_cert", "connect_timeout", "fail_timeout", "headers", "host",           "keepalive",
    "max_fails", "server_name", "strip_prefix",    "timeout",      "tries",   "tunnel_timeout", "verify",
};

enum { PROXY_OPTION_COUNT = sizeof proxy_option_names / sizeof proxy_option_names[0] };

/* proxy_names(): a list of the names of its own options. */
static int proxy_names(lua_State *L)
{
    lua_createtable(L, PROXY_OPTION_COUNT, 0);
    for (int i = 0; i < PROXY_OPTION_COUNT; i++) {
        lua_pushstring(L, proxy_option_names[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* Push the option, and return whether it is there. */
static bool get_proxy_option(lua_State *L, const char *name)
{
    lua_getfield(L, PROXY_OPTIONS_INDEX, name);
    return !lua_isnil(L, -1);
}

static const char *read_proxy_text(lua_State *L, const struct proxy_reading *reading, const char *name)
{
    if (!get_proxy_option(L, name)) {
        return NULL;
    }
    if (lua_type(L, -1) != LUA_TSTRING) {
        script_raise(L, "%s: %s: a text expected, got %s", reading->what, name, luaL_typename(L, -1));
    }
    return script_check_text(L, lua_gettop(L), name); /* it stays on the stack */
}

static bool read_proxy_flag(lua_State *L, const struct proxy_reading *reading, const char *name, bool usual)
{
    bool is_there = get_proxy_option(L, name);
    if (is_there && !lua_isboolean(L, -1)) {
        script_raise(L, "%s: %s: true or false expected, got %s", reading->what, name, luaL_typename(L, -1));
    }
    bool is_set = is_there ? lua_toboolean(L, -1) != 0 : usual;
    lua_pop(L, 1);
    return is_set;
}

static uint32_t read_proxy_time(lua_State *L, const struct proxy_reading *reading, const char *name)
{
    char what[64];
    uint32_t ms = 0;
    if (get_proxy_option(L, name)) {
        snprintf(what, sizeof what, "%s: %s", reading->what, name);
        ms = duration_check(L, lua_gettop(L), what);
        if (ms == 0 || ms > PROXY_TIMEOUT_MAX_MS) {
            script_raise(L, "%s: a time from 1 ms to \"24h\" expected", what);
        }
        script_warn_if_seconds(L, lua_gettop(L), reading->what, name, ms, PROXY_TIME_ODD_MS);
    }
    lua_pop(L, 1);
    return ms;
}

static unsigned read_proxy_count(lua_State *L, const struct proxy_reading *reading, const char *name, unsigned most)
{
    unsigned count = 0;
    if (get_proxy_option(L, name)) {
        double number = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
        count = number >= 1 && number <= most ? (unsigned)number : 0;
        if (count == 0 || (double)count != number) {
            script_raise(L, "%s: %s: a whole number from 1 to %u%s expected", reading->what, name, most,
                         strcmp(name, "keepalive") == 0 ? ", or false," : "");
        }
    }
    lua_pop(L, 1);
    return count;
}

/* { cert = "client.pem", key = "client.key" }. Its texts stay in the table. */
static void read_proxy_certificate(lua_State *L, struct proxy_reading *reading)
{
    static const char *const names[] = {"cert", "key"};
    const char *texts[2] = {NULL, NULL};
    if (!get_proxy_option(L, "client_cert")) {
        return;
    }
    for (int i = 0; i < 2 && lua_istable(L, -1); i++) {
        lua_getfield(L, -1, names[i]);
        texts[i] = lua_type(L, -1) == LUA_TSTRING ? script_check_text(L, lua_gettop(L), names[i]) : NULL;
        lua_pop(L, 1);
    }
    if (texts[0] == NULL) {
        script_raise(L, "%s: client_cert: a table such as { cert = \"client.pem\", key = \"client.key\" } expected",
                     reading->what);
    }
    reading->options.cert_file = texts[0];
    reading->options.key_file = texts[1];
}

/* { ["x-name"] = "value", ["x-other"] = false }. Its texts stay in the table. */
static void read_proxy_fields(lua_State *L, struct proxy_reading *reading)
{
    if (!get_proxy_option(L, "headers")) {
        return;
    }
    int table = lua_gettop(L);
    if (!lua_istable(L, table)) {
        script_raise(L, "%s: headers: a table such as { [\"x-name\"] = \"value\" } expected, got %s", reading->what,
                     luaL_typename(L, table));
    }
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
        bool is_removed = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
        if (lua_type(L, -2) != LUA_TSTRING) {
            script_raise(L, "%s: headers: names of fields expected, such as [\"x-name\"], got %s", reading->what,
                         lua_type(L, -2) == LUA_TNUMBER ? "a list" : luaL_typename(L, -2));
        }
        if (!is_removed && lua_type(L, -1) != LUA_TSTRING) {
            script_raise(L, "%s: headers: a text or false for each name of a field expected, got %s", reading->what,
                         luaL_typename(L, -1));
        }
        if (reading->options.field_count == PROXY_FIELDS_MAX) {
            script_raise(L, "%s: headers: at most %d fields", reading->what, (int)PROXY_FIELDS_MAX);
        }
        struct proxy_field *field = &reading->fields[reading->options.field_count++];
        field->name = script_check_text(L, lua_gettop(L) - 1, "headers");
        field->value = is_removed ? NULL : script_check_text(L, lua_gettop(L), "headers");
    }
}

static void read_upstreams(lua_State *L, struct proxy_reading *reading)
{
    size_t count = lua_istable(L, PROXY_UPSTREAMS_INDEX) ? lua_objlen(L, PROXY_UPSTREAMS_INDEX) : 1;
    if (count > PROXY_UPSTREAMS_MAX) {
        script_raise(L, "%s: at most %d upstreams", reading->what, (int)PROXY_UPSTREAMS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (lua_istable(L, PROXY_UPSTREAMS_INDEX)) {
            lua_rawgeti(L, PROXY_UPSTREAMS_INDEX, (int)i + 1);
        } else {
            lua_pushvalue(L, PROXY_UPSTREAMS_INDEX);
        }
        if (lua_type(L, -1) != LUA_TSTRING) {
            script_raise(L, "%s: a URL such as \"http://127.0.0.1:3000\" or a list of them expected, got %s",
                         reading->what, luaL_typename(L, -1));
        }
        reading->upstreams[i] = script_check_text(L, lua_gettop(L), reading->what); /* stays in the table */
        lua_pop(L, 1);
    }
    reading->options.upstream_count = count;
}

static void read_proxy_options(lua_State *L, struct proxy_reading *reading)
{
    struct proxy_options *options = &reading->options;
    options->connect_timeout_ms = read_proxy_time(L, reading, "connect_timeout");
    options->timeout_ms = read_proxy_time(L, reading, "timeout");
    options->fail_timeout_ms = read_proxy_time(L, reading, "fail_timeout");
    options->tunnel_timeout_ms = read_proxy_time(L, reading, "tunnel_timeout");
    options->max_fails = read_proxy_count(L, reading, "max_fails", 1000);
    options->tries = read_proxy_count(L, reading, "tries", PROXY_UPSTREAMS_MAX);
    if (get_proxy_option(L, "keepalive") && lua_isboolean(L, -1)) {
        options->never_keeps = !lua_toboolean(L, -1);
    } else {
        options->keepalive = read_proxy_count(L, reading, "keepalive", 1000);
    }
    options->strips_prefix = read_proxy_flag(L, reading, "strip_prefix", false);
    options->trusts_anybody = !read_proxy_flag(L, reading, "verify", true);
    options->host = read_proxy_text(L, reading, "host");
    options->ca_file = read_proxy_text(L, reading, "ca");
    options->server_name = read_proxy_text(L, reading, "server_name");
    read_proxy_certificate(L, reading);
    read_proxy_fields(L, reading);
}

/* Register the route for the prefix, and for all paths below it. The proxy is the route's. */
static void add_proxy_routes(lua_State *L, struct router *router, struct lua_route *route, const char *prefix)
{
    char err[SCRIPT_TEXT_MAX];
    bool is_root = strcmp(prefix, "/") == 0;
    lua_pushfstring(L, "%s/*rest", is_root ? "" : prefix);
    if ((!is_root && router_add(router, METHODS_ALL, prefix, &route->handler, route->place, err, sizeof err) < 0) ||
        router_add(router, METHODS_ALL, lua_tostring(L, -1), &route->handler, route->place, err, sizeof err) < 0) {
        lua_pushstring(L, err); /* has the place already */
        lua_error(L);
    }
    lua_pop(L, 1);
}

/* proxy(host, what, prefix, upstreams, options): options is a table; its names have been checked. */
static int proxy_add(lua_State *L)
{
    struct script *script = script_of(L);
    const struct vhost *host = host_check(L, PROXY_HOST_INDEX);
    struct proxy_reading reading = {.what = luaL_checkstring(L, PROXY_WHAT_INDEX)};
    char place[PLACE_MAX];
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, reading.what);
    lua_settop(L, PROXY_OPTIONS_INDEX);
    luaL_checktype(L, PROXY_OPTIONS_INDEX, LUA_TTABLE);
    luaL_checkstack(L, 40, reading.what);
    if (lua_type(L, PROXY_PREFIX_INDEX) != LUA_TSTRING) {
        script_raise(L, "%s: a prefix such as \"/api\" expected, got %s", reading.what,
                     luaL_typename(L, PROXY_PREFIX_INDEX));
    }
    if (script->outbound == NULL) {
        script_raise(L, "%s: other servers cannot be reached from here", reading.what);
    }
    reading.options.prefix = script_check_text(L, PROXY_PREFIX_INDEX, reading.what);
    reading.options.upstreams = reading.upstreams;
    reading.options.fields = reading.fields;
    reading.options.base_fd = script->site->base_fd;
    script_place(L, place);
    struct lua_route *route = routes_make(script, host, place, NULL);
    if (route == NULL) {
        script_raise_memory(L);
    }
    read_upstreams(L, &reading);
    read_proxy_options(L, &reading);
    bind_take_route_options(L, PROXY_OPTIONS_INDEX, reading.what, route);
    if (proxy_create(&route->proxy, &reading.options, script->outbound, err, sizeof err) < 0) {
        script_raise(L, "%s: %s", reading.what, err);
    }
    route->handler.serve = proxy_handler(route->proxy)->serve;
    route->handler.ctx = proxy_handler(route->proxy)->ctx;
    route->handler.row = proxy_handler(route->proxy)->row;
    route->handler.keeps_coding = true;
    add_proxy_routes(L, host->router, route, reading.options.prefix);
    return 0;
}

/* proxy_warn(text): once, though each thread runs the script. */
static int proxy_warn(lua_State *L)
{
    const struct script *script = script_of(L);
    const char *text = luaL_checkstring(L, 1);
    if (!script->is_repeat) {
        log_write(script->log, LOG_WARN, "%s", text);
    }
    return 0;
}

void bind_proxy(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"proxy_names", proxy_names},
        {"proxy", proxy_add},
        {"proxy_warn", proxy_warn},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
