/* Happy path: the client tells fetch_object_on_event() what has come; the coroutine that waits for that is resumed.
 * When the response is taken, the object ends.
 *
 * Failure modes: a response that nobody takes ends with the handler, timer or task that asked for it, when its object
 * is collected, and at the latest with the script. */

#include "lua/fetch_object.h"

#include "core/mem.h"
#include "lua/coro.h"
#include "lua/object.h"
#include "lua/task.h"

/* A double holds 53 bits: 20 for the index and 33 for the id, which begins anew after 2^33. */
enum { FETCH_SLOTS_MAX = 1 << 20 };
#define FETCH_ID_MAX ((UINT64_C(1) << 33) - 1)

/* What an object in Lua holds: numbers, no pointers. */
struct fetch_handle {
    uint32_t index; /* in script->fetches */
    uint64_t id;    /* tells whether it is still the same one */
};

struct script_fetch *fetch_object_make(struct script *script)
{
    if (script->free_fetches != NULL) {
        return script->free_fetches;
    }
    if (script->fetch_count == FETCH_SLOTS_MAX ||
        script_grow((void ***)&script->fetches, script->fetch_count, &script->fetch_capacity) < 0) {
        return NULL;
    }
    struct script_fetch *fetch = mem_zalloc(sizeof *fetch);
    if (fetch != NULL) {
        fetch->script = script;
        fetch->index = script->fetch_count;
        script->fetches[script->fetch_count++] = fetch;
        script->free_fetches = fetch;
    }
    return fetch;
}

void fetch_object_push_number(lua_State *L, const struct script_fetch *fetch)
{
    lua_pushnumber(L, (lua_Number)(fetch->id * FETCH_SLOTS_MAX + fetch->index));
}

void fetch_object_push(lua_State *L, const struct script_fetch *fetch)
{
    struct fetch_handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct fetch_handle){.index = fetch->index, .id = fetch->id};
    script_push_ref(script_of(L), L, REF_FETCH_META);
    lua_setmetatable(L, -2);
}

static struct script_fetch *find_fetch(const struct script *script, const struct fetch_handle *handle)
{
    bool is_known = handle->id != 0 && handle->index < script->fetch_count;
    struct script_fetch *fetch = is_known ? script->fetches[handle->index] : NULL;
    return fetch != NULL && fetch->id == handle->id ? fetch : NULL;
}

struct script_fetch *fetch_object_check(lua_State *L)
{
    const struct script *script = script_of(L);
    if (lua_type(L, 1) != LUA_TNUMBER) {
        return find_fetch(script,
                          object_check(L, 1, REF_FETCH_META, sizeof(struct fetch_handle), "a response of app.fetch"));
    }
    lua_Number number = lua_tonumber(L, 1);
    if (!(number >= 0 && number < (lua_Number)(FETCH_ID_MAX + 1) * FETCH_SLOTS_MAX)) {
        return NULL; /* called by hand */
    }
    uint64_t both = (uint64_t)number;
    struct fetch_handle handle = {.index = both % FETCH_SLOTS_MAX, .id = both / FETCH_SLOTS_MAX};
    return find_fetch(script, &handle);
}

/* The end. */

static void leave_fetch_owner(struct script_fetch *fetch)
{
    struct coro *owner = fetch->owner;
    if (owner == NULL) {
        return;
    }
    *(fetch->prev == NULL ? &owner->fetches : &fetch->prev->next) = fetch->next;
    if (fetch->next != NULL) {
        fetch->next->prev = fetch->prev;
    }
    fetch->owner = NULL;
}

/* Close it, and back to the pool. */
static void put_fetch(struct script_fetch *fetch)
{
    struct script *script = fetch->script;
    leave_fetch_owner(fetch);
    fetch_close(fetch->fetch);
    fetch->fetch = NULL;
    fetch->coro = NULL;
    fetch->id = 0;
    fetch->next_free = script->free_fetches;
    script->free_fetches = fetch;
}

