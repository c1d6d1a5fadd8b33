/* What is done when an answer is on its way.
 *
 * Happy path: app.defer() hands a function to the deferral of its request. That is held by two: the coroutine, which may
 * go on for a while, and the exchange, whose answer may. When both have let go, a timer that is due at once starts a
 * coroutine, which calls the functions in their order.
 *
 * Failure modes: a function that ends the coroutine, because it is stopped or yields, is the only one that is lost:
 * the deferral is due once more, and the next coroutine goes on behind it. An answer that is lost lets go as well.
 * Without memory for the timer or the coroutine the functions are called at once, or not at all, which is logged.
 * A server that stops waits for them as long as for requests; then those that are due are called up to their first wait, and
 * coro_report_cut() logs what is cut. Those of answers that are still on their way then are dropped. */

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "lua/coro.h"
#include "lua/state.h"

/* The functions of one request. */
struct deferral {
    struct script *script;         /* whose it is */
    struct deferral *next;         /* in the list of those that are due, or of those in no use */
    const struct lua_route *route; /* of the request */
    int list_ref;                  /* the functions, in the registry */
    unsigned holds;                /* who has not let go: the coroutine, the exchange */
    int taken;                     /* functions of the list that were begun */
    int taken_before;              /* of them before the coroutine at work; -1 while there was none */
    bool is_over;                  /* all of them were */
};

static void drop_deferral(struct deferral *deferral)
{
    struct script *script = deferral->script;
    luaL_unref(script->L, LUA_REGISTRYINDEX, deferral->list_ref);
    deferral->next = script->free_deferrals;
    script->free_deferrals = deferral;
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
    coro->deferral = deferral;
    deferral->holds = 1;
    deferral->taken_before = deferral->taken;
    script_push_ref(script, coro->L, REF_RUN_DEFERRED);
    coro_resume(coro, 0);
}

/* next_deferred(): the next function to call, nil behind the last. */
static int lua_next_deferred(lua_State *L)
{
    struct deferral *deferral = coro_check_running(L, "app.defer")->deferral;
    if (deferral == NULL) {
        script_raise(L, "app.defer: nothing is deferred here");
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, deferral->list_ref);
    lua_rawgeti(L, -1, ++deferral->taken);
    deferral->is_over = lua_isnil(L, -1);
    return 1;
}

void defer_run_due(struct script *script)
{
    struct deferral *due = script->due_deferrals;
    script->due_deferrals = NULL; /* what becomes due meanwhile has a turn of its own (R4) */
    while (due != NULL) {
        struct deferral *next = due->next;
        run_deferral(due);
        due = next;
    }
}

static void on_due(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct script *script = arg;
    script->defer_timer = 0;
    defer_run_due(script);
}

void defer_release(struct deferral *deferral)
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
    if (script->defer_timer == 0) {
        script->defer_timer = reactor_set_timeout(script->reactor, 0, on_due, script);
    }
    if (script->defer_timer == 0) {
        defer_run_due(script);
    }
}

int defer_left(const struct deferral *deferral)
{
    lua_State *L = deferral->script->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, deferral->list_ref);
    int left = (int)lua_objlen(L, -1) - deferral->taken;
    lua_pop(L, 1);
    return left;
}

static void on_end(void *arg)
{
    defer_release(arg);
}

/* Take one into use, whose functions are the list on top of the stack, which is popped. May raise. */
static struct deferral *make_deferral(lua_State *L, struct coro *coro)
{
    struct script *script = coro->script;
    if (script->free_deferrals == NULL) {
        script->free_deferrals = mem_zalloc(sizeof *script->free_deferrals);
    }
    if (script->free_deferrals == NULL) {
        script_raise_memory(L);
    }
    int list_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    struct deferral *deferral = script->free_deferrals;
    script->free_deferrals = deferral->next;
    *deferral = (struct deferral){
        .script = script,
        .route = coro->route,
        .list_ref = list_ref,
        .holds = 1,
        .taken_before = -1,
    };
    if (coro->exchange != NULL) {
        deferral->holds++;
        coro->exchange->on_end = on_end;
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
        script_raise(L, "app.defer: a function expected, not %s", luaL_typename(L, 1));
    }
    if (coro == NULL || coro->route == NULL || (coro->exchange == NULL && !coro->is_gone)) {
        script_raise(L, "app.defer: there is no response to wait for here: call it in a handler or a stream");
    }
    bool is_first = coro->deferral == NULL;
    if (is_first) {
        lua_newtable(L);
        coro->deferral = make_deferral(L, coro);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, coro->deferral->list_ref);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, (int)lua_objlen(L, 2) + 1);
    lua_pushboolean(L, is_first);
    return 1;
}

void defer_free(struct deferral *deferral)
{
    mem_free(deferral);
}

static void free_list(struct deferral *deferral)
{
    while (deferral != NULL) {
        struct deferral *next = deferral->next;
        mem_free(deferral);
        deferral = next;
    }
}

void defer_free_all(struct script *script)
{
    free_list(script->free_deferrals);
    free_list(script->due_deferrals);
}

void bind_defer(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"defer", lua_defer},
        {"next_deferred", lua_next_deferred},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
