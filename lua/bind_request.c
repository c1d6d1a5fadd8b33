/* Request objects.
 *
 * Happy path: the object is a small userdata with the number of its coroutine. A field is made when it is first asked
 * for; tables and long strings are then kept with the object, and so are fields that the script sets itself.
 *
 * Failure modes: after the response, or when the client has gone, there is no request to read from: what was kept is
 * still there, everything else raises an error that says so. No C pointer lies in the object. */

#include "lua/bind_request.h"

#include "http/exchange.h"
#include "http/peer.h"
#include "http/url.h"
#include "lua/collector.h"
#include "lua/coro_pool.h"
#include "lua/memory.h"
#include "lua/object.h"
#include "lua/request_fields.h"
#include "lua/script_error.h"

#include <stdio.h>
#include <string.h>

static const char *const field_names[] = {
    [REQUEST_METHOD] = "method",   [REQUEST_PATH] = "path",       [REQUEST_TARGET] = "target",
    [REQUEST_ID] = "id",           [REQUEST_SCHEME] = "scheme",   [REQUEST_PEER] = "peer",
    [REQUEST_USER] = "user",       [REQUEST_PARAMS] = "params",   [REQUEST_QUERY] = "query",
    [REQUEST_HEADERS] = "headers", [REQUEST_COOKIES] = "cookies", [REQUEST_TLS] = "tls",
    [REQUEST_BODY] = "body",       [REQUEST_CLIENT] = "client",   [REQUEST_HOST] = "host",
    [REQUEST_PROXY] = "proxy",
};

/* The object itself. */

bool request_push_new(struct coro *coro)
{
    lua_State *L = coro->L;
    if (!memory_ready_block(coro->script)) {
        return false;
    }
    collector_stop(L); /* a host may have started it; a finalizer must not run here, and take the block */
    struct request *request = lua_newuserdata(L, sizeof *request);
    *request = (struct request){.index = coro->index, .generation = coro->generation};
    lua_pushvalue(L, BASE_REQUEST_META);
    lua_setmetatable(L, -2);
    coro->has_request = true;
    return true;
}

void request_store(struct coro *coro)
{
    if (!coro->is_stored) {
        lua_pushvalue(coro->L, BASE_REQUEST);
        lua_rawseti(coro->L, LUA_REGISTRYINDEX, coro->request_ref);
        coro->is_stored = true;
    }
}

static bool is_request(lua_State *L, int index)
{
    return object_check_size(L, index, sizeof(struct request)) != NULL && object_has_meta(L, index, REF_REQUEST_META);
}

/* While the handler runs, BASE_REQUEST cannot be reached: indices count from the frame at work. But the last frames are
 * always those of xpcall() and serve(), and the request is what serve() was given second. */
static void store_served(lua_State *L, struct coro *coro)
{
    lua_Debug frame;
    int there = 1, missing = 2; /* two levels: the first one is, the other may be */
    while (lua_getstack(coro->L, missing, &frame) != 0) {
        there = missing;
        missing *= 2;
    }
    while (missing - there > 1) {
        int middle = there + (missing - there) / 2;
        *(lua_getstack(coro->L, middle, &frame) != 0 ? &there : &missing) = middle;
    }
    bool is_found = lua_getstack(coro->L, there - 1, &frame) != 0 && lua_getlocal(coro->L, &frame, 2) != NULL;
    if (is_found && coro->L != L) { /* which is a coroutine that the script has made */
        lua_xmove(coro->L, L, 1);
    }
    if (!is_found || !is_request(L, -1)) {
        script_raise(L, "the request of this handler cannot be found");
    }
    lua_rawseti(L, LUA_REGISTRYINDEX, coro->request_ref);
    coro->is_stored = true;
}

void request_push_of(lua_State *L, struct coro *coro)
{
    if (!coro->is_stored) {
        store_served(L, coro);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, coro->request_ref);
}

/* current_request(): the request object of the coroutine that runs. */
static int current_request(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "a request");
    if (!coro->has_request) {
        script_raise(L, "a timer has no request");
    }
    request_push_of(L, coro);
    return 1;
}

