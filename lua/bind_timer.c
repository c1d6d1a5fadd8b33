/* Waiting, and timers.
 *
 * Happy path: app.sleep suspends its coroutine until the reactor's timer resumes it; app.after and app.every start a
 * coroutine of their own when their time has come.
 *
 * Failure modes: an error in a timer is logged, and an interval goes on. A run of an interval that is still going on
 * when the next is due lets that one pass. A sleeper whose client has gone is resumed at once with false, which the
 * prelude turns into an error that ends it (see coro.c). */

#include "lua/bind_timer.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "lua/coro.h"
#include "lua/duration.h"
#include "lua/memory.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/script_error.h"

#include <stdio.h>
#include <string.h>

/* app.after or app.every. */
struct script_timer {
    struct script *script;          /* whose it is */
    struct script_timer *next_free; /* in the list of those in no use */
    uint32_t index;                 /* in script->timers */
    uint64_t id;                    /* never used twice; 0 in no use */
    uint64_t reactor_id;            /* of the reactor's timer; 0 while the script waits for script_adopt() */
    uint32_t delay_ms;              /* until it runs, and between two runs */
    int fn_ref;                     /* what it calls, in the registry; LUA_NOREF once it has */
    int line;                       /* where that begins in its file */
    bool repeats;                   /* app.every */
    bool is_running;                /* the last run has not ended */
};

/* What Lua holds of a timer: numbers, no pointers. */
struct timer_handle {
    uint32_t index; /* in script->timers */
    uint64_t id;    /* tells whether it is still the same one */
};

/* Sleeping. */

static void on_sleep_over(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct coro *coro = arg;
    coro->wait_id = 0;
    lua_pushboolean(coro->L, 1);
    coro_resume(coro, 1);
}

static void cancel_sleep(struct coro *coro)
{
    reactor_cancel_timer(coro->script->reactor, coro->wait_id);
    coro->wait_id = 0;
}

static int wake_early(struct coro *coro)
{
    cancel_sleep(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

static const struct coro_wait sleep_wait = {.on_gone = wake_early, .cancel = cancel_sleep};

/* sleep(duration): true, later; false when the client has gone. */
static int sleep_for(lua_State *L)
{
    lua_settop(L, 1);
    uint32_t ms = duration_check(L, 1, "app.sleep");
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, "app.sleep");
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    coro->wait_id = reactor_set_timeout(coro->script->reactor, ms, on_sleep_over, coro);
    if (coro->wait_id == 0) {
        script_raise_memory(L);
    }
    coro->wake_ms = reactor_now_ms(coro->script->reactor) + ms;
    return coro_wait(L, coro, &sleep_wait);
}

/* Timers. */

static struct script_timer *make_timer(struct script *script)
{
    if (script_grow((void ***)&script->timers, script->timer_count, &script->timer_capacity) < 0) {
        return NULL;
    }
    struct script_timer *timer = mem_zalloc(sizeof *timer);
    if (timer != NULL) {
        timer->script = script;
        timer->index = script->timer_count;
        timer->fn_ref = LUA_NOREF;
        script->timers[script->timer_count++] = timer;
        timer->next_free = script->free_timers;
        script->free_timers = timer;
    }
    return timer;
}

/* The reactor knows it no more: back to the pool. */
static void put_timer(struct script_timer *timer)
{
    struct script *script = timer->script;
    luaL_unref(script->L, LUA_REGISTRYINDEX, timer->fn_ref);
    timer->fn_ref = LUA_NOREF;
    timer->id = 0;
    timer->is_running = false;
    timer->next_free = script->free_timers;
    script->free_timers = timer;
}

/* The run of id has ended. The timer may be in use for something else by then. */
static void on_run_ended(void *owned, uint64_t id)
{
    struct script_timer *timer = owned;
    if (timer->id == id) {
        timer->is_running = false;
    }
}

/* Where the function of a run is, which may have been the timer's last one. */
static void place_timer(const struct coro *coro, char place[PLACE_MAX])
{
    const struct script_timer *timer = coro->owned;
    lua_State *L = timer->script->L;
    lua_Debug info;
    if (timer->id == coro->owned_id) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, timer->fn_ref);
        lua_getinfo(L, ">S", &info);
        snprintf(place, PLACE_MAX, " (function at %s:%d)", info.short_src, info.linedefined);
    } else if (timer->id == 0) {
        snprintf(place, PLACE_MAX, " (function at line %d)", timer->line);
    }
}

static const struct coro_owner timer_owner = {.what = "timer", .on_end = on_run_ended, .place = place_timer};

static void on_script_timer(struct reactor *reactor, uint64_t reactor_id, void *arg)
{
    (void)reactor;
    (void)reactor_id;
    struct script_timer *timer = arg;
    uint64_t id = timer->id;
    struct script *script = timer->script;
    if (timer->is_running) {
        return;
    }
    struct coro *coro = coro_take(script, true);
    if (coro == NULL) {
        memory_report_full(script, "timer", "");
    } else {
        script_push_ref(script, coro->L, REF_RUN_TIMER);
        lua_rawgeti(coro->L, LUA_REGISTRYINDEX, timer->fn_ref);
    }
    if (timer->repeats) {
        timer->is_running = coro != NULL;
    } else {
        put_timer(timer);
    }
    if (coro != NULL) {
        coro->owner = &timer_owner;
        coro->owned = timer;
        coro->owned_id = id;
        coro_resume(coro, 1);
    }
}

