/* What is done when a response is on its way.
 *
 * Happy path: app.defer() hands a function to the deferral of its request. That is held by two: the coroutine, which
 * may go on for a while, and the exchange, whose response may. When both have let go, a task of the reactor starts a
 * coroutine, which calls the functions in their order.
 *
 * Failure modes: a function that ends the coroutine, because it is stopped or yields, is the only one that is lost: the
 * deferral is due once more, and the next coroutine goes on behind it. A response that is lost lets go as well. The
 * task needs no memory, so that no function ever runs where a response ends, deep inside the server. Without memory for
 * the coroutine the functions are not called, which is logged. A server that stops waits for them as long as for
 * requests; then those that are due are called up to their first wait, and coro_report_cut() logs what is cut. Those of
 * responses that are still on their way then are dropped. */

#include "lua/bind_defer.h"

#include "core/log.h"
#include "core/mem.h"
#include "lua/coro.h"
#include "lua/script_error.h"

/* The functions of one request. */
struct deferral {
    struct script *script;         /* whose it is */
    struct deferral *next;         /* in the list of those that are due, or of those in no use */
    struct deferral *older;        /* in the list of all */
    const struct lua_route *route; /* of the request */
    int list_ref;                  /* the functions, in the registry */
    unsigned holds;                /* who has not let go: the coroutine, the exchange */
    void (*then)(void *arg);       /* what else is to be called when the exchange is over; NULL: nothing */
    void *then_arg;
    void (*then_over)(struct exchange *exchange); /* likewise, if the request is watched; NULL: nothing */
    int status;                                   /* of its response, when it is over; 0: there was none */
    uint64_t bytes;                               /* of it that were sent */
    const char *why;                              /* why the server has refused the request, static text, or NULL */
    int taken;                                    /* functions of the list that were begun */
    int taken_before;                             /* of them before the coroutine at work; -1 while there was none */
    bool is_over;                                 /* all of them were */
};

static void drop_deferral(struct deferral *deferral)
{
    struct script *script = deferral->script;
    luaL_unref(script->L, LUA_REGISTRYINDEX, deferral->list_ref);
    deferral->next = script->free_deferrals;
    script->free_deferrals = deferral;
}

/* One of its holders has let go. */
static void let_go(struct deferral *deferral)
{
    struct script *script = deferral->script;
    if (--deferral->holds > 0) {
        return;
    }
    bool is_stuck = deferral->taken == deferral->taken_before; /* there was no memory even to begin */
    if (script->is_stopped || deferral->is_over || is_stuck) {
        drop_deferral(deferral);
        return;
    }
    deferral->next = NULL;
    if (script->due_deferrals == NULL) {
        script->due_deferrals = deferral;
    } else {
        script->last_due_deferral->next = deferral;
    }
    script->last_due_deferral = deferral;
    reactor_schedule(script->reactor, &script->defer_task);
}

static void on_coro_end(void *owned, uint64_t id)
{
    (void)id;
    let_go(owned);
}

static void on_response_end(void *arg)
{
    struct deferral *deferral = arg;
    void (*then)(void *) = deferral->then;
    void *then_arg = deferral->then_arg;
    let_go(deferral);
    if (then != NULL) {
        then(then_arg);
    }
}

/* The deferral of an exchange that was told of last, and the one of which it took the place; NULL: none. A request that
 * was refused after its handler had begun has two. */
static struct deferral *first_of(const struct exchange *exchange)
{
    return exchange->on_end == on_response_end ? exchange->end_arg : NULL;
}

static struct deferral *next_of(const struct deferral *deferral)
{
    return deferral->then == on_response_end ? deferral->then_arg : NULL;
}

/* A watched exchange is over. */
static void on_exchange_over(struct exchange *exchange)
{
    void (*then_over)(struct exchange *) = NULL;
    for (struct deferral *each = first_of(exchange); each != NULL; each = next_of(each)) {
        each->status = exchange->status;
        each->bytes = exchange->sent_bytes;
        each->why = exchange->refusal == 0 ? NULL : exchange->refusal_why;
        then_over = each->then_over == NULL ? then_over : each->then_over;
    }
    if (then_over != NULL) {
        then_over(exchange);
    }
}

/* How many functions behind the one at work have not begun. */
static int count_left(const void *owned)
{
    const struct deferral *deferral = owned;
    lua_State *L = deferral->script->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, deferral->list_ref);
    int left = (int)lua_objlen(L, -1) - deferral->taken;
    lua_pop(L, 1);
    return left;
}

static const struct coro_owner defer_owner = {
    .what = "app.defer of the route at ",
    .on_end = on_coro_end,
    .left = count_left,
};

static struct deferral *deferral_of(const struct coro *coro)
{
    return coro->owner == &defer_owner ? coro->owned : NULL;
}

static void give_deferral(struct coro *coro, struct deferral *deferral)
{
    coro->owner = &defer_owner;
    coro->owned = deferral;
}

static void run_deferral(struct deferral *deferral)
{
    struct script *script = deferral->script;
    struct coro *coro = coro_take(script, false);
    if (coro == NULL) {
        log_write(script->log, LOG_ERROR, "route at %s: not enough memory for app.defer", deferral->route->place);
        drop_deferral(deferral);
        return;
    }
    coro->route = deferral->route;
    give_deferral(coro, deferral);
    deferral->holds = 1;
    deferral->taken_before = deferral->taken;
    script_push_ref(script, coro->L, REF_RUN_DEFERRED);
    coro_resume(coro, 0);
}