struct request *request_check(lua_State *L, const char *what)
{
    return object_check(L, 1, REF_REQUEST_META, sizeof(struct request), what);
}

struct request *request_check_self(lua_State *L, const char *what)
{
    struct request *request = object_check_size(L, 1, sizeof *request);
    if (request == NULL) {
        script_raise(L, "%s: a request expected, got %s", what, luaL_typename(L, 1));
    }
    return request;
}

struct coro *request_coro(lua_State *L, const struct request *request)
{
    return coro_find(script_of(L), request->index, request->generation);
}

void request_raise_over(lua_State *L, const char *what)
{
    script_raise(L, "%s: the request is over; read what you need before the response is sent", what);
}

static struct exchange *find_exchange(lua_State *L, const struct request *request)
{
    const struct coro *coro = request_coro(L, request);
    return coro == NULL ? NULL : coro->exchange;
}

static struct exchange *check_exchange(lua_State *L, const struct request *request, const char *what)
{
    struct exchange *exchange = find_exchange(L, request);
    if (exchange == NULL) {
        request_raise_over(L, what);
    }
    return exchange;
}

/* Keep the value on top of the stack as field key (a stack index) of the request at index 1. */
void request_keep(lua_State *L, struct request *request, int key)
{
    if (request->has_store == 0) {
        lua_newtable(L);
        lua_setfenv(L, 1);
        request->has_store = 1;
    }
    lua_getfenv(L, 1);
    lua_pushvalue(L, key);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* Push what is kept as field key, or nil. */
void request_push_kept(lua_State *L, const struct request *request, int key)
{
    if (request->has_store == 0) {
        lua_pushnil(L);
        return;
    }
    lua_getfenv(L, 1);
    lua_pushvalue(L, key);
    lua_rawget(L, -2);
    lua_remove(L, -2);
}

/* Fields. */

/* Whether the value at index is the number of a field that is made here. */
static bool is_field(lua_State *L, int index)
{
    lua_Integer number = lua_tointeger(L, index);
    return number >= REQUEST_METHOD && number < REQUEST_BODY;
}

/* request_index(req, name): req.name. The first upvalue says what name is: the number of a field, or a method. */
static int request_index(lua_State *L)
{
    struct request *request = request_check_self(L, "req");
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    int type = lua_type(L, 3);
    if (type == LUA_TFUNCTION) {
        return 1;
    }
    if (type != LUA_TNIL && !is_field(L, 3)) { /* the body, or what a script has put among the names */
        lua_pushnil(L);
        return 1;
    }
    enum request_field field = (enum request_field)lua_tointeger(L, 3);
    struct exchange *exchange = find_exchange(L, request);
    if (type == LUA_TNIL || field >= REQUEST_KEPT || exchange == NULL) {
        request_push_kept(L, request, 2);
        if (type == LUA_TNIL || !lua_isnil(L, -1)) {
            return 1;
        }
    }
    if (exchange == NULL && field == REQUEST_USER) { /* a field of many a middleware, which may have set none */
        return 1;
    }
    if (exchange == NULL) {
        char what[32];
        snprintf(what, sizeof what, "req.%s", field_names[field]);
        check_exchange(L, request, what);
    }
    request_push_field(L, exchange, field);
    if (field >= REQUEST_KEPT) {
        request_keep(L, request, 2);
    }
    return 1;
}

struct exchange *request_push_current(lua_State *L)
{
    (void)current_request(L);
    return find_exchange(L, lua_touserdata(L, -1));
}

const char *request_field_name(enum request_field field)
{
    return field_names[field];
}

/* keep_request(): keep all fields of the request at work but its body, for when it is over. */
static int keep_request(lua_State *L)
{
    lua_settop(L, 0);
    struct exchange *exchange = request_push_current(L);
    struct request *request = lua_touserdata(L, 1);
    for (enum request_field field = REQUEST_METHOD; field < REQUEST_BODY && exchange != NULL; field++) {
        lua_pushstring(L, field_names[field]);
        request_push_kept(L, request, 2);
        if (lua_isnil(L, -1)) {
            request_push_field(L, exchange, field);
            request_keep(L, request, 2);
        }
        lua_settop(L, 1);
    }
    return 0;
}

/* req.name = value: middleware hands things on to handlers this way. */
static int request_newindex(lua_State *L)
{
    struct request *request = request_check_self(L, "req");
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    bool is_user = lua_isnumber(L, -1) && lua_tointeger(L, -1) == REQUEST_USER;
    if (!lua_isnil(L, -1) && !is_user) { /* the user may also be known to middleware */
        script_raise(L, "req.%s is read-only", lua_tostring(L, 2));
    }
    lua_pop(L, 1);
    if (lua_isnil(L, 2)) {
        script_raise(L, "req[nil] cannot be set");
    }
    request_keep(L, request, 2);
    return 0;
}

/* req:header(name): the value, or nil. */
static int request_header(lua_State *L)
{
    const struct request *request = request_check(L, "req:header");
    lua_settop(L, 2);
    if (lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "req:header: a name expected, got %s", luaL_typename(L, 2));
    }
    size_t len;
    const char *name = lua_tolstring(L, 2, &len);
    request_push_header(L, check_exchange(L, request, "req:header"), name, len);
    return 1;
}

