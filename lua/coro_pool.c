/* Happy path: coro_take() gives a coroutine whose thread has run before; coro_put() takes it back, and what it held
 * with it.
 *
 * Failure modes: without memory there is no coroutine. One that was left in the middle has lost its thread, and gets a
 * new one when it is taken again. Lua objects hold numbers of a coroutine, not pointers, so that what is left of an old
 * use finds nothing (coro_find()). */

#include "lua/coro_pool.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/peer.h"
#include "http/response.h"
#include "lua/call.h"
#include "lua/memory.h"
#include "lua/script_error.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    IDLE_THREADS_MAX = 1024, /* threads kept for later; each has about 1 KiB */
    CUT_LINES_MAX = 16,      /* log lines of what is cut when the script ends */
};
_Static_assert(REF_TRACES < 32, "struct coro.kept has a bit for it");

/* For good. */
static int never(struct coro *coro)
{
    (void)coro;
    return 0;
}

static const struct coro_wait last_wait = {.on_gone = never};

static int new_thread(lua_State *L)
{
    static const enum script_ref base[CORO_BASE] = {
        [BASE_XPCALL - 1] = REF_XPCALL,
        [BASE_REPORT - 1] = REF_REPORT,
        [BASE_SERVE - 1] = REF_SERVE,
        [BASE_RESPOND - 1] = REF_RESPOND,
        [BASE_REQUEST_META - 1] = REF_REQUEST_META,
    };
    struct coro *coro = lua_touserdata(L, 1);
    if (coro->request_ref == LUA_NOREF) {
        lua_pushboolean(L, 0);
        coro->request_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    script_push_ref(coro->script, L, REF_THREADS);
    lua_State *thread = lua_newthread(L);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -4);
    for (int i = 0; i < CORO_BASE; i++) {
        script_push_ref(coro->script, thread, base[i]);
    }
    coro->thread_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    coro->L = thread;
    return 0;
}

/* Give coro, which has just been taken, a fresh thread. Returns whether there was memory, else it is free again. */
__attribute__((noinline)) static bool make_thread(struct coro *coro, bool uses_reserve)
{
    struct script *script = coro->script;
    script->lends_reserve = uses_reserve;
    int rv = script_protect(script, new_thread, coro, NULL, 0);
    script->lends_reserve = false;
    if (rv < 0) {
        coro->next_free = script->free_coros;
        script->free_coros = coro;
    }
    return rv >= 0;
}

void coro_drop_thread(struct coro *coro)
{
    luaL_unref(coro->script->L, LUA_REGISTRYINDEX, coro->thread_ref);
    coro->L = NULL;
}

__attribute__((noinline)) static struct coro *make_coro(struct script *script)
{
    if (script_grow((void ***)&script->coros, script->coro_count, &script->coro_capacity) < 0) {
        return NULL;
    }
    struct coro *coro = mem_zalloc(sizeof *coro);
    if (coro != NULL) {
        coro->script = script;
        coro->index = script->coro_count;
        coro->request_ref = LUA_NOREF;
        script->coros[script->coro_count++] = coro;
    }
    return coro;
}

/* Whether the thread of coro is as coro_put() left it. A script can get hold of it (coroutine.running), and of LuaJIT's
 * own coroutine.resume (debug.getupvalue); the prelude's refuses to resume it. */
static bool is_untouched(const struct coro *coro)
{
    return lua_status(coro->L) == 0 && lua_gettop(coro->L) == CORO_BASE;
}

struct coro *coro_take(struct script *script, bool uses_reserve)
{
    struct coro *coro = script->free_coros;
    if (!memory_has_spare(script) || !memory_has_room(script, uses_reserve)) {
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
        if (!is_untouched(coro)) {
            coro_drop_thread(coro);
        }
    }
    if (coro->L == NULL && !make_thread(coro, uses_reserve)) {
        return NULL;
    }
    coro->is_used = true;
    coro->uses_reserve = uses_reserve;
    return coro;
}

