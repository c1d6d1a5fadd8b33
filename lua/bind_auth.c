/* Happy path: a function that knows the passwords runs in a coroutine of its own, which the request belongs to until it
 * has returned. What it returned decides, and the request goes on without it: to the routes, or to a 401.
 *
 * Failure modes: an error in the function is dealt with as one in a handler, so the client gets its page. Without memory
 * for a coroutine or a request object the client gets a 503. */

#include "lua/bind_auth.h"

#include "http/exchange.h"
#include "http/response.h"
#include "http/rules/basic_auth.h"
#include "http/site.h"
#include "lua/bind_host.h"
#include "lua/bind_request.h"
#include "lua/coro.h"
#include "lua/memory.h"
#include "lua/script_error.h"
#include "lua/serve.h"

#include <errno.h>
#include <string.h>

/* Arguments of basic_auth(). */
enum { AUTH_HOST = 1, AUTH_WHAT, AUTH_PREFIX, AUTH_WHO, AUTH_REALM };

/* A function that is called just now, so that what it decides at once can be returned to the rule. */
struct auth_call {
    struct exchange *exchange;
    enum rules_verdict verdict; /* RULES_HELD until it has decided */
};

/* The function has returned a truth value, which lies on top of the stack. */
static void decide_call(struct coro *coro)
{
    bool is_right = lua_toboolean(coro->L, -1) != 0;
    struct auth_call *call = coro->script->auth_call;
    struct exchange *exchange = coro_detach(coro);
    if (call != NULL && call->exchange == exchange) {
        call->verdict = is_right ? RULES_PASS : RULES_ANSWERED;
    } else if (is_right) {
        basic_auth_go_on(exchange);
    } else {
        basic_auth_refuse(exchange);
    }
}

static int after_auth(struct coro *coro)
{
    if (serve_has_failed(coro)) {
        return serve_go_on_after_failure(coro);
    }
    if (coro->exchange != NULL) { /* else the client has gone meanwhile */
        decide_call(coro);
    }
    return -1;
}

static enum rules_verdict ask_function(struct exchange *exchange, const struct credentials *credentials, void *arg)
{
    struct lua_route *route = arg;
    struct script *script = route->script;
    (void)credentials; /* the function asks for them: auth_credentials() */
    struct auth_call call = {.exchange = exchange, .verdict = RULES_HELD};
    struct auth_call *outer = script->auth_call;
    script->auth_call = &call;
    serve_call(exchange, route, after_auth);
    script->auth_call = outer;
    return exchange->response_state != RESPONSE_NONE ? RULES_ANSWERED : call.verdict;
}

/* auth_credentials(): the name and the password of the request of the coroutine that runs. */
static int auth_credentials(lua_State *L)
{
    const struct coro *coro = coro_check_running(L, "a request");
    char name[CREDENTIALS_MAX], password[CREDENTIALS_MAX];
    size_t name_len = 0, password_len = 0;
    if (coro->exchange == NULL || !basic_auth_read(coro->exchange, name, &name_len, password, &password_len)) {
        return 0;
    }
    lua_pushlstring(L, name, name_len);
    lua_pushlstring(L, password, password_len);
    explicit_bzero(password, sizeof password);
    return 2;
}

/* basic_auth(host, what, prefix, who, realm): who is the name of a password file, false, or { fn = function }, a table as
 * those of routes, whose function takes a request. */
static int auth_add(lua_State *L)
{
    struct script *script = script_of(L);
    const char *what = luaL_checkstring(L, AUTH_WHAT);
    char err[SCRIPT_TEXT_MAX], place[PLACE_MAX];
    script_check_loading(L, what);
    lua_settop(L, AUTH_REALM);
    const char *prefix = script_check_text(L, AUTH_PREFIX, what);
    struct vhost *host = host_check(L, AUTH_HOST);
    struct basic_auth_options options = {
        .file = lua_isstring(L, AUTH_WHO) ? script_check_text(L, AUTH_WHO, what) : NULL,
        .base_fd = script->base_fd,
        .realm = lua_isnil(L, AUTH_REALM) ? NULL : script_check_text(L, AUTH_REALM, what),
    };
    struct basic_auth_asked asked = {.ask = ask_function};
    if (lua_istable(L, AUTH_WHO)) {
        script_place(L, place);
        struct lua_route *route = routes_make(script, host, place, NULL);
        if (route == NULL) {
            script_raise_memory(L);
        }
        route->is_rule = true;
        lua_pushvalue(L, AUTH_WHO);
        route->fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
        asked.arg = route;
        options.asked = &asked;
    }
    int rv = basic_auth_add(&host->rules, prefix, &options, err, sizeof err);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "%s: %s", what, err);
    }
    return 0;
}

void bind_auth(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"basic_auth", auth_add},
        {"auth_credentials", auth_credentials},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
