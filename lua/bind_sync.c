/* Waiting for another coroutine.
 *
 * Happy path: whoever is to wait draws a ticket and puts it where others find it (prelude_sync.lua), then parks. Who
 * wakes the holder of the ticket has given him what he waited for: nothing takes that back.
 *
 * Failure modes: a ticket is good for one wait. It wakes nobody once that has ended by itself: because it took too
 * long, because the client has gone, or because it could not even begin. Whoever wakes then asks the next one. A
 * coroutine that is given up inside sem:with() has no code that could post: a task of the reactor calls the prelude,
 * which posts for it. */

#include "lua/bind_sync.h"

#include "core/log.h"
#include "core/reactor.h"
#include "lua/call.h"
#include "lua/coro.h"
#include "lua/duration.h"
#include "lua/relay.h"
#include "lua/script_error.h"

static int on_parked_gone(struct coro *coro)
{
    coro_cancel_timeout(coro);
    lua_pushboolean(coro->L, 0);
    return 1;
}

static const struct coro_wait park_wait = {.on_gone = on_parked_gone, .cancel = coro_cancel_timeout};

/* draw(what, timeout): the coroutine that runs, and a ticket for it; false when nobody wants to know any more. Raises
 * where nothing can wait, and for a bad timeout, before the ticket is in a queue. */
static int lua_draw(lua_State *L)
{
    struct script *script = script_of(L);
    const char *what = luaL_checkstring(L, 1);
    if (!lua_isnoneornil(L, 2)) {
        (void)duration_check(L, 2, what);
    }
    bool is_relayed = relay_is_needed(L);
    struct coro *coro = is_relayed ? script->running : coro_check_waiting(L, what);
    if (!is_relayed && coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    lua_pushinteger(L, (lua_Integer)coro->index);
    lua_pushnumber(L, (lua_Number)++script->last_ticket);
    return 2;
}

/* park(what, ticket, timeout): true once the ticket is woken, nil if that takes longer; false when nobody wants to know
 * any more. */
static int lua_park(lua_State *L)
{
    lua_settop(L, 3);
    const char *what = luaL_checkstring(L, 1);
    lua_Number ticket = luaL_checknumber(L, 2);
    bool has_timeout = !lua_isnil(L, 3);
    uint32_t ms = has_timeout ? duration_check(L, 3, what) : 0;
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, what);
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (has_timeout && coro_set_timeout(coro, ms) < 0) {
        script_raise_memory(L);
    }
    coro->ticket = (uint64_t)ticket;
    return coro_wait(L, coro, &park_wait);
}

/* wake(index, ticket): whether the coroutine waited with this ticket. It is resumed soon. */
static int lua_wake(lua_State *L)
{
    const struct script *script = script_of(L);
    lua_Number index = luaL_checknumber(L, 1);
    lua_Number ticket = luaL_checknumber(L, 2);
    bool is_known = index >= 0 && index < script->coro_count && ticket > 0;
    struct coro *coro = is_known ? script->coros[(uint32_t)index] : NULL;
    bool waits = coro != NULL && coro->wait == &park_wait && (lua_Number)coro->ticket == ticket;
    if (waits) {
        coro_cancel_timeout(coro);
        lua_pushboolean(coro->L, 1);
        coro_wake(coro, 1);
    }
    lua_pushboolean(L, waits);
    return 1;
}

/* shield(on): the coroutine that runs, which a shield begins or ends. */
static int lua_shield(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "app.shield");
    bool begins = lua_toboolean(L, 1) != 0;
    if (begins) {
        coro->shields++;
    } else if (coro->shields > 0) {
        coro->shields--;
    }
    return 0;
}

/* Places of semaphores. */

static void on_place_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct script *script = REACTOR_OWNER(arg, struct script, place_task);
    char err[SCRIPT_TEXT_MAX];
    script_push_ref(script, script->L, REF_GIVE_BACK);
    if (script_call(script, 0, 0, err, sizeof err) < 0) {
        log_write(script->log, LOG_ERROR, "semaphore:with: a place is lost: %s", err);
    }
}

static void give_places_back(struct coro *coro)
{
    reactor_schedule(coro->script->reactor, &coro->script->place_task);
}

/* hold(): the coroutine that runs, which now has one place more: its index and generation. */
static int lua_hold(lua_State *L)
{
    struct coro *coro = coro_check_running(L, "semaphore:with");
    coro->places++;
    coro->end_places = give_places_back;
    lua_pushinteger(L, (lua_Integer)coro->index);
    lua_pushnumber(L, (lua_Number)coro->generation);
    return 2;
}

static struct coro *check_holder(lua_State *L)
{
    lua_Number index = luaL_checknumber(L, 1);
    lua_Number generation = luaL_checknumber(L, 2);
    const struct script *script = script_of(L);
    bool is_known = index >= 0 && index < script->coro_count && generation >= 0 && generation <= UINT32_MAX;
    return is_known ? coro_find(script, (uint32_t)index, (uint32_t)generation) : NULL;
}

/* let_go(index, generation): the coroutine has one place less. */
static int lua_let_go(lua_State *L)
{
    struct coro *coro = check_holder(L);
    if (coro != NULL && coro->places > 0) {
        coro->places--;
    }
    return 0;
}

/* holds(index, generation): whether the coroutine has not ended. */
static int lua_holds(lua_State *L)
{
    const struct coro *coro = check_holder(L);
    lua_pushboolean(L, coro != NULL);
    return 1;
}

void sync_end(struct script *script)
{
    if (reactor_is_scheduled(&script->place_task)) {
        reactor_unschedule(script->reactor, &script->place_task);
    }
}

void bind_sync(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"draw", lua_draw}, {"hold", lua_hold},     {"holds", lua_holds}, {"let_go", lua_let_go},
        {"park", lua_park}, {"shield", lua_shield}, {"wake", lua_wake},   {NULL, NULL},
    };
    script_of(L)->place_task.fn = on_place_task;
    luaL_register(L, NULL, functions);
}