/* req:query_all(name): a list of all values. */
static int request_query_all(lua_State *L)
{
    const struct request *request = request_check(L, "req:query_all");
    lua_settop(L, 2);
    if (lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "req:query_all: a name expected, got %s", luaL_typename(L, 2));
    }
    const struct exchange *exchange = check_exchange(L, request, "req:query_all");
    const char *query = exchange_text(exchange, exchange->head.query);
    size_t left = exchange->head.query.len;
    struct url_pair pair;
    int count = 0;
    lua_newtable(L);
    script_push_ref(script_of(L), L, REF_ARRAY_META);
    lua_setmetatable(L, -2);
    while (url_next_pair(&query, &left, &pair)) {
        request_push_decoded(L, pair.name, pair.name_len);
        bool is_wanted = lua_rawequal(L, -1, 2) != 0;
        lua_pop(L, 1);
        if (is_wanted) {
            request_push_decoded(L, pair.value, pair.value_len);
            lua_rawseti(L, -2, ++count);
        }
    }
    return 1;
}

/* tostring(req), for logs. */
static int request_tostring(lua_State *L)
{
    const struct request *request = request_check_self(L, "tostring");
    lua_settop(L, 1);
    const struct exchange *exchange = find_exchange(L, request);
    if (exchange == NULL) {
        lua_pushliteral(L, "request (over)");
        return 1;
    }
    lua_pushliteral(L, "request ");
    lua_pushlstring(L, exchange_text(exchange, exchange->head.method_text), exchange->head.method_text.len);
    lua_pushliteral(L, " ");
    lua_pushlstring(L, exchange_text(exchange, exchange->head.target), exchange->head.target.len);
    lua_concat(L, 4);
    return 1;
}

/* How many bytes the state takes for a request object. */
static size_t measure_object(lua_State *L)
{
    size_t before = script_of(L)->memory_bytes;
    lua_newuserdata(L, sizeof(struct request));
    lua_pop(L, 1);
    return script_of(L)->memory_bytes - before;
}

void bind_request(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"header", request_header},
        {"query_all", request_query_all},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"current_request", current_request},
        {"keep_request", keep_request},
        {NULL, NULL},
    };
    if (memory_set_aside(script_of(L), measure_object(L)) < 0) {
        script_raise_memory(L);
    }
    lua_newtable(L); /* the metatable */
    lua_newtable(L); /* what each name is */
    luaL_register(L, NULL, methods);
    for (int i = REQUEST_METHOD; i <= REQUEST_BODY; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, field_names[i]);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "request_names");
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, request_index, 1);
    lua_setfield(L, -4, "request_index");
    lua_pushcclosure(L, request_newindex, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "request_meta"); /* the prelude adds __index */
    lua_pushcfunction(L, request_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "request");
    lua_setfield(L, -2, "__metatable");
    script_set_ref(L, REF_REQUEST_META);
    luaL_register(L, NULL, functions);
}
