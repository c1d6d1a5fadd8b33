/* The life of a coroutine.
 *
 * Happy path: coro_serve() takes a coroutine from the pool and resumes it with the prelude's run(); that makes the
 * request object, calls the handler and answers. The thread goes back to the pool with an empty stack. A handler that
 * waits yields; on_sleep_over(), on_coro_drain(), on_coro_data() or on_coro_gone() resume it.
 *
 * Failure modes. An error in a handler is seen to while its coroutine still runs (coro_error.c); one that no Lua code
 * could see to, a stray yield and the end of a deadline give the coroutine up in the middle. A client that goes away wakes
 * its coroutine: app.sleep and req.body raise REF_CLOSED, out:write returns nil, "closed". So what the script has open is
 * unwound. A script that goes on regardless is never resumed again; its thread is left to the collector. */

#include "lua/coro.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/response.h"
#include "lua/collector.h"
#include "lua/coro_error.h"
#include "lua/error_page.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    IDLE_THREADS_MAX = 1024, /* threads kept for later; each has about 1 KiB */
    CUT_LINES_MAX = 16,      /* log lines of what is cut when the script ends */
};

static void on_coro_drain(struct exchange *exchange);
static void on_coro_gone(struct exchange *exchange);

/* The pool. */

static int new_thread(lua_State *L)
{
    struct coro *coro = lua_touserdata(L, 1);
    lua_State *thread = lua_newthread(L);
    coro->thread_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    coro->L = thread;
    return 0;
}

/* Give coro a fresh thread. Returns 0 or -ENOMEM, with coro as before. */
static int make_thread(struct coro *coro)
{
    return script_protect(coro->script, new_thread, coro, NULL, 0) < 0 ? -ENOMEM : 0;
}

static void drop_thread(struct coro *coro)
{
    luaL_unref(coro->script->L, LUA_REGISTRYINDEX, coro->thread_ref);
    coro->L = NULL;
}

static struct coro *make_coro(struct script *script)
{
    if (script_grow((void ***)&script->coros, script->coro_count, &script->coro_capacity) < 0) {
        return NULL;
    }
    struct coro *coro = mem_zalloc(sizeof *coro);
    if (coro != NULL) {
        coro->script = script;
        coro->index = script->coro_count;
        script->coros[script->coro_count++] = coro;
    }
    return coro;
}

struct coro *coro_take(struct script *script, bool uses_reserve)
{
    struct coro *coro = script->free_coros;
    if (!script_has_spare(script) || !memory_has_room(script, uses_reserve)) {
        return NULL;
    }
    if (coro != NULL) {
        script->free_coros = coro->next_free;
    } else {
        coro = make_coro(script);
    }
    if (coro == NULL) {
        return NULL;
    }
    if (coro->L != NULL) {
        script->idle_threads--;
        return coro;
    }
    script->lends_reserve = uses_reserve;
    int rv = make_thread(coro);
    script->lends_reserve = false;
    if (rv < 0) {
        coro->next_free = script->free_coros;
        script->free_coros = coro;
        return NULL;
    }
    return coro;
}

/* What a table by coroutine index has of coro must not outlive its use here: a request object may hold a body. One that
 * was never made, for want of memory, has no place in the table yet, and nothing here may need memory. */
static void forget_coro(const struct coro *coro, enum script_ref table)
{
    lua_State *L = coro->script->L;
    script_push_ref(coro->script, L, table);
    lua_rawgeti(L, -1, (int)coro->index + 1);
    if (!lua_isnil(L, -1)) {
        lua_pushnil(L);
        lua_rawseti(L, -3, (int)coro->index + 1);
    }
    lua_pop(L, 2);
}

