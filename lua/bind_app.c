/* What the prelude makes app of: addresses, routes, the log, statistics.
 *
 * Happy path: each function checks its arguments and passes them to http/ or keeps them in the script.
 *
 * Failure modes: every mistake raises an error that begins with the file and line of the script. */

#include "lua/bind_app.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/net.h"
#include "http/exchange_log.h"
#include "http/router.h"
#include "http/server.h"
#include "http/vhost.h"
#include "lua/bind_host.h"
#include "lua/bind_number.h"
#include "lua/bind_settings.h"
#include "lua/compiler.h"
#include "lua/coro_pool.h"
#include "lua/routes.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/serve.h"
#include "lua/stack_guard.h"
#include "lua/websocket_options.h"
#include "version.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* listen(address, what): what is the function that was called, for errors. */
static int app_listen(lua_State *L)
{
    struct script *script = script_of(L);
    struct net_address address;
    char err[SCRIPT_TEXT_MAX];
    lua_settop(L, 2);
    const char *what = luaL_checkstring(L, 2);
    script_check_loading(L, what);
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "%s: an address such as \"127.0.0.1:8080\" expected, got %s", what, luaL_typename(L, 1));
    }
    if (net_address_parse(&address, script_check_text(L, 1, what), err, sizeof err) < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    char place[PLACE_MAX];
    script_place(L, place);
    struct listen *listens = mem_resize(script->listens, (script->listen_count + 1) * sizeof *listens);
    if (listens == NULL) {
        script_raise_memory(L);
    }
    script->listens = listens;
    struct listen *asked = &listens[script->listen_count];
    *asked = (struct listen){.address = mem_copy_text(lua_tostring(L, 1)), .place = mem_copy_text(place)};
    if (asked->address == NULL || asked->place == NULL) {
        mem_free(asked->address);
        mem_free(asked->place);
        script_raise_memory(L);
    }
    script->listen_count++;
    return 0;
}

/* Options of a route beside limits. */
static const char route_cpu[] = "handler_cpu";
static const char route_jit[] = "jit";
static const char route_half_close[] = "half_close";
static const char route_finish[] = "finish";
static const char route_access_log[] = "access_log";
static const char route_compress[] = "compress";
static const char route_decode[] = "decode";
static const char route_before_files[] = "before_files";
static const char route_owns_paths[] = "owns_paths";
static const char route_csrf[] = "csrf"; /* the prelude reads it */
static const char route_numbers[] = "numbers";

/* route_names(): a list of the options that a route may have. */
static int app_route_names(lua_State *L)
{
    static const char *const others[] = {route_cpu,        route_jit,      route_half_close, route_finish,
                                         route_access_log, route_compress, route_decode,     route_before_files,
                                         route_owns_paths, route_csrf,     route_numbers};
    int count = 0;
    lua_newtable(L);
    for (size_t i = 0; i < limit_table_len; i++) {
        if (limit_table[i].scope == LIMIT_ROUTE) {
            lua_pushstring(L, limit_table[i].name);
            lua_rawseti(L, -2, ++count);
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        lua_pushstring(L, others[i]);
        lua_rawseti(L, -2, ++count);
    }
    return 1;
}

/* The methods of the list at index as a set. */
static uint64_t check_methods(lua_State *L, int index, const char *what, const struct vhost *vhost)
{
    struct route_methods *names = router_method_names(vhost->router);
    uint64_t methods = 0;
    size_t count = lua_objlen(L, index);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, index, (int)i);
        size_t len = 0;
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : "";
        char err[SCRIPT_TEXT_MAX];
        if (route_methods_add(names, name, len, &methods, err, sizeof err) < 0) {
            script_raise(L, "%s: %s", what, err);
        }
        lua_pop(L, 1);
    }
    if (methods == 0) {
        script_raise(L, "%s: at least one method expected", what);
    }
    return methods;
}

/* Take the limits among the options at index. */
static void take_route_limits(lua_State *L, int index, const char *what, struct lua_route *route)
{
    for (size_t i = 0; i < limit_table_len; i++) {
        lua_pushstring(L, limit_table[i].name);
        lua_rawget(L, index);
        if (!lua_isnil(L, -1)) {
            if (route->limits == NULL) {
                route->limits = mem_zalloc(sizeof *route->limits);
            }
            if (route->limits == NULL) {
                script_raise_memory(L);
            }
            uint64_t value = script_check_setting(L, lua_gettop(L), &limit_table[i], what); /* within its range */
            (void)limits_set(&route->limits->own, &limit_table[i], value, NULL, 0);
            route->limits->is_own |= 1U << i;
            route->handler.limits = &route->limits->limits;
        }
        lua_pop(L, 1);
    }
}

/* The flag called name among the options at index. */
static bool take_route_flag(lua_State *L, int index, const char *what, const char *name)
{
    lua_pushstring(L, name);
    lua_rawget(L, index);
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1)) {
        script_raise(L, "%s: %s: true or false expected, got %s", what, name, luaL_typename(L, -1));
    }
    bool is_set = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return is_set;
}