void fetch_object_end(struct script_fetch *fetch)
{
    struct coro *coro = fetch->coro;
    put_fetch(fetch);
    if (coro != NULL) {
        coro->wait_id = 0;
        lua_pushboolean(coro->L, 1);
        coro_wake(coro, 1);
    }
}

/* struct coro.end_fetches. Tasks of the coroutine, which may wait for one, have ended before. */
static void end_fetches(struct coro *coro)
{
    while (coro->fetches != NULL) {
        fetch_object_end(coro->fetches);
    }
}

void fetch_object_begin(struct script_fetch *fetch, struct coro *coro)
{
    struct script *script = fetch->script;
    coro = task_root(coro);
    script->free_fetches = fetch->next_free;
    while (coro->fetches != NULL && coro->fetches->is_lost) {
        put_fetch(coro->fetches);
    }
    script->last_fetch_id = script->last_fetch_id % FETCH_ID_MAX + 1;
    fetch->id = script->last_fetch_id;
    fetch->events = 0;
    fetch->is_torn = fetch->is_lost = false;
    fetch->owner = coro;
    fetch->prev = NULL;
    fetch->next = coro->fetches;
    if (fetch->next != NULL) {
        fetch->next->prev = fetch;
    }
    coro->fetches = fetch;
    coro->end_fetches = end_fetches;
}

/* The object is collected. */
static int collect_fetch(lua_State *L)
{
    const struct script *script = script_of(L);
    const struct fetch_handle *handle = object_check_size(L, 1, sizeof *handle);
    struct script_fetch *fetch = handle == NULL ? NULL : find_fetch(script, handle);
    if (fetch != NULL && fetch->coro == NULL) { /* one that is waited for is not garbage: it was called by hand */
        put_fetch(fetch);
    }
    return 0;
}

void fetch_object_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->fetch_count; i++) {
        fetch_close(script->fetches[i]->fetch);
        mem_free(script->fetches[i]);
    }
    mem_free(script->fetches);
}

/* Waiting. */

/* The wait is over before anything came. */
static struct script_fetch *leave_wait(struct coro *coro)
{
    struct script_fetch *fetch = (struct script_fetch *)(uintptr_t)coro->wait_id;
    coro->wait_id = 0;
    if (fetch->coro == coro) {
        fetch->coro = NULL;
    }
    return fetch;
}

static void cancel_fetch_wait(struct coro *coro)
{
    (void)leave_wait(coro);
}

static int on_fetch_unwanted(struct coro *coro)
{
    put_fetch(leave_wait(coro));
    lua_pushboolean(coro->L, 0);
    return 1;
}

static const struct coro_wait fetch_wait = {.on_gone = on_fetch_unwanted, .cancel = cancel_fetch_wait};

void fetch_object_on_event(struct fetch *client, enum fetch_event event, void *arg)
{
    struct script_fetch *fetch = arg;
    struct coro *coro = fetch->coro;
    (void)client;
    fetch->events |= 1U << event;
    if (coro != NULL && (fetch->events & fetch->awaited) != 0) {
        fetch->coro = NULL;
        coro->wait_id = 0;
        lua_pushboolean(coro->L, 1);
        coro_resume(coro, 1);
    }
}

int fetch_object_wait(lua_State *L, struct coro *coro, struct script_fetch *fetch, unsigned awaited)
{
    fetch->coro = coro;
    fetch->awaited = awaited;
    coro->wait_id = (uint64_t)(uintptr_t)fetch;
    return coro_wait(L, coro, &fetch_wait);
}

void fetch_object_bind(lua_State *L)
{
    static const luaL_Reg methods[] = {{NULL, NULL}};
    object_set_methods(L, methods, "fetch", REF_FETCH_META);
    script_push_ref(script_of(L), L, REF_FETCH_META);
    lua_pushcfunction(L, collect_fetch);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}