/* Back to the pool, with a thread that is at its end or without one. */
static void put_coro(struct coro *coro)
{
    struct script *script = coro->script;
    struct deferral *deferral = coro->deferral;
    assert(coro->exchange == NULL && coro->pending == NULL && coro->sleep_timer == 0);
    error_page_drop(coro);
    if (coro->has_trace) {
        forget_coro(coro, REF_TRACES);
    }
    if (coro->route != NULL) {
        forget_coro(coro, REF_REQUESTS);
    } else if (coro->timer != NULL) {
        timer_run_ended(coro->timer, coro->timer_id);
    }
    if (coro->L != NULL) {
        lua_settop(coro->L, 0);
        if (script->idle_threads == IDLE_THREADS_MAX) {
            drop_thread(coro);
        } else {
            script->idle_threads++;
        }
    }
    struct coro fresh = {
        .script = script,
        .next_free = script->free_coros,
        .L = coro->L,
        .thread_ref = coro->thread_ref,
        .index = coro->index,
        .generation = coro->generation + 1,
    };
    *coro = fresh;
    script->free_coros = coro;
    if (deferral != NULL) {
        defer_release(deferral); /* last: it may begin another coroutine */
    }
}

void coro_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->coro_count; i++) {
        if (script->coros[i]->sleep_timer != 0) {
            reactor_cancel_timer(script->reactor, script->coros[i]->sleep_timer);
        }
        defer_free(script->coros[i]->deferral);
        mem_free(script->coros[i]);
    }
    mem_free(script->coros);
}

struct coro *coro_find(const struct script *script, uint32_t index, uint32_t generation)
{
    struct coro *coro = index < script->coro_count ? script->coros[index] : NULL;
    return coro != NULL && coro->generation == generation ? coro : NULL;
}

/* Bad ends. */

static void release_pending(struct coro *coro)
{
    if (coro->pending != NULL) {
        script_release(coro->pending);
        coro->pending = NULL;
    }
}

/* Give coro up in the middle: its thread cannot run again. */
static void abandon(struct coro *coro, int status)
{
    release_pending(coro);
    drop_thread(coro);
    coro_give_up(coro, status);
    put_coro(coro);
}

/* An end that recover() did not see to: a stray yield, or no memory even for that. */
static void coro_fail(struct coro *coro, int verdict)
{
    if (verdict != LUA_YIELD || coro_report_yield(coro) < 0) {
        coro_log_failure(coro, verdict == LUA_ERRMEM ? "not enough memory" : "error in error handling");
    }
    abandon(coro, verdict == LUA_ERRMEM ? 503 : 500);
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
    }
    abandon(coro, 503);
}

/* It was stopped, and came to its end all the same: some C function has swallowed the error that was raised in the hook.
 * For LuaJIT the hook is then still at work, and it calls no other, until an error ends a coroutine: here one that calls
 * nil. */
static void revive_hook(struct coro *coro)
{
    lua_settop(coro->L, 0);
    lua_pushnil(coro->L);
    (void)lua_resume(coro->L, 0);
    drop_thread(coro);
}

/* Processor time that it may take, 0 without an end. */
static uint64_t budget_of(const struct coro *coro)
{
    if (coro->route == NULL || (!coro->route->is_compiled && coro->route->cpu_ms == 0)) {
        return coro->script->settings.handler_cpu_ms;
    }
    return coro->route->is_compiled ? 0 : coro->route->cpu_ms;
}

/* Cut by the end of the script. */

static void report_cut(const struct coro *coro)
{
    char place[PLACE_MAX];
    char more[64] = "";
    script_place(coro->L, place);
    int left = coro->deferral == NULL ? 0 : defer_left(coro->deferral);
    if (left > 0) {
        snprintf(more, sizeof more, "; %d more of that request have not begun", left);
    }
    log_write(coro->script->log, LOG_WARN, "%s%s: cut at %s, where it waits, because the script ends%s",
              coro->route == NULL      ? "timer"
              : coro->deferral == NULL ? "route at "
                                       : "app.defer of the route at ",
              coro->route == NULL ? "" : coro->route->place, place, more);
}

