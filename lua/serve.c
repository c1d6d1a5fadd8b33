/* Happy path: the coroutine of a request calls the handler through serve() of the prelude, in xpcall. A handler that
 * returned a short text is answered from here, without entering Lua again. What any other has returned goes through
 * respond() on the same thread, in xpcall too; and if that begins a stream or a WebSocket, run_stream() or
 * run_websocket() follows.
 *
 * Failure modes: xpcall returns false, and run_failed() follows; the message handler has reported the error where it
 * happened. Without memory for a coroutine or a request object the client gets a 503. */

#include "lua/serve.h"

#include "http/response.h"
#include "lua/answer.h"
#include "lua/bind_request.h"
#include "lua/coro.h"
#include "lua/memory.h"
#include "lua/script_error.h"
#include "lua/websocket.h"

#include <stdio.h>

enum {
    IS_OK = BASE_REQUEST + 1, /* what xpcall returned: whether all went well, then the values */
    FIRST_VALUE,
};

/* Run run_failed(false, err) with what xpcall has returned. */
int serve_go_on_after_failure(struct coro *coro)
{
    request_store(coro);
    script_push_ref(coro->script, coro->L, REF_RUN_FAILED);
    lua_insert(coro->L, IS_OK);
    coro->on_return = NULL;
    return lua_gettop(coro->L) - IS_OK;
}

bool serve_has_failed(const struct coro *coro)
{
    return !lua_toboolean(coro->L, IS_OK);
}

static int after_answer(struct coro *coro)
{
    lua_State *L = coro->L;
    if (!lua_toboolean(L, IS_OK)) {
        return serve_go_on_after_failure(coro);
    }
    if (lua_gettop(L) == IS_OK) {
        return -1;
    }
    script_push_ref(coro->script, L, websocket_of(coro) == NULL ? REF_RUN_STREAM : REF_RUN_WEBSOCKET);
    lua_replace(L, IS_OK);
    coro->on_return = NULL;
    return lua_gettop(L) - IS_OK;
}

static int after_handler(struct coro *coro)
{
    lua_State *L = coro->L;
    if (!lua_toboolean(L, IS_OK)) {
        return serve_go_on_after_failure(coro);
    }
    if (answer_plainly(coro, FIRST_VALUE)) {
        return -1;
    }
    request_store(coro);
    lua_pushvalue(L, BASE_XPCALL);
    lua_replace(L, IS_OK);
    lua_pushvalue(L, BASE_RESPOND);
    lua_insert(L, FIRST_VALUE);
    lua_pushvalue(L, BASE_REPORT);
    lua_insert(L, FIRST_VALUE + 1);
    coro->on_return = after_answer;
    return lua_gettop(L) - IS_OK;
}

void serve_call(struct exchange *exchange, const struct lua_route *route, int (*on_return)(struct coro *coro))
{
    struct script *script = route->script;
    struct coro *coro = coro_take(script, false);
    if (coro == NULL || !request_push_new(coro)) {
        if (coro != NULL) {
            coro_put(coro);
        }
        memory_report_full(script, "route at ", route->place);
        response_error(exchange, 503, NULL);
        return;
    }
    lua_pushvalue(coro->L, BASE_XPCALL);
    lua_pushvalue(coro->L, BASE_SERVE);
    lua_pushvalue(coro->L, BASE_REPORT);
    lua_rawgeti(coro->L, LUA_REGISTRYINDEX, route->fn_ref);
    lua_pushvalue(coro->L, BASE_REQUEST);
    coro_attach(coro, exchange);
    coro->route = route;
    coro->on_return = on_return;
    coro->shields = route->finishes;
    coro_resume(coro, 4);
}

void serve_route(struct exchange *exchange, void *ctx)
{
    serve_call(exchange, ctx, after_handler);
}

void serve_say_place(const struct exchange *exchange, char *text, size_t size)
{
    const struct coro *coro = coro_of(exchange);
    char place[PLACE_MAX] = "";
    if (coro != NULL) { /* a stream of events has none */
        script_place(coro->L, place);
    }
    snprintf(text, size, "%s", place);
}