/* Have the reactor run it. Returns 0 or -ENOMEM. */
static int begin_timer(struct script_timer *timer)
{
    struct reactor *reactor = timer->script->reactor;
    timer->reactor_id = timer->repeats ? reactor_set_interval(reactor, timer->delay_ms, on_script_timer, timer)
                                       : reactor_set_timeout(reactor, timer->delay_ms, on_script_timer, timer);
    return timer->reactor_id == 0 ? -ENOMEM : 0;
}

int timer_begin_all(struct script *script)
{
    int rv = 0;
    for (uint32_t i = 0; i < script->timer_count && rv == 0; i++) {
        struct script_timer *timer = script->timers[i];
        rv = timer->id != 0 && timer->reactor_id == 0 ? begin_timer(timer) : 0;
    }
    return rv;
}

static void end_timer(const struct script_timer *timer)
{
    if (timer->reactor_id != 0) {
        reactor_cancel_timer(timer->script->reactor, timer->reactor_id);
    }
}

/* Whether the options of app.every at index say that one thread of all is to run it. */
static bool check_once(lua_State *L, int index)
{
    const struct script *script = script_of(L);
    bool is_once = false;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(name, "once") != 0) {
            script_raise(L, "app.every: unknown option \"%.40s\": there is once", name);
        }
        if (lua_type(L, -1) != LUA_TBOOLEAN) {
            script_raise(L, "app.every: once: true or false expected, got %s", luaL_typename(L, -1));
        }
        is_once = lua_toboolean(L, -1) != 0;
    }
    if (is_once && script->has_started) {
        script_raise(L, "app.every: once = true works only while the script starts, when each thread comes by here; "
                        "later, store:once() tells whether another thread does the job");
    }
    return is_once;
}

/* Returns a timer object. is_elsewhere: another thread has the timer. */
static int add_timer(lua_State *L, const char *what, bool repeats, bool is_elsewhere)
{
    struct script *script = script_of(L);
    lua_settop(L, 2);
    uint32_t ms = duration_check(L, 1, what);
    if (repeats && ms == 0) {
        script_raise(L, "%s: the interval must be at least a millisecond", what);
    }
    if (!lua_isfunction(L, 2)) {
        script_raise(L, "%s: a function expected, got %s", what, luaL_typename(L, 2));
    }
    if (script->phase == SCRIPT_CLOSING) {
        script_raise(L, "%s: the script has ended", what);
    }
    struct timer_handle *handle = lua_newuserdata(L, sizeof *handle);
    script_push_ref(script, L, REF_TIMER_META);
    lua_setmetatable(L, 3);
    *handle = (struct timer_handle){.id = 0};
    if (is_elsewhere) {
        return 1;
    }
    if (script->free_timers == NULL && make_timer(script) == NULL) {
        script_raise_memory(L);
    }
    lua_Debug info;
    lua_pushvalue(L, 2);
    lua_getinfo(L, ">S", &info);
    lua_pushvalue(L, 2);
    int fn_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    struct script_timer *timer = script->free_timers;
    timer->repeats = repeats;
    timer->delay_ms = ms;
    timer->line = info.linedefined;
    timer->reactor_id = 0;
    if (!script_is_elsewhere(script) && begin_timer(timer) < 0) {
        luaL_unref(L, LUA_REGISTRYINDEX, fn_ref);
        script_raise_memory(L);
    }
    script->free_timers = timer->next_free;
    timer->fn_ref = fn_ref;
    timer->id = ++script->last_timer_id;
    *handle = (struct timer_handle){.index = timer->index, .id = timer->id};
    return 1;
}

static int lua_after(lua_State *L)
{
    return add_timer(L, "app.after", false, false);
}

/* every(interval, fn), every(interval, options, fn) */
static int lua_every(lua_State *L)
{
    bool is_once = false;
    if (lua_type(L, 2) == LUA_TTABLE) {
        is_once = check_once(L, 2);
        lua_remove(L, 2);
    } else if (lua_type(L, 3) == LUA_TTABLE) {
        script_raise(L, "app.every: options go before the function: app.every(\"1m\", { once = true }, fn)");
    }
    return add_timer(L, "app.every", true, is_once && script_of(L)->thread != 0);
}

/* timer:cancel(): whether there was anything to cancel. A run that is going on goes on. */
static int timer_cancel(lua_State *L)
{
    struct script *script = script_of(L);
    const struct timer_handle *handle = object_check(L, 1, REF_TIMER_META, sizeof(struct timer_handle), "timer:cancel");
    bool is_known = script->phase != SCRIPT_CLOSING && handle->index < script->timer_count && handle->id != 0;
    struct script_timer *timer = is_known ? script->timers[handle->index] : NULL;
    bool is_set = timer != NULL && timer->id == handle->id;
    if (is_set) {
        end_timer(timer);
        put_timer(timer);
    }
    lua_pushboolean(L, is_set);
    return 1;
}

void timer_cancel_all(struct script *script)
{
    for (uint32_t i = 0; i < script->timer_count; i++) {
        struct script_timer *timer = script->timers[i];
        if (timer->id != 0) {
            end_timer(timer);
            put_timer(timer);
        }
    }
}

void timer_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->timer_count; i++) {
        if (script->timers[i]->id != 0) {
            end_timer(script->timers[i]);
        }
        mem_free(script->timers[i]);
    }
    mem_free(script->timers);
}

/* now(): seconds of a clock that only runs forward, to measure with. */
static int lua_now(lua_State *L)
{
    lua_pushnumber(L, (double)sys_now_ns() / 1e9);
    return 1;
}

void bind_timer(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"cancel", timer_cancel},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"sleep", sleep_for}, {"after", lua_after}, {"every", lua_every}, {"now", lua_now}, {NULL, NULL},
    };
    object_set_methods(L, methods, "timer", REF_TIMER_META);
    luaL_register(L, NULL, functions);
}
