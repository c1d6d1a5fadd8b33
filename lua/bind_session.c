/* The prelude keeps the options of app.session by host. A host's key is its address, which the prelude only compares.
 *
 * Failure modes: a request that is over has no host; that raises. */

#include "lua/bind_session.h"

#include "http/exchange.h"
#include "lua/bind_host.h"
#include "lua/bind_prelude.h"
#include "lua/bind_request.h"
#include "lua/coro_pool.h"
#include "lua/prelude.h"

/* session_key(host): the key of a host, which is as in app_route(). */
static int session_key(lua_State *L)
{
    lua_pushlightuserdata(L, host_check(L, 1));
    return 1;
}

/* session_key_of(req): the key of the host that a request is for. */
static int session_key_of(lua_State *L)
{
    const struct request *request = request_check(L, "req.session");
    const struct coro *coro = request_coro(L, request);
    if (coro == NULL || coro->exchange == NULL) {
        request_raise_over(L, "req.session");
    }
    lua_pushlightuserdata(L, (void *)(uintptr_t)coro->exchange->vhost);
    return 1;
}

/* session_load(core, app, shared): the functions of prelude_session.lua are in shared then. */
static int load_sessions(lua_State *L)
{
    lua_settop(L, 3);
    prelude_run_parts(L, 1, evserve_session_prelude);
    return 0;
}

void bind_session(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"session_key", session_key},
        {"session_key_of", session_key_of},
        {"session_load", load_sessions},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
