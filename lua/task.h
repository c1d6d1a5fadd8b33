#ifndef EVSERVE_LUA_TASK_H
#define EVSERVE_LUA_TASK_H

/* Tasks that have not ended, their objects in Lua, and their ends. bind_task.c has what scripts call. */

#include "lua/coro_pool.h"

/* What the record of a task has at which index. The first three exist from the beginning, so that setting them needs
 * no memory. */
enum record_index {
    RECORD_STATE = 1, /* enum task_state */
    RECORD_COUNT,     /* of values, from RECORD_VALUES on */
    RECORD_TRACE,     /* of an error: what trace() keeps, or false */
    RECORD_VALUES,
};

enum task_state { TASK_RUNNING, TASK_RETURNED, TASK_FAILED, TASK_CANCELLED, TASK_STOPPED };

/* One that has not ended. */
struct script_task {
    struct script *script;           /* whose it is */
    struct script_task *next_free;   /* in the list of those in no use */
    uint32_t index;                  /* in script->tasks */
    uint64_t id;                     /* never used twice; 0 in no use */
    struct coro *coro;               /* that runs it */
    struct coro *owner;              /* it ends with that; NULL for one that is detached */
    struct script_task *next, *prev; /* in owner->tasks */
    struct coro_list waiters;        /* those that wait for its end */
    int record_ref;                  /* in the registry */
    bool is_cancelled;
};

/* What Lua holds of a task: numbers, no pointers. Its environment is the record. */
struct task_handle {
    uint32_t index; /* in script->tasks */
    uint64_t id;    /* tells whether it is still the same one */
};

/* Push the object of a task to come, with its record as its environment. May raise (memory). */
struct task_handle *task_push_handle(lua_State *L);

/* One for task_begin(), at the head of script->free_tasks. NULL when memory is short. */
struct script_task *task_make(struct script *script);

/* Take the first of script->free_tasks, whose record_ref is set, and give it the coroutine that is to run it. It ends
 * with owner, unless it is detached. */
void task_begin(struct script_task *task, struct coro *coro, struct coro *owner, bool is_detached);

/* The object at index. Raises for anything else; what is "task:wait". */
const struct task_handle *task_check(lua_State *L, int index, const char *what);

/* The task of an object, or NULL if that has ended. */
struct script_task *task_find(const struct script *script, const struct task_handle *handle);

/* The task that coro runs, or NULL. */
struct script_task *task_of(const struct coro *coro);

/* The coroutine with whose end the work of coro ends: that of the handler, timer or detached task in which its tasks
 * began, or coro itself. What a script opens belongs to that one. */
struct coro *task_root(struct coro *coro);

/* End a task at its wait. Returns whether it was still at work, and not cancelled already. */
bool task_cancel_one(struct script_task *task);

/* The state in the record at index, an absolute one. */
enum task_state task_get_state(lua_State *L, int record);
void task_set_state(lua_State *L, int record, enum task_state state);

/* For coroutines that are in the waiters of a task, and for those that wait until any of their own tasks has ended.
 * They are woken with true; with false when nobody wants to know any more. A timeout is the timer wait_id. */
extern const struct coro_wait task_wait, group_wait;

/* Whether coro, which may be NULL, waits for its own tasks. */
bool task_waits_for_group(const struct coro *coro);

/* Free those of a script whose Lua state is closed. */
void task_free_all(struct script *script);

#endif
