/* The life of a coroutine.
 *
 * Happy path: who takes a coroutine from the pool resumes it with a function. When that has returned, on_return() says
 * what else runs on the thread, which then goes back to the pool. A handler that waits yields; its struct coro_wait
 * says what resumes it: a timer, on_coro_drain(), on_coro_data() or on_coro_gone().
 *
 * Failure modes. An error in a handler is dealt with while its coroutine still runs (coro_error.c); one that no Lua
 * code could deal with, a stray yield and the end of a deadline give the coroutine up in the middle. A client that goes
 * away wakes its coroutine: app.sleep and req.body raise REF_CLOSED, out:write returns nil, "closed". So what the
 * script has open is unwound. A script that goes on regardless is never resumed again; its thread is left to the
 * collector. */

#include "lua/coro.h"

#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/tick_clock.h"
#include "http/refusal.h"
#include "http/response.h"
#include "http/route_methods.h"
#include "http/router.h"
#include "http/site.h"
#include "http/slow_log.h"
#include "lua/collector.h"
#include "lua/coro_error.h"
#include "lua/deadline.h"
#include "lua/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

static const int64_t ready_turn_ns = 1000000; /* how long those that are ready run before others have their turn */

/* Bad ends. */

/* Give coro up in the middle: its thread cannot run again. */
static void abandon(struct coro *coro, int status)
{
    coro_let_go(coro, HELD_PIECE);
    coro_drop_thread(coro);
    coro_give_up(coro, status);
    coro_put(coro);
}

/* An end that recover() did not see to: a stray yield, or no memory even for that. */
static void coro_fail(struct coro *coro, int verdict)
{
    if (verdict != LUA_YIELD || coro_report_yield(coro) < 0) {
        coro_log_failure(coro, verdict == LUA_ERRMEM ? "not enough memory" : "error in error handling");
    }
    abandon(coro, verdict == LUA_ERRMEM ? 503 : 500);
}

/* If middleware is around the handler, which cannot go on, it sees the 503 in a coroutine of its own; the connection
 * begins that in this tick. */
static void pass_to_refusals(struct coro *coro, const char *why)
{
    struct exchange *exchange = coro->exchange;
    if (coro->held[HELD_PAGE] != NULL) { /* which a developer sees instead */
        exchange->refusal = 503;
        exchange->refusal_why = why;
    } else if (refusal_pass(exchange, 503, why)) {
        coro_detach(coro);
        exchange_resume(exchange);
    }
}

/* It was stopped by deadline.c. */
static void coro_stop(struct coro *coro, const struct run *run)
{
    if (!run->is_reported) {
        char text[SCRIPT_TEXT_MAX];
        deadline_describe(coro->script, run, text, sizeof text);
        coro_log_failure(coro, text);
    }
    if (coro->exchange != NULL) {
        exchange_end_turn(coro->exchange);
        pass_to_refusals(coro, "the handler was stopped by its deadline");
    }
    abandon(coro, 503);
}

/* It was stopped, and came to its end all the same: some C function has swallowed the error that was raised in the
 * hook. For LuaJIT the hook is then still at work, and it calls no other, until an error ends a coroutine: here one
 * that calls nil. */
static void revive_hook(struct coro *coro)
{
    lua_settop(coro->L, 0);
    lua_pushnil(coro->L);
    (void)lua_resume(coro->L, 0);
    coro_drop_thread(coro);
}

/* Processor time that it may take, 0 without an end. */
static uint64_t budget_of(const struct coro *coro)
{
    if (coro->route == NULL || (!coro->route->is_compiled && coro->route->cpu_ms == 0)) {
        return coro->script->settings.handler_cpu_ms;
    }
    return coro->route->is_compiled ? 0 : coro->route->cpu_ms;
}

/* A run that nothing could stop has ended. Its answer, if any, stands. */
static void report_long(const struct coro *coro, uint64_t took_ms)
{
    const struct lua_route *route = coro->route;
    log_write(
        coro->script->log, LOG_WARN,
        "%s%s: a run took %llu ms and could not be stopped (handler_cpu is %llu ms): a slow C function, such as a "
        "pattern match on long text, blocked all other requests",
        route == NULL ? coro->owner->what : "route at ", route == NULL ? "" : route->place, (unsigned long long)took_ms,
        (unsigned long long)budget_of(coro));
}

