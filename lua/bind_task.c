/* Tasks.
 *
 * Happy path: spawn() takes a coroutine and makes it ready (coro_wake()). When its function has returned, end_task()
 * puts what it returned into the record of the task, a Lua table that the task's object holds. When the coroutine has
 * ended, those that wait for the task are woken, and take the values from the record.
 *
 * Failure modes: an error is kept in the record with its traceback, and raised where the task is waited for; if nobody
 * waits at that moment, it is logged as well. A task that is cancelled gets the error "cancelled" from its wait. One
 * that is stopped, or ended without memory, never reaches end_task(): its record then still says that it runs, which
 * on_task_end() puts right. A coroutine that ends cancels the tasks that it has begun. */

#include "lua/bind_task.h"

#include "lua/coro.h"
#include "lua/coro_error.h"
#include "lua/duration.h"
#include "lua/memory.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/script_error.h"
#include "lua/task.h"

enum {
    GROUP_MAX = 1000,    /* functions of one app.all() or app.race() */
    ARGUMENTS_MAX = 200, /* of a task: the stack of a new coroutine has room for them */
};

/* Whether an error says that the task was cancelled, or that a client has gone: it concerns nobody. */
static bool is_end_error(lua_State *L, int index)
{
    const struct script *script = script_of(L);
    script_push_ref(script, L, REF_CLOSED);
    script_push_ref(script, L, REF_CANCELLED);
    bool is_end = lua_rawequal(L, -1, index) != 0 || lua_rawequal(L, -2, index) != 0;
    lua_pop(L, 2);
    return is_end;
}

/* Log the error at index. At the top of the stack, at trace, may be what trace() keeps of it. */
static void log_lost_error(lua_State *L, const struct coro *coro, int index, int trace)
{
    if (lua_istable(L, trace)) {
        lua_rawgeti(L, trace, 2);
    } else {
        script_push_error_text(L, index);
        size_t len;
        const char *text = lua_tolstring(L, -1, &len);
        script_push_visible(L, text, len, VISIBLE_LINE);
    }
    coro_log_failure(coro, lua_tostring(L, -1));
    lua_settop(L, trace);
}

/* end_task(ok, ...): what pcall gave for the function of the task that runs. */
static int lua_end_task(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "the end of a task");
    struct script_task *task = task_of(coro);
    int top = lua_gettop(L);
    if (task == NULL || top == 0) {
        script_raise(L, "no task is running here");
    }
    bool is_ok = lua_toboolean(L, 1) != 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->record_ref);
    int record = top + 1;
    for (int i = 2; i <= top; i++) {
        lua_pushvalue(L, i);
        lua_rawseti(L, record, RECORD_VALUES + i - 2);
    }
    lua_pushinteger(L, top - 1);
    lua_rawseti(L, record, RECORD_COUNT);
    if (!is_ok) {
        coro_push_kept(L, coro, REF_TRACES);
        bool is_awaited = task->waiters.first != NULL || task_waits_for_group(task->owner);
        if (!is_awaited && !is_end_error(L, 2)) {
            log_lost_error(L, coro, 2, record + 1);
        }
        lua_rawseti(L, record, RECORD_TRACE);
    }
    bool is_cut = !is_ok && task->is_cancelled && is_end_error(L, 2);
    task_set_state(L, record, is_cut ? TASK_CANCELLED : is_ok ? TASK_RETURNED : TASK_FAILED);
    return 0;
}

/* The beginning. */

/* spawn(what, is_detached, fn, ...): the task. */
static int lua_spawn(lua_State *L)
{
    struct script *script = script_of(L);
    const char *what = luaL_checkstring(L, 1);
    bool is_detached = lua_toboolean(L, 2) != 0;
    struct coro *owner = script->running;
    int nargs = lua_gettop(L) - 3;
    if (!lua_isfunction(L, 3)) {
        script_raise(L, "%s: a function expected, got %s", what, luaL_typename(L, 3));
    }
    if (owner == NULL) {
        script_raise(L, "%s works only in a handler, a stream, a timer or a task: use app.after(0, fn)", what);
    }
    if (nargs > ARGUMENTS_MAX) {
        script_raise(L, "%s: at most %d arguments, got %d", what, ARGUMENTS_MAX, nargs);
    }
    if (script->tasks_used >= script->settings.max_tasks) {
        script_raise(L, "%s: there are %u tasks already (max_tasks)", what, script->tasks_used);
    }
    struct task_handle *handle = task_push_handle(L);
    luaL_checkstack(L, nargs + 4, "too many arguments");
    lua_getfenv(L, -1);
    int record_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    struct coro *coro = coro_take(script, owner->uses_reserve);
    bool has_room = coro != NULL && lua_checkstack(coro->L, nargs + 4) != 0;
    /* Only now: a finalizer of compiled code may have spawned tasks meanwhile. */
    if (!has_room || (script->free_tasks == NULL && task_make(script) == NULL)) {
        luaL_unref(L, LUA_REGISTRYINDEX, record_ref);
        if (coro != NULL) {
            coro_put(coro);
        }
        script_raise_memory(L);
    }
    struct script_task *task = script->free_tasks;
    task->record_ref = record_ref;
    task_begin(task, coro, owner, is_detached);
    *handle = (struct task_handle){.index = task->index, .id = task->id};
    lua_insert(L, 3); /* the object, below the function and its arguments */
    script_push_ref(script, coro->L, REF_RUN_TASK);
    lua_xmove(L, coro->L, nargs + 1);
    coro_wake(coro, nargs + 1);
    return 1;
}