void coro_report_cut(const struct script *script)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < script->coro_count; i++) {
        const struct coro *coro = script->coros[i];
        bool is_cut = coro_is_used(coro) && coro->exchange == NULL && coro->wait != CORO_RUNS;
        if (is_cut && ++count <= CUT_LINES_MAX) {
            report_cut(coro);
        }
    }
    if (count > CUT_LINES_MAX) {
        log_write(script->log, LOG_WARN, "%u more are cut", count - CUT_LINES_MAX);
    }
}

/* A run that nothing could stop has ended. Its answer, if any, stands. */
static void report_long(const struct coro *coro, uint64_t took_ms)
{
    const struct lua_route *route = coro->route;
    log_write(
        coro->script->log, LOG_WARN,
        "%s%s: a run took %llu ms and could not be stopped (handler_cpu is %llu ms): a slow function of C, such as a "
        "pattern match on long text, held everybody up",
        route == NULL ? "timer" : "route at ", route == NULL ? "" : route->place, (unsigned long long)took_ms,
        (unsigned long long)budget_of(coro));
}

/* Running. */

/* Run the thread of coro until it ends or waits. Returns what Lua says of it, and how the run was. */
static int run_lua(struct coro *coro, int nargs, struct run *run)
{
    struct script *script = coro->script;
    struct coro *outer = script->running;
    bool is_compiled = coro->route != NULL && coro->route->is_compiled && !script->is_automatic;
    assert(script->scratch_user == NULL);
    coro->wait = CORO_RUNS;
    script->running = coro;
    script_enter_stack(script);
    if (is_compiled) {
        collector_let(script->L);
    }
    deadline_enter(script, budget_of(coro), run);
    run->uses_reserve = coro->timer != NULL; /* it may be what drops a cache */
    int verdict = lua_resume(coro->L, nargs);
    uint64_t long_ms = deadline_leave(script);
    if (is_compiled) {
        script->is_automatic = false;
        collector_stop(script->L);
    }
    script->running = outer;
    if (long_ms > 0) {
        report_long(coro, long_ms);
    }
    return verdict;
}

void coro_resume(struct coro *coro, int nargs)
{
    struct script *script = coro->script;
    struct run run;
    int verdict = run_lua(coro, nargs, &run);
    if (verdict == 0) {
        if (run.stop != STOP_NONE) {
            revive_hook(coro);
        }
        if (coro->exchange != NULL) { /* it has lost its way between the handler and the answer */
            coro_give_up(coro, 500);
        }
        put_coro(coro);
    } else if (run.stop != STOP_NONE && coro->wait == CORO_RUNS) {
        coro_stop(coro, &run);
    } else if (verdict != LUA_YIELD || coro->wait == CORO_RUNS) {
        coro_fail(coro, verdict);
    } else if (coro->wait == CORO_ENDS) {
        drop_thread(coro);
        put_coro(coro);
    } else if (coro->is_stream && coro->exchange != NULL) {
        coro_begin_stream(coro); /* before it waits, the client may know the head */
    }
    if (script->running == NULL) {
        collector_look(script, script->L);
    }
}

struct coro *coro_check_running(lua_State *L, const char *what)
{
    struct coro *coro = script_of(L)->running;
    if (coro == NULL) {
        script_raise(L, "%s works only in a handler, a stream or a timer", what);
    }
    return coro;
}

struct coro *coro_check_waiting(lua_State *L, const char *what)
{
    const struct script *script = script_of(L);
    if (script->phase == SCRIPT_LOADING) {
        script_raise(L, "%s cannot wait while the script starts: call it in a handler, a stream or a timer", what);
    }
    if (script->running == NULL && script->event != NULL) {
        bool is_end = strcmp(script->event, "stop") == 0; /* no timer runs any more */
        script_raise(L, "%s cannot wait in a \"%s\" function: %s", what, script->event,
                     is_end ? "what takes time belongs in app.on(\"stopping\", fn)" : "use app.after(0, fn)");
    }
    if (script->running == NULL) {
        script_raise(L, "%s cannot wait here: call it in a handler, a stream or a timer", what);
    }
    if (!lua_isyieldable(L)) {
        script_raise(
            L, "%s cannot wait inside a function that C calls back, such as the comparison function of table.sort",
            what);
    }
    if (script->running->L != L) {
        script_raise(L, "%s cannot wait inside a coroutine of the script's own", what);
    }
    return script->running;
}

