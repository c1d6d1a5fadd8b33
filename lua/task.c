/* Happy path: the coroutine of a task ends in coro_put(), which calls on_task_end(): the record is finished, and those
 * that wait are woken.
 *
 * Failure modes: nothing here needs memory once the task has begun, so an end always comes through. When the Lua state
 * is closed, coroutines are freed without an end, and nobody looks at tasks any more. */

#include "lua/task.h"

#include "core/mem.h"
#include "lua/call.h"
#include "lua/coro.h"
#include "lua/object.h"

/* Records. */

enum task_state task_get_state(lua_State *L, int record)
{
    lua_rawgeti(L, record, RECORD_STATE);
    enum task_state state = (enum task_state)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return state;
}

void task_set_state(lua_State *L, int record, enum task_state state)
{
    lua_pushinteger(L, state);
    lua_rawseti(L, record, RECORD_STATE);
}

const struct task_handle *task_check(lua_State *L, int index, const char *what)
{
    lua_pushvalue(L, index);
    lua_insert(L, 1);
    const struct task_handle *handle = object_check(L, 1, REF_TASK_META, sizeof *handle, what);
    lua_remove(L, 1);
    return handle;
}

/* The task of a handle, or NULL if that has ended. */
struct script_task *task_find(const struct script *script, const struct task_handle *handle)
{
    bool is_known = script->phase != SCRIPT_CLOSING && handle->index < script->task_count && handle->id != 0;
    struct script_task *task = is_known ? script->tasks[handle->index] : NULL;
    return task != NULL && task->id == handle->id ? task : NULL;
}

/* The end. */

static void wake(struct coro *coro)
{
    lua_pushboolean(coro->L, 1);
    coro_wake(coro, 1);
}

static void end_wait(struct coro *coro)
{
    coro_list_remove(coro);
    coro_cancel_timeout(coro);
}

static int on_waiter_gone(struct coro *coro)
{
    end_wait(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

const struct coro_wait task_wait = {.on_gone = on_waiter_gone, .cancel = coro_cancel_timeout};

/* Waiting for the end of any task of its own. */
const struct coro_wait group_wait = {.on_gone = on_waiter_gone, .cancel = coro_cancel_timeout};

bool task_waits_for_group(const struct coro *coro)
{
    return coro != NULL && coro->wait == &group_wait;
}

static void leave_owner(struct script_task *task)
{
    struct coro *owner = task->owner;
    if (owner == NULL) {
        return;
    }
    *(task->prev == NULL ? &owner->tasks : &task->prev->next) = task->next;
    if (task->next != NULL) {
        task->next->prev = task->prev;
    }
    task->owner = NULL;
}

static int finish_record(lua_State *L)
{
    const struct script_task *task = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->record_ref);
    if (task_get_state(L, 2) == TASK_RUNNING) {
        task_set_state(L, 2, task->is_cancelled ? TASK_CANCELLED : TASK_STOPPED);
    }
    return 0;
}

static void put_task(struct script_task *task)
{
    struct script *script = task->script;
    task->id = 0;
    task->coro = NULL;
    task->is_cancelled = false;
    task->next_free = script->free_tasks;
    script->free_tasks = task;
    script->tasks_used--;
}

static void on_task_end(void *owned, uint64_t id)
{
    struct script_task *task = owned;
    struct coro *owner = task->owner;
    (void)id;
    /* It needs memory only if the script has taken the record apart (debug.getfenv). */
    (void)script_protect(task->script, finish_record, task, NULL, 0);
    luaL_unref(task->script->L, LUA_REGISTRYINDEX, task->record_ref);
    leave_owner(task);
    while (task->waiters.first != NULL) {
        struct coro *waiter = task->waiters.first;
        end_wait(waiter);
        wake(waiter);
    }
    put_task(task);
    if (task_waits_for_group(owner)) {
        wake(owner);
    }
}

static const struct coro_owner route_task_owner = {.what = "task of the route at ", .on_end = on_task_end};
static const struct coro_owner other_task_owner = {.what = "task", .on_end = on_task_end};

struct script_task *task_of(const struct coro *coro)
{
    return coro->owner != NULL && coro->owner->on_end == on_task_end ? coro->owned : NULL;
}

struct coro *task_root(struct coro *coro)
{
    const struct script_task *task = task_of(coro);
    while (task != NULL && task->owner != NULL) {
        coro = task->owner;
        task = task_of(coro);
    }
    return coro;
}

/* Whether it was still at work, and not cancelled already. */
bool task_cancel_one(struct script_task *task)
{
    bool was_cancelled = task->is_cancelled;
    task->is_cancelled = true;
    coro_cancel(task->coro);
    return !was_cancelled;
}

/* struct coro.end_tasks. */
static void end_tasks(struct coro *coro)
{
    while (coro->tasks != NULL) {
        struct script_task *task = coro->tasks;
        leave_owner(task);
        task_cancel_one(task);
    }
}

struct script_task *task_make(struct script *script)
{
    if (script_grow((void ***)&script->tasks, script->task_count, &script->task_capacity) < 0) {
        return NULL;
    }
    struct script_task *task = mem_zalloc(sizeof *task);
    if (task != NULL) {
        task->script = script;
        task->index = script->task_count;
        task->record_ref = LUA_NOREF;
        script->tasks[script->task_count++] = task;
        task->next_free = script->free_tasks;
        script->free_tasks = task;
    }
    return task;
}

/* Push the object of a task to come, with its record as its environment. */
struct task_handle *task_push_handle(lua_State *L)
{
    struct task_handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct task_handle){.id = 0};
    script_push_ref(script_of(L), L, REF_TASK_META);
    lua_setmetatable(L, -2);
    lua_createtable(L, RECORD_VALUES, 0);
    task_set_state(L, lua_gettop(L), TASK_RUNNING);
    lua_pushinteger(L, 0);
    lua_rawseti(L, -2, RECORD_COUNT);
    lua_pushboolean(L, 0);
    lua_rawseti(L, -2, RECORD_TRACE);
    lua_setfenv(L, -2);
    return handle;
}

/* Give the task its coroutine, and begin it as soon as that can be. Does not raise. */
void task_begin(struct script_task *task, struct coro *coro, struct coro *owner, bool is_detached)
{
    struct script *script = task->script;
    script->free_tasks = task->next_free;
    script->tasks_used++;
    task->id = ++script->last_task_id;
    task->coro = coro;
    coro->route = owner->route;
    coro->owner = coro->route == NULL ? &other_task_owner : &route_task_owner;
    coro->owned = task;
    coro->owned_id = task->id;
    if (!is_detached) {
        task->owner = owner;
        task->prev = NULL;
        task->next = owner->tasks;
        if (task->next != NULL) {
            task->next->prev = task;
        }
        owner->tasks = task;
        owner->end_tasks = end_tasks;
    }
}

void task_free_all(struct script *script)
{
    if (reactor_is_scheduled(&script->ready_task)) {
        reactor_unschedule(script->reactor, &script->ready_task);
    }
    for (uint32_t i = 0; i < script->task_count; i++) {
        mem_free(script->tasks[i]);
    }
    mem_free(script->tasks);
}