/* next_deferred(): the next function to call, nil behind the last. */
static int lua_next_deferred(lua_State *L)
{
    struct deferral *deferral = deferral_of(coro_check_running(L, "app.defer"));
    if (deferral == NULL) {
        script_raise(L, "app.defer: nothing is deferred here");
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, deferral->list_ref);
    lua_rawgeti(L, -1, ++deferral->taken);
    deferral->is_over = lua_isnil(L, -1);
    return 1;
}

/* is_watched(): whether watch_request() was called for the request at work, maybe by a handler that was stopped. */
static int lua_is_watched(lua_State *L)
{
    const struct exchange *exchange = coro_check_running(L, "app.on")->exchange;
    lua_pushboolean(L, exchange != NULL && exchange->on_over == on_exchange_over);
    return 1;
}

/* watch_request(): the request at work, which has called defer() before, tells at its end what ended() gives. */
static int lua_watch_request(lua_State *L)
{
    const struct coro *coro = coro_check_running(L, "app.on");
    struct exchange *exchange = coro->exchange;
    struct deferral *deferral = deferral_of(coro);
    if (exchange != NULL && deferral != NULL && exchange->on_over != on_exchange_over) {
        deferral->then_over = exchange->on_over;
        exchange->on_over = on_exchange_over;
        exchange->dues.is_watched = true;
    }
    return 0;
}

/* ended(): the status of the response to a request that is over, how many bytes of it were sent, and why the server has
 * refused it, or nil. */
static int lua_ended(lua_State *L)
{
    const struct deferral *deferral = deferral_of(coro_check_running(L, "app.on"));
    if (deferral == NULL) {
        script_raise(L, "no request has ended here");
    }
    lua_pushinteger(L, deferral->status);
    lua_pushnumber(L, (double)deferral->bytes);
    lua_pushstring(L, deferral->why);
    return 3;
}

static void run_due(struct script *script)
{
    struct deferral *due = script->due_deferrals;
    script->due_deferrals = NULL; /* what becomes due meanwhile has a turn of its own (R4) */
    while (due != NULL) {
        struct deferral *next = due->next;
        run_deferral(due);
        due = next;
    }
}

static void on_defer_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    run_due(REACTOR_OWNER(arg, struct script, defer_task));
}

bool defer_is_due(const struct script *script)
{
    return script->due_deferrals != NULL;
}

void defer_finish(struct script *script)
{
    while (script->due_deferrals != NULL) { /* each turn begins at least one function, or drops them */
        run_due(script);
    }
    reactor_unschedule(script->reactor, &script->defer_task);
}

/* Take one into use, whose functions are the list on top of the stack, which is popped. May raise. */
static struct deferral *make_deferral(lua_State *L, struct coro *coro)
{
    struct script *script = coro->script;
    if (script->free_deferrals == NULL) {
        struct deferral *made = mem_zalloc(sizeof *made);
        if (made == NULL) {
            script_raise_memory(L);
        }
        made->older = script->deferrals;
        script->deferrals = made;
        script->free_deferrals = made;
    }
    int list_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    struct deferral *deferral = script->free_deferrals;
    script->free_deferrals = deferral->next;
    *deferral = (struct deferral){
        .script = script,
        .older = deferral->older,
        .route = coro->route,
        .list_ref = list_ref,
        .holds = 1,
        .taken_before = -1,
    };
    if (coro->exchange != NULL) {
        deferral->holds++;
        deferral->then = coro->exchange->on_end;
        deferral->then_arg = coro->exchange->end_arg;
        coro->exchange->on_end = on_response_end;
        coro->exchange->end_arg = deferral;
    }
    return deferral;
}

/* defer(fn): whether it is the first of its request. */
static int lua_defer(lua_State *L)
{
    struct coro *coro = script_of(L)->running;
    lua_settop(L, 1);
    if (!lua_isfunction(L, 1)) {
        script_raise(L, "app.defer: a function expected, got %s", luaL_typename(L, 1));
    }
    bool is_owned = coro != NULL && coro->owner != NULL && coro->owner != &defer_owner; /* a task */
    if (coro == NULL || coro->route == NULL || is_owned || (coro->exchange == NULL && !coro->is_gone)) {
        script_raise(L, "app.defer: there is no response to wait for here: call it in a handler or a stream");
    }
    struct deferral *deferral = deferral_of(coro);
    bool is_first = deferral == NULL;
    if (is_first) {
        lua_newtable(L);
        deferral = make_deferral(L, coro);
        give_deferral(coro, deferral);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, deferral->list_ref);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, (int)lua_objlen(L, 2) + 1);
    lua_pushboolean(L, is_first);
    return 1;
}

void defer_free_all(struct script *script)
{
    if (reactor_is_scheduled(&script->defer_task)) { /* a script that is only checked may have no reactor */
        reactor_unschedule(script->reactor, &script->defer_task);
    }
    while (script->deferrals != NULL) {
        struct deferral *deferral = script->deferrals;
        script->deferrals = deferral->older;
        mem_free(deferral);
    }
}

void bind_defer(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"defer", lua_defer},           {"next_deferred", lua_next_deferred},
        {"is_watched", lua_is_watched}, {"watch_request", lua_watch_request},
        {"ended", lua_ended},           {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
    script_of(L)->defer_task.fn = on_defer_task;
}