/* The same for one that is true unless it is given. */
static bool is_route_flag_off(lua_State *L, int index, const char *what, const char *name)
{
    lua_getfield(L, index, name);
    bool is_given = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return is_given && !take_route_flag(L, index, what, name);
}

/* The option numbers at index. */
static enum handler_ints take_route_ints(lua_State *L, int index, const char *what)
{
    lua_getfield(L, index, route_numbers);
    bool is_given = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!is_given) {
        return HANDLER_INTS_USUAL;
    }
    return take_route_flag(L, index, what, route_numbers) ? HANDLER_INTS_NUMBERS : HANDLER_INTS_TEXT;
}

/* Take handler_cpu and jit among the options at index. */
static void take_route_deadline(lua_State *L, int index, const char *what, struct lua_route *route)
{
    lua_pushstring(L, route_cpu);
    lua_rawget(L, index);
    if (!lua_isnil(L, -1)) {
        route->cpu_ms = script_check_setting(L, lua_gettop(L), settings_find(route_cpu), what);
    }
    lua_pop(L, 1);
    route->is_compiled = take_route_flag(L, index, what, route_jit);
    if (route->is_compiled && route->cpu_ms != 0) {
        script_raise(L, "%s: jit = true removes the deadline, so handler_cpu has no effect with it", what);
    }
}

/* Take the name among the options at index. */
static void take_route_name(lua_State *L, int index, struct lua_route *route)
{
    lua_getfield(L, index, "name");
    if (!lua_isnil(L, -1)) {
        route->name = mem_copy_text(lua_tostring(L, -1));
        if (route->name == NULL) {
            script_raise_memory(L);
        }
        route->handler.name = route->name;
    }
    lua_pop(L, 1);
}

void bind_take_route_options(lua_State *L, int index, const char *what, struct lua_route *route)
{
    take_route_limits(L, index, what, route);
    route->handler.half_close = take_route_flag(L, index, what, route_half_close);
    route->handler.is_unlogged = is_route_flag_off(L, index, what, route_access_log);
    route->handler.is_uncoded = is_route_flag_off(L, index, what, route_compress);
    route->handler.keeps_coding = is_route_flag_off(L, index, what, route_decode);
    route->handler.before_files = take_route_flag(L, index, what, route_before_files);
    route->handler.owns_paths = take_route_flag(L, index, what, route_owns_paths);
    route->handler.ints = take_route_ints(L, index, what);
    take_route_name(L, index, route);
}

/* route(what, methods, pattern, options, fn, host): what is "app.get", for errors; the names of the options are
 * checked. fn is what wrap() gets. */
static int app_route(lua_State *L)
{
    struct script *script = script_of(L);
    const char *what = luaL_checkstring(L, 1);
    char place[PLACE_MAX];
    char err[SCRIPT_TEXT_MAX];
    script_check_loading(L, what);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 4, LUA_TTABLE);
    luaL_checktype(L, 5, LUA_TTABLE);
    const struct vhost *vhost = host_check(L, 6);
    uint64_t methods = check_methods(L, 2, what, vhost);
    if (lua_type(L, 3) != LUA_TSTRING) {
        script_raise(L, "%s: a path such as \"/users/:id\" expected, got %s", what, luaL_typename(L, 3));
    }
    if (strlen(lua_tostring(L, 3)) != lua_objlen(L, 3)) {
        script_raise(L, "%s: the path contains a NUL byte", what);
    }
    script_place(L, place);
    struct lua_route *route = routes_make(script, vhost, place, serve_route);
    if (route == NULL) {
        script_raise_memory(L);
    }
    route->handler.say_place = serve_say_place;
    lua_settop(L, 5);
    bind_take_route_options(L, 4, what, route);
    take_route_deadline(L, 4, what, route);
    route->finishes = take_route_flag(L, 4, what, route_finish);
    (void)take_route_flag(L, 4, what, route_csrf);
    if (route->is_compiled) {
        lua_getfield(L, 5, "fn");
        compiler_allow(L, -1);
        lua_pop(L, 1);
    }
    lua_getfield(L, 5, "websocket");
    if (lua_istable(L, -1)) {
        websocket_take_options(L, lua_gettop(L), what, &route->websocket);
    }
    lua_settop(L, 5);
    route->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    int rv = router_add(vhost->router, methods, lua_tostring(L, 3), &route->handler, place, err, sizeof err);
    if (rv < 0) {
        luaL_unref(L, LUA_REGISTRYINDEX, route->fn_ref); /* the script may go on without the route */
        route->fn_ref = LUA_NOREF;
        lua_pushstring(L, err); /* has the place already */
        return lua_error(L);
    }
    return 0;
}

/* The log. */