/* Which route ran: "route GET /users/:id at site.lua:12". */
static void describe_route(const struct lua_route *route, char name[STALL_NAME_MAX])
{
    struct router *router = route->vhost->router;
    char methods[ROUTE_METHODS_TEXT_MAX] = "";
    const struct route *found = router_route(router, 0);
    for (size_t n = 1; found != NULL && found->handler != &route->handler; n++) {
        found = router_route(router, n);
    }
    if (found != NULL) {
        route_methods_format(router_method_names(router), found->methods, methods);
    }
    snprintf(name, STALL_NAME_MAX, "route %.100s %.200s at %.200s", methods, found == NULL ? "" : found->pattern,
             route->place);
}

/* A run was longer than most: note it, in case it has held the loop. serves: it responds to a request. */
static void report_run(const struct coro *coro, const struct run *run, bool serves, uint64_t long_ms)
{
    struct stalls *stalls = &reactor_clock(coro->script->reactor)->stalls;
    char *name = stalls_note(stalls, run->took_ns);
    if (name != NULL && (serves || coro->owner == NULL)) {
        describe_route(coro->route, name);
    } else if (name != NULL) {
        char place[PLACE_MAX] = "";
        if (coro->route == NULL && coro->owner->place != NULL) {
            coro->owner->place(coro, place);
        }
        snprintf(name, STALL_NAME_MAX, "%s%.400s", coro->owner->what, coro->route == NULL ? place : coro->route->place);
    }
    if (long_ms > 0 && !stalls_has(stalls, run->took_ns)) {
        report_long(coro, long_ms);
    }
}

/* Running. */

/* Run the thread of coro, and what follows on it, until it ends or waits. Returns what Lua says of it, and how the run
 * was. */
static int run_lua(struct coro *coro, int nargs, struct run *run)
{
    struct script *script = coro->script;
    const struct lua_route *route = coro->route;
    struct coro *outer = script->running;
    bool is_compiled = route != NULL && route->is_compiled && !script->is_automatic;
    assert(script->scratch_user == NULL);
    coro->wait = NULL;
    coro->wake_ms = 0;
    script->running = coro;
    script_enter_stack(script);
    if (is_compiled) {
        collector_let(script->L);
    }
    deadline_enter(script, budget_of(coro), run);
    run->uses_reserve = coro->uses_reserve;
    run->place = route == NULL ? NULL : route->place;
    run->report = coro_report;
    struct exchange *exchange = coro->exchange;
    bool is_clocked = exchange != NULL && exchange->is_clocked && !exchange->slow.is_in_turn;
    enum slow_part part = is_clocked ? slow_log_enter_handler(exchange) : SLOW_HANDLER;
    int verdict = lua_resume(coro->L, nargs);
    while (verdict == 0 && coro->on_return != NULL && (nargs = coro->on_return(coro)) >= 0) {
        verdict = lua_resume(coro->L, nargs);
    }
    uint64_t long_ms = deadline_leave(script);
    if (is_clocked) {
        slow_log_leave_handler(exchange, part);
    }
    if (is_compiled) {
        script->is_automatic = false;
        collector_stop(script->L);
    }
    script->running = outer;
    if (run->took_ns >= STALL_NOTED_NS) {
        report_run(coro, run, exchange != NULL, long_ms);
    }
    return verdict;
}

void coro_resume(struct coro *coro, int nargs)
{
    struct script *script = coro->script;
    struct run run;
    bool has_run = coro->wait != NULL && lua_status(coro->L) != LUA_YIELD;
    if (has_run) { /* a script has resumed it meanwhile: see is_untouched() */
        coro_fail(coro, LUA_ERRRUN);
        return;
    }
    int verdict = run_lua(coro, nargs, &run);
    if (verdict == 0) {
        if (run.stop != STOP_NONE) {
            revive_hook(coro);
        }
        if (coro->exchange != NULL) { /* it has lost its way between the handler and the response */
            coro_give_up(coro, 500);
        }
        coro_put(coro);
    } else if (run.stop != STOP_NONE && coro->wait == NULL) {
        coro_stop(coro, &run);
    } else if (verdict != LUA_YIELD || coro->wait == NULL) {
        coro_fail(coro, verdict);
    } else if (coro_has_ended(coro)) {
        coro_drop_thread(coro);
        coro_put(coro);
    } else if (coro->before_wait != NULL && coro->exchange != NULL) {
        coro->before_wait(coro);
    }
    if (script->running == NULL) {
        collector_look(script, script->L);
    }
}

/* Waking. */

/* Nothing that happens meanwhile changes what it is resumed with. */
static int stay_ready(struct coro *coro)
{
    return coro->wake_nargs;
}

static const struct coro_wait ready_wait = {.on_gone = stay_ready};