/* Waiting. */

/* wait(task, timeout): true once it has ended, nil if that takes longer; false when nobody wants to know any more. */
static int lua_wait(lua_State *L)
{
    struct script *script = script_of(L);
    lua_settop(L, 2);
    const struct task_handle *handle = task_check(L, 1, "task:wait");
    bool has_timeout = !lua_isnil(L, 2);
    uint32_t ms = has_timeout ? duration_check(L, 2, "task:wait") : 0;
    struct script_task *task = task_find(script, handle);
    if (task == NULL) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, "task:wait");
    if (coro == task->coro) {
        script_raise(L, "task:wait: the task would wait for itself");
    }
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (has_timeout && coro_set_timeout(coro, ms) < 0) {
        script_raise_memory(L);
    }
    coro_list_add(&task->waiters, coro);
    return coro_wait(L, coro, &task_wait);
}

/* wait_group(): true once a task of the coroutine that runs has ended; false when nobody wants to know any more. */
static int lua_wait_group(lua_State *L)
{
    lua_settop(L, 0);
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, "app.all");
    if (coro->tasks == NULL) {
        script_raise(L, "app.all: there is no task to wait for");
    }
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    return coro_wait(L, coro, &group_wait);
}

/* poll_group(tasks, is_race): which of the tasks ends the group: in a race the first that has ended, else the first
 * that has not returned; 0 if all have; nil: none yet. */
static int lua_poll_group(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    bool is_race = lua_toboolean(L, 2) != 0;
    int count = (int)lua_objlen(L, 1);
    int running = 0;
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        task_check(L, lua_gettop(L), "app.all");
        lua_getfenv(L, -1);
        enum task_state state = task_get_state(L, lua_gettop(L));
        lua_pop(L, 2);
        running += state == TASK_RUNNING;
        if (state != TASK_RUNNING && (is_race || state != TASK_RETURNED)) {
            lua_pushinteger(L, i);
            return 1;
        }
    }
    if (running == 0) {
        lua_pushinteger(L, 0);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

/* Raise what has ended the task of the record at index. */
static _Noreturn void raise_failure(lua_State *L, int record, enum task_state state)
{
    struct coro *coro = script_of(L)->running;
    if (state == TASK_CANCELLED) {
        script_push_ref(script_of(L), L, REF_CANCELLED);
        script_raise_top(L);
    }
    if (state != TASK_FAILED) {
        script_raise(L, "task:wait: the task was stopped; the log says why");
    }
    lua_rawgeti(L, record, RECORD_TRACE);
    if (lua_istable(L, -1) && coro != NULL) {
        coro_keep(L, coro, REF_TRACES);
    }
    lua_rawgeti(L, record, RECORD_VALUES);
    script_raise_top(L);
}

/* results(task): what its function has returned; raises its error. */
static int lua_results(lua_State *L)
{
    lua_settop(L, 1);
    task_check(L, 1, "task:wait");
    lua_getfenv(L, 1);
    enum task_state state = task_get_state(L, 2);
    if (state != TASK_RETURNED) {
        raise_failure(L, 2, state);
    }
    lua_rawgeti(L, 2, RECORD_COUNT);
    int count = (int)lua_tointeger(L, -1);
    lua_settop(L, 2);
    luaL_checkstack(L, count < 0 ? 0 : count, "too many results");
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, 2, RECORD_VALUES + i);
    }
    return count < 0 ? 0 : count;
}

/* task:cancel(): whether there was anything to cancel. */
static int lua_cancel(lua_State *L)
{
    struct script_task *task = task_find(script_of(L), task_check(L, 1, "task:cancel"));
    lua_pushboolean(L, task != NULL && task_cancel_one(task));
    return 1;
}

/* is_task(): whether the coroutine that runs is a task, which cannot lose a client. */
static int lua_is_task(lua_State *L)
{
    const struct coro *coro = script_of(L)->running;
    lua_pushboolean(L, coro != NULL && task_of(coro) != NULL);
    return 1;
}

void bind_task(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"spawn", lua_spawn},           {"end_task", lua_end_task},  {"task_wait", lua_wait},
        {"task_results", lua_results},  {"task_cancel", lua_cancel}, {"wait_group", lua_wait_group},
        {"poll_group", lua_poll_group}, {"is_task", lua_is_task},    {NULL, NULL},
    };
    object_set_methods(L, methods, "task", REF_TASK_META);
    lua_pushinteger(L, GROUP_MAX);
    lua_setfield(L, -2, "group_max");
    script_push_ref(script_of(L), L, REF_TASK_META);
    lua_getfield(L, -1, "__index");
    lua_setfield(L, -3, "task_methods");
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