/* Make a string of the value at index, in place. */
static void stringify(lua_State *L, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        return;
    case LUA_TNUMBER:
        script_number_to_text(L, index);
        return;
    case LUA_TNIL:
        lua_pushliteral(L, "nil");
        break;
    case LUA_TBOOLEAN:
        lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false");
        break;
    default:
        if (!luaL_callmeta(L, index, "__tostring") || lua_type(L, -1) != LUA_TSTRING) {
            lua_pushfstring(L, "%s: %p", luaL_typename(L, index), lua_topointer(L, index));
        }
        break;
    }
    lua_replace(L, index);
}

/* log(level, ...): a line of the values, with spaces between them. */
static int app_log(lua_State *L)
{
    const struct log *log = script_of(L)->log;
    int level = LOG_ERROR;
    const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
    while (level <= LOG_DEBUG && strcmp(name, log_level_name(level)) != 0) {
        level++;
    }
    if (level > LOG_DEBUG) {
        script_raise(L, "app.log: the level must be \"error\", \"warn\", \"info\" or \"debug\"");
    }
    if (!log_is_on(log, (enum log_level)level)) {
        return 0;
    }
    int count = lua_gettop(L);
    script_check_stack(L, "app.log"); /* a __tostring may log */
    for (int i = 2; i <= count; i++) {
        stringify(L, i);
    }
    struct write_buffer *out = script_lend_scratch(L, "app.log");
    for (int i = 2; i <= count; i++) {
        size_t len;
        const char *text = lua_tolstring(L, i, &len);
        script_put_visible(L, out, " ", i > 2 ? 1 : 0, VISIBLE_LINE);
        script_put_visible(L, out, text, len, VISIBLE_LINE);
    }
    int len = (int)write_buffer_len(out);
    const char *line = len == 0 ? "" : write_buffer_data(out);
    const struct coro *running = script_of(L)->running;
    if (running == NULL) {
        log_write_about(log, (enum log_level)level, &(struct log_subject){0}, "%.*s", len, line);
    } else if (running->exchange == NULL) {
        char client[NET_TEXT_MAX];
        const struct log_subject subject = coro_subject(running, NULL, client);
        log_write_about(log, (enum log_level)level, &subject, "%.*s", len, line);
    } else {
        exchange_log(running->exchange, (enum log_level)level, NULL, "%.*s", len, line);
    }
    script_return_scratch(L);
    return 0;
}

/* Statistics. */

static void set_number(lua_State *L, const char *name, uint64_t value)
{
    lua_pushnumber(L, (double)value);
    lua_setfield(L, -2, name);
}

/* Push a table of totals. */
static void push_stats(lua_State *L, const struct server_stats *stats)
{
    lua_createtable(L, 0, 12);
    set_number(L, "accepted", stats->accepted);
    set_number(L, "connections", stats->connections);
    set_number(L, "requests", stats->requests);
    set_number(L, "bytes_sent", stats->bytes_sent);
    set_number(L, "bytes_received", stats->bytes_received);
    set_number(L, "timeouts", stats->timeouts);
    set_number(L, "lost", stats->lost);
    set_number(L, "limited", stats->limited);
    set_number(L, "stalls", stats->stalls);
    lua_newtable(L);
    for (unsigned i = 1; i < sizeof stats->by_class / sizeof stats->by_class[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "%uxx", i);
        set_number(L, name, stats->by_class[i]);
    }
    lua_setfield(L, -2, "by_class");
}

/* stats(): a table of this thread's numbers; in its field total, those of all threads. */
static int app_stats(lua_State *L)
{
    const struct script *script = script_of(L);
    struct server_stats stats = {0}, total = {0};
    int64_t uptime_ms = 0;
    if (script->server != NULL) {
        server_get_stats(script->server, &stats);
        server_get_totals(script->server, &total);
        uptime_ms = script_now_ms(script) - script->started_ms;
    }
    push_stats(L, &stats);
    set_number(L, "lua_memory", script->memory_bytes);
    lua_pushnumber(L, (double)uptime_ms / 1000);
    lua_setfield(L, -2, "uptime");
    push_stats(L, &total);
    lua_setfield(L, -2, "total");
    return 1;
}

/* stopping(): whether the script ends, because the server stops or was reloaded: the "stopping" functions were
 * called. */
static int app_stopping(lua_State *L)
{
    lua_pushboolean(L, script_of(L)->is_stopping);
    return 1;
}

/* is_unwell(): whether a stop of the server has begun, or is announced (drain_delay). */
static int app_is_unwell(lua_State *L)
{
    const struct script *script = script_of(L);
    lua_pushboolean(L, script->server != NULL && server_is_stopping(script->server));
    return 1;
}

void bind_app(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"listen", app_listen}, {"route_names", app_route_names}, {"route", app_route},         {"log", app_log},
        {"stats", app_stats},   {"stopping", app_stopping},       {"is_unwell", app_is_unwell}, {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
    lua_pushliteral(L, EVSERVE_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
}
