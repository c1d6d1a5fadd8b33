/* What the server refuses as one more request for the script: a handler of its own for each group with middleware, and
 * for each host.
 *
 * Happy path: the prelude makes the function (prelude_middleware.lua), which asks refusal() what is to be said. */

#include "lua/bind_refusal.h"

#include "http/decoded_body.h"
#include "http/router.h"
#include "http/vhost.h"
#include "lua/bind_host.h"
#include "lua/coro_pool.h"
#include "lua/routes.h"
#include "lua/script_error.h"
#include "lua/serve.h"

#include <string.h>

/* A handler that calls the function on top of the stack, which is popped. */
static struct lua_route *make_handler(lua_State *L, const struct vhost *vhost, const char *place)
{
    struct lua_route *made = routes_make(script_of(L), vhost, place, serve_route);
    if (made == NULL) {
        script_raise_memory(L);
    }
    made->handler.say_place = serve_say_place;
    made->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return made;
}

const struct handler *refusals_make(lua_State *L, int made, const struct lua_route *route)
{
    lua_pushvalue(L, -1);
    lua_rawget(L, made);
    struct lua_route *handler = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (handler == NULL) {
        lua_pushvalue(L, -1);
        handler = make_handler(L, route->vhost, route->place);
        lua_pushvalue(L, -1);
        lua_pushlightuserdata(L, handler);
        lua_rawset(L, made);
    }
    return &handler->handler;
}

void refusals_set_no_routes(lua_State *L)
{
    script_push_ref(script_of(L), L, REF_NO_ROUTES);
    lua_call(L, 0, 1);
    int list = lua_gettop(L);
    for (size_t i = 1; i <= lua_objlen(L, list); i++) {
        lua_rawgeti(L, list, (int)i);
        lua_getfield(L, list + 1, "host");
        struct vhost *vhost = host_check(L, list + 2);
        lua_getfield(L, list + 1, "place");
        const char *place = lua_tostring(L, -1);
        lua_getfield(L, list + 1, "fn");
        struct lua_route *made = make_handler(L, vhost, place == NULL ? "" : place);
        made->handler.name = "middleware";
        vhost->no_route = &made->handler;
        lua_settop(L, list);
    }
    lua_pop(L, 1);
}

/* refusal(): the status that is to be sent; why, or nil; a field that belongs to it, and its name, or nothing. */
static int lua_refusal(lua_State *L)
{
    const struct coro *coro = coro_check_running(L, "a refusal");
    const struct exchange *exchange = coro->exchange;
    if (exchange == NULL || exchange->refusal == 0) {
        coro_raise_closed(L);
    }
    lua_pushinteger(L, exchange->refusal);
    lua_pushstring(L, exchange->refusal_why);
    if (exchange->refusal == 415) {
        char codings[DECODED_CODINGS_MAX];
        decoded_body_codings(codings);
        lua_pushstring(L, codings);
        lua_pushliteral(L, "accept-encoding");
        return 4;
    }
    if (exchange->refusal != 405 && exchange->refusal != 204) {
        return 2;
    }
    char allow[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(exchange->vhost->router, exchange->match.allowed, allow);
    lua_pushstring(L, allow);
    lua_pushliteral(L, "allow");
    return 4;
}

void bind_refusal(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"refusal", lua_refusal},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