struct exchange *coro_detach(struct coro *coro)
{
    struct exchange *exchange = coro->exchange;
    coro->exchange = NULL;
    exchange->user = NULL;
    exchange->on_drain = NULL;
    exchange->on_data = NULL;
    exchange->on_gone = NULL;
    return exchange;
}

void coro_cut(struct coro *coro)
{
    release_pending(coro);
    coro->is_gone = true;
    response_abort(coro_detach(coro));
}

void coro_raise_closed(lua_State *L)
{
    script_push_ref(script_of(L), L, REF_CLOSED);
    script_raise_top(L);
}

void coro_begin_stream(struct coro *coro)
{
    if (!coro->has_begun) {
        coro->has_begun = true;
        response_begin(coro->exchange, coro->stream_status, coro->stream_type, coro->stream_length);
    }
}

/* What resumes it. */

/* More room: first for what the script has written already, then for what it will write. */
static void on_coro_drain(struct exchange *exchange)
{
    struct coro *coro = exchange->user;
    if (coro->wait != CORO_DRAINS) {
        return;
    }
    if (coro->pending != NULL) {
        struct anchor *pending = coro->pending;
        int rv = stream_write_pieces(coro, pending->data, pending->len, &coro->pending_done);
        if (rv == 0) {
            return;
        }
        release_pending(coro);
        if (rv < 0) {
            on_coro_gone(exchange);
            return;
        }
    }
    lua_pushboolean(coro->L, 1);
    coro_resume(coro, 1);
}

/* More of the body, its end, or a fault: the script asks for it again. */
static void on_coro_data(struct exchange *exchange)
{
    struct coro *coro = exchange->user;
    if (coro->wait == CORO_READS) {
        lua_pushboolean(coro->L, 1);
        coro_resume(coro, 1);
    }
}

static void on_coro_gone(struct exchange *exchange)
{
    struct coro *coro = exchange->user;
    coro_detach(coro);
    coro->is_gone = true;
    release_pending(coro);
    if (coro->wait == CORO_SLEEPS) {
        reactor_cancel_timer(coro->script->reactor, coro->sleep_timer);
        coro->sleep_timer = 0;
        coro->is_told = true;
        lua_pushboolean(coro->L, 0);
        coro_resume(coro, 1);
    } else if (coro->wait == CORO_READS) {
        coro->is_told = true;
        lua_pushboolean(coro->L, 0);
        coro_resume(coro, 1);
    } else if (coro->wait == CORO_DRAINS) {
        coro->is_told = true;
        lua_pushnil(coro->L);
        script_push_ref(coro->script, coro->L, REF_CLOSED_TEXT);
        coro_resume(coro, 2);
    }
}

void coro_serve(struct exchange *exchange, void *ctx)
{
    const struct lua_route *route = ctx;
    struct script *script = route->script;
    struct coro *coro = coro_take(script, false);
    if (coro == NULL) {
        memory_report_full(script, "route at ", route->place);
        response_error(exchange, 503, NULL);
        return;
    }
    coro->exchange = exchange;
    coro->route = route;
    coro->request_number = ++script->request_count;
    exchange->user = coro;
    exchange->on_drain = on_coro_drain;
    exchange->on_data = on_coro_data;
    exchange->on_gone = on_coro_gone;
    script_push_ref(script, coro->L, REF_RUN);
    lua_rawgeti(coro->L, LUA_REGISTRYINDEX, route->fn_ref);
    coro_resume(coro, 1);
}
