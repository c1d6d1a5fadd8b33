/* Happy path: load_ngx() runs the files prelude_ngx*.lua, which are no part of the prelude of other scripts, with the C
 * functions that they need beside those of the prelude.
 *
 * Failure modes: what the request at work is asked for raises where there is none, as req does when it is over. */

#include "lua/bind_ngx.h"

#include "core/sys.h"
#include "http/exchange.h"
#include "http/http_date.h"
#include "http/response_fields.h"
#include "lua/bind_codec.h"
#include "lua/bind_prelude.h"
#include "lua/bind_regex.h"
#include "lua/bind_request.h"
#include "lua/coro_pool.h"
#include "lua/prelude.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

#include <errno.h>
#include <unistd.h>

/* wall_time(): seconds since the epoch, with milliseconds. */
static int lua_wall_time(lua_State *L)
{
    lua_pushnumber(L, (double)sys_wall_time_ms() / 1000);
    return 1;
}

/* parse_date(text): seconds since the epoch, or nil. */
static int lua_parse_date(lua_State *L)
{
    size_t len;
    int64_t time;
    const char *text = luaL_checklstring(L, 1, &len);
    if (!http_date_parse(text, len, sys_wall_time_s(), &time)) {
        return 0;
    }
    lua_pushnumber(L, (double)time);
    return 1;
}

/* thread(): the number of the thread, the process id. */
static int lua_thread(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)script_of(L)->thread);
    lua_pushinteger(L, (lua_Integer)getpid());
    return 2;
}

/* phase(): where the code that runs is, in nginx's words. */
static int lua_phase(lua_State *L)
{
    const struct script *script = script_of(L);
    const struct coro *coro = script->running;
    if (coro != NULL) {
        lua_pushstring(L, coro->has_request ? "content" : "timer");
    } else if (script->phase == SCRIPT_LOADING) {
        lua_pushliteral(L, "init");
    } else {
        lua_pushstring(L, script->is_stopping ? "exit_worker" : "init_worker");
    }
    return 1;
}

/* has_request(): whether current_request() gives one. */
static int lua_has_request(lua_State *L)
{
    const struct coro *coro = script_of(L)->running;
    lua_pushboolean(L, coro != NULL && coro->has_request);
    return 1;
}

/* lend_request(req): from now on current_request() gives req in the task that runs. */
static int lua_lend_request(lua_State *L)
{
    lua_settop(L, 1);
    (void)request_check(L, "ngx.thread.spawn");
    struct coro *coro = coro_check_running(L, "ngx.thread.spawn");
    if (!coro->has_request) {
        lua_rawseti(L, LUA_REGISTRYINDEX, coro->request_ref);
        coro->has_request = coro->is_stored = true;
    }
    return 0;
}

/* The exchange of the request at work, if no response to it has begun; else NULL. */
static struct exchange *find_open(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "ngx.header");
    if (!coro->has_request) {
        script_raise(L, "ngx.header: there is no request here");
    }
    request_push_of(L, coro);
    const struct coro *owner = request_coro(L, lua_touserdata(L, -1));
    lua_pop(L, 1);
    struct exchange *exchange = owner == NULL ? NULL : owner->exchange;
    return exchange == NULL || exchange->response_state != RESPONSE_NONE ? NULL : exchange;
}

static struct exchange *check_open(lua_State *L)
{
    struct exchange *exchange = find_open(L);
    if (exchange == NULL) {
        script_raise(L, "ngx.header: the response has begun, or the client has gone");
    }
    return exchange;
}

/* get_field(name): the value of a field that was added to the response, a list of several, or nil. */
static int lua_get_field(lua_State *L)
{
    size_t name_len;
    const char *name = luaL_checklstring(L, 1, &name_len);
    struct response_field_walk walk = {0};
    const struct exchange *exchange = check_open(L);
    int count = 0;
    lua_settop(L, 1);
    lua_newtable(L);
    (void)script_lend_scratch(L, "ngx.header"); /* compiled code must not collect: a finalizer may add fields */
    while (response_next_field(exchange, name, name_len, &walk)) {
        lua_pushlstring(L, walk.value, walk.value_len);
        lua_rawseti(L, 2, ++count);
    }
    script_return_scratch(L);
    if (count == 0) {
        return 0;
    }
    if (count == 1) {
        lua_rawgeti(L, 2, 1);
    }
    return 1;
}

/* drop_field(name). */
static int lua_drop_field(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    response_drop_field(check_open(L), name, len);
    return 0;
}

/* add_field(name, value): raises for what a response must not have. */
static int lua_add_field(lua_State *L)
{
    size_t name_len, len;
    const char *name = luaL_checklstring(L, 1, &name_len);
    const char *value = luaL_checklstring(L, 2, &len);
    switch (response_add_field(check_open(L), name, name_len, value, len)) {
    case 0:
        return 0;
    case -EINVAL:
        script_raise(L,
                     "ngx.header: \"%.100s\": the name must be a token, and the value must not contain control "
                     "characters",
                     name);
    case -EPERM:
        script_raise(L, "ngx.header: \"%.100s\" is set by the server itself", name);
    case -EEXIST:
        script_raise(L, "ngx.header: \"%.100s\" is set twice: a response may have it only once", name);
    case -ENOBUFS:
        script_raise(L, "ngx.header: \"%.100s\": the header fields are longer than %d bytes in total", name,
                     RESPONSE_FIELDS_MAX);
    default:
        script_raise_memory(L);
    }
}

/* is_open(): whether no response to the request at work has begun. */
static int lua_is_open(lua_State *L)
{
    lua_pushboolean(L, find_open(L) != NULL);
    return 1;
}

/* version_of_request(): that of the request: 1.0 or 1.1. */
static int lua_version_of_request(lua_State *L)
{
    lua_pushnumber(L, check_open(L)->head.minor_version == 0 ? 1.0 : 1.1);
    return 1;
}

/* load_ngx(core, app, shared): the module. */
static int lua_load_ngx(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"wall_time", lua_wall_time},     {"parse_date", lua_parse_date},
        {"thread", lua_thread},           {"phase", lua_phase},
        {"has_request", lua_has_request}, {"lend_request", lua_lend_request},
        {"get_field", lua_get_field},     {"drop_field", lua_drop_field},
        {"add_field", lua_add_field},     {"version_of_request", lua_version_of_request},
        {"is_open", lua_is_open},         {NULL, NULL},
    };
    lua_settop(L, 3);
    for (int i = 1; i <= 3; i++) {
        luaL_checktype(L, i, LUA_TTABLE);
    }
    lua_pushvalue(L, 1);
    luaL_register(L, NULL, functions);
    bind_codec(L);
    bind_regex(L);
    lua_pop(L, 1);
    prelude_run_parts(L, 1, evserve_ngx_prelude);
    lua_getfield(L, 3, "ngx");
    return 1;
}

void bind_ngx(lua_State *L)
{
    static const luaL_Reg functions[] = {{"load_ngx", lua_load_ngx}, {NULL, NULL}};
    luaL_register(L, NULL, functions);
}