/* What the state has of coro must not outlive its use here: a request object may hold a body. Nothing here needs
 * memory. */
static void forget_kept(const struct coro *coro)
{
    lua_State *L = coro->script->L;
    if (coro->is_stored) {
        lua_pushboolean(L, 0);
        lua_rawseti(L, LUA_REGISTRYINDEX, coro->request_ref);
    }
    for (unsigned left = coro->kept; left != 0; left &= left - 1) {
        script_push_ref(coro->script, L, (enum script_ref)__builtin_ctz(left));
        lua_pushnil(L);
        lua_rawseti(L, -2, (int)coro->index + 1);
        lua_pop(L, 1);
    }
}

void coro_list_add(struct coro_list *list, struct coro *coro)
{
    assert(coro->list == NULL);
    coro->list = list;
    coro->prev = list->last;
    coro->next = NULL;
    *(list->last == NULL ? &list->first : &list->last->next) = coro;
    list->last = coro;
}

void coro_list_remove(struct coro *coro)
{
    struct coro_list *list = coro->list;
    if (list != NULL) {
        *(coro->prev == NULL ? &list->first : &coro->prev->next) = coro->next;
        *(coro->next == NULL ? &list->last : &coro->next->prev) = coro->prev;
        coro->list = NULL;
    }
}

void coro_own(struct coro *coro, struct coro_thing *thing)
{
    assert(thing->coro == NULL);
    thing->coro = coro;
    thing->prev = NULL;
    thing->next = coro->things;
    if (thing->next != NULL) {
        thing->next->prev = thing;
    }
    coro->things = thing;
}

void coro_disown(struct coro_thing *thing)
{
    if (thing->coro != NULL) {
        *(thing->prev == NULL ? &thing->coro->things : &thing->prev->next) = thing->next;
        if (thing->next != NULL) {
            thing->next->prev = thing->prev;
        }
        thing->coro = NULL;
    }
}

static void end_things(struct coro *coro)
{
    while (coro->things != NULL) {
        struct coro_thing *thing = coro->things;
        coro_disown(thing);
        thing->end(thing);
    }
}

void coro_put(struct coro *coro)
{
    struct script *script = coro->script;
    const struct coro_owner *owner = coro->owner;
    void *owned = coro->owned;
    uint64_t owned_id = coro->owned_id;
    assert(coro->exchange == NULL && coro->wait_id == 0 && coro->list == NULL);
    if (coro->tasks != NULL) {
        coro->end_tasks(coro);
    }
    if (coro->places != 0) {
        coro->end_places(coro);
    }
    if (coro->things != NULL) {
        end_things(coro);
    }
    coro_end_result(coro);
    if (coro->fetches != NULL) {
        coro->end_fetches(coro);
    }
    coro_let_go_all(coro);
    forget_kept(coro);
    if (coro->L != NULL) {
        lua_settop(coro->L, CORO_BASE);
        if (script->idle_threads == IDLE_THREADS_MAX) {
            coro_drop_thread(coro);
        } else {
            script->idle_threads++;
        }
    }
    memset((char *)coro + offsetof(struct coro, is_used), 0, sizeof *coro - offsetof(struct coro, is_used));
    coro->generation++;
    coro->next_free = script->free_coros;
    script->free_coros = coro;
    if (owner != NULL) {
        owner->on_end(owned, owned_id);
    }
}

void coro_free_all(struct script *script)
{
    for (uint32_t i = 0; i < script->coro_count; i++) {
        struct coro *coro = script->coros[i];
        if (coro->wait != NULL && coro->wait->cancel != NULL) {
            coro->wait->cancel(coro);
        }
        coro_end_result(coro);
        mem_free(coro);
    }
    mem_free(script->coros);
}