void coro_wake(struct coro *coro, int nargs)
{
    struct script *script = coro->script;
    if (coro->wait != NULL) {
        coro->wait = &ready_wait;
    }
    coro->wake_ms = 0;
    coro->wake_nargs = nargs;
    coro_list_add(&script->ready, coro);
    reactor_schedule(script->reactor, &script->ready_task);
}

static void on_timeout(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct coro *coro = arg;
    coro->wait_id = 0;
    coro_list_remove(coro);
    lua_pushnil(coro->L);
    coro_resume(coro, 1);
}

int coro_set_timeout(struct coro *coro, uint32_t ms)
{
    coro->wait_id = reactor_set_timeout(coro->script->reactor, ms, on_timeout, coro);
    return coro->wait_id == 0 ? -ENOMEM : 0;
}

void coro_cancel_timeout(struct coro *coro)
{
    if (coro->wait_id != 0) {
        reactor_cancel_timer(coro->script->reactor, coro->wait_id);
        coro->wait_id = 0;
    }
}

static bool is_ready(const struct coro *coro)
{
    return coro->list == &coro->script->ready;
}

/* Whether nobody has run it since it was made ready to begin: see is_untouched(). */
static bool can_begin(const struct coro *coro)
{
    return lua_status(coro->L) == 0 && lua_gettop(coro->L) == CORO_BASE + 1 + coro->wake_nargs;
}

static void resume_first(struct script *script)
{
    struct coro *coro = script->ready.first;
    coro_list_remove(coro);
    if (coro->wait != NULL) {
        coro_resume(coro, coro->wake_nargs);
    } else if (coro->is_gone) { /* cancelled before it began */
        coro_put(coro);
    } else if (can_begin(coro)) {
        coro_resume(coro, coro->wake_nargs);
    } else {
        coro_fail(coro, LUA_ERRRUN);
    }
}

static void on_ready_task(struct reactor *reactor, void *arg)
{
    struct script *script = REACTOR_OWNER(arg, struct script, ready_task);
    int64_t end_ns = sys_now_ns() + ready_turn_ns;
    while (script->ready.first != NULL && sys_now_ns() < end_ns) {
        resume_first(script);
    }
    if (script->ready.first != NULL) {
        reactor_schedule(reactor, &script->ready_task);
    }
}

void coro_finish_ready(struct script *script)
{
    const struct coro *last = script->ready.last; /* whoever is woken meanwhile comes behind it */
    bool is_last = last == NULL;
    while (!is_last && script->ready.first != NULL) {
        is_last = script->ready.first == last;
        resume_first(script);
    }
}

void coro_init_ready(struct script *script)
{
    script->ready_task.fn = on_ready_task;
}

void coro_cancel(struct coro *coro)
{
    assert(coro->exchange == NULL);
    if (coro->is_gone) {
        return;
    }
    coro->is_gone = true;
    if (coro->wait != NULL && !is_ready(coro) && coro->shields == 0) {
        coro->is_told = true;
        coro_wake(coro, coro->wait->on_gone(coro));
    }
}

/* What resumes it, beside what it waits for. */

static void on_coro_drain(struct exchange *exchange)
{
    struct coro *coro = exchange->user;
    if (coro->wait != NULL && coro->wait->on_drain != NULL) {
        coro->wait->on_drain(coro);
    }
}

static void on_coro_data(struct exchange *exchange)
{
    struct coro *coro = exchange->user;
    if (coro->wait != NULL && coro->wait->on_data != NULL) {
        coro->wait->on_data(coro);
    }
}

static void on_coro_gone(struct exchange *exchange)
{
    coro_lose(exchange->user);
}

void coro_lose(struct coro *coro)
{
    coro_detach(coro);
    coro->is_gone = true;
    coro_let_go_all(coro);
    if (coro->wait == NULL || is_ready(coro)) { /* one that is ready has what it waited for: its next wait is told */
        return;
    }
    bool needs_client = coro->wait->on_drain != NULL || coro->wait->on_data != NULL;
    if (coro->shields == 0 || needs_client) {
        (void)coro_tell_gone(coro);
        coro_resume(coro, coro->wait->on_gone(coro));
    }
}

struct coro *coro_of(const struct exchange *exchange)
{
    return exchange->on_gone == on_coro_gone ? exchange->user : NULL;
}

void coro_attach(struct coro *coro, struct exchange *exchange)
{
    coro->exchange = exchange;
    exchange->user = coro;
    exchange->on_drain = on_coro_drain;
    exchange->on_data = on_coro_data;
    exchange->on_gone = on_coro_gone;
}