/* Waiting. */

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
                     is_end ? "do what takes time in app.on(\"stopping\", fn)" : "use app.after(0, fn)");
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
        script_raise(L, "%s cannot wait inside a coroutine that the script created", what);
    }
    return script->running;
}

int coro_wait(lua_State *L, struct coro *coro, const struct coro_wait *wait)
{
    coro->wait = wait;
    return lua_yield(L, 0);
}

int coro_say_gone(lua_State *L, struct coro *coro)
{
    if (coro_tell_gone(coro)) {
        return coro_wait(L, coro, &last_wait);
    }
    lua_pushboolean(L, 0);
    return 1;
}

bool coro_has_ended(const struct coro *coro)
{
    return coro->wait == &last_wait;
}

struct log_subject coro_subject(const struct coro *coro, const void *place, char client[NET_TEXT_MAX])
{
    struct log_subject subject = {.place = place};
    const struct peer *peer = coro->find_peer == NULL ? NULL : coro->find_peer(coro);
    if (peer != NULL) {
        peer_format(peer, client, NET_TEXT_MAX);
        subject.client = client;
    }
    return subject;
}

void coro_raise_closed(lua_State *L)
{
    script_push_ref(script_of(L), L, REF_CLOSED);
    script_raise_top(L);
}

/* What it has. */

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

struct anchor *coro_hold(lua_State *L, struct coro *coro, enum coro_held what, int index)
{
    assert(coro->held[what] == NULL);
    coro->held[what] = script_anchor(L, index);
    return coro->held[what];
}

void coro_let_go(struct coro *coro, enum coro_held what)
{
    if (coro->held[what] != NULL) {
        script_release(coro->held[what]);
        coro->held[what] = NULL;
    }
}

void coro_let_go_all(struct coro *coro)
{
    for (int i = 0; i < HELD_COUNT; i++) {
        coro_let_go(coro, (enum coro_held)i);
    }
}

void coro_keep(lua_State *L, struct coro *coro, enum script_ref ref)
{
    script_push_ref(coro->script, L, ref);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (int)coro->index + 1);
    lua_pop(L, 1);
    coro->kept |= 1U << ref;
}

void coro_push_kept(lua_State *L, const struct coro *coro, enum script_ref ref)
{
    script_push_ref(coro->script, L, ref);
    lua_rawgeti(L, -1, (int)coro->index + 1);
    lua_remove(L, -2);
}

/* The end of the script. */

static void report_cut(const struct coro *coro)
{
    char place[PLACE_MAX];
    char more[64] = "";
    const struct coro_owner *owner = coro->owner;
    script_place(coro->L, place);
    int left = owner == NULL || owner->left == NULL ? 0 : owner->left(coro->owned);
    if (left > 0) {
        snprintf(more, sizeof more, "; %d more of that request have not begun", left);
    }
    const struct log_subject each = {0}; /* CUT_LINES_MAX is the limit of these lines */
    log_write_about(coro->script->log, LOG_WARN, &each, "%s%s: cut at %s, where it waits, because the script ends%s",
                    owner == NULL ? "route at " : owner->what, coro->route == NULL ? "" : coro->route->place, place,
                    more);
}

void coro_report_cut(const struct script *script)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < script->coro_count; i++) {
        const struct coro *coro = script->coros[i];
        bool is_cut = coro->wait != NULL && coro->exchange == NULL;
        if (is_cut && ++count <= CUT_LINES_MAX) {
            report_cut(coro);
        }
    }
    if (count > CUT_LINES_MAX) {
        log_write(script->log, LOG_WARN, "%u more are cut", count - CUT_LINES_MAX);
    }
}

bool coro_any_is_busy(const struct script *script, int64_t until_ms)
{
    for (uint32_t i = 0; i < script->coro_count; i++) {
        const struct coro *coro = script->coros[i];
        if (coro->is_used && coro->wake_ms <= until_ms) {
            return true;
        }
    }
    return false;
}
