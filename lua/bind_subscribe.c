/* What scripts call of subscriptions. Waiting is in two parts, which the prelude puts together: a C function cannot go
 * on after a yield.
 *
 * Failure modes: a topic that a client has named may be none, so that is nil and a text. When the client has gone, a
 * wait ends as in app.sleep. */

#include "lua/bind_subscribe.h"

#include "core/ascii.h"
#include "lua/coro.h"
#include "lua/deadline.h"
#include "lua/duration.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/script_error.h"
#include "lua/subscription.h"

#include <errno.h>

static const char what_receives[] = "subscription:receive";

/* The subscription of the object at index 1, or NULL: it has ended. Raises for anything else. */
static struct script_subscription *check_subscription(lua_State *L, const char *what)
{
    const struct subscription_handle *handle = object_check(L, 1, REF_SUBSCRIPTION_META, sizeof *handle, what);
    return subscription_find(script_of(L), handle);
}

/* A whole number at index from least to most, other if there is none. */
static uint32_t check_option_number(lua_State *L, int index, const char *name, uint32_t least, uint32_t most,
                                    uint32_t other)
{
    if (lua_isnil(L, index)) {
        return other;
    }
    double number = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : -1;
    if (!(number >= least && number <= most) || number != (double)(uint32_t)number) {
        script_raise(L, "app.subscribe: %s: a whole number from %u to %u expected, got %s", name, least, most,
                     lua_type(L, index) == LUA_TNUMBER ? lua_tostring(L, index) : luaL_typename(L, index));
    }
    return (uint32_t)number;
}

/* The id at index as a place in the history. An unknown one is from the future: nobody knows what came since. */
static struct publication_id check_after(lua_State *L, int index)
{
    struct publication_id after = {0};
    size_t len;
    if (lua_isnil(L, index)) {
        return after;
    }
    if (lua_type(L, index) != LUA_TSTRING) {
        script_raise(L, "app.subscribe: after: the id of a message expected, got %s", luaL_typename(L, index));
    }
    const char *text = lua_tolstring(L, index, &len);
    if (ascii_is(text, len, "earliest")) {
        return (struct publication_id){.number = 1};
    }
    return publication_id_read(&after, text, len) ? after : (struct publication_id){.ms = UINT64_MAX};
}

/* subscribe(topic, after, queue, replay): the object; nil and why not. All but the topic may be nil. */
static int lua_subscribe(lua_State *L)
{
    struct script *script = script_of(L);
    lua_settop(L, 4);
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.subscribe: the name of a topic expected, got %s", luaL_typename(L, 1));
    }
    struct topics_replay replay = {.after = check_after(L, 2)};
    uint32_t max = check_option_number(L, 3, "queue", 1, SUBSCRIPTION_QUEUE_MAX, SUBSCRIPTION_QUEUE);
    replay.keep = check_option_number(L, 4, "replay", 0, TOPIC_REPLAY_MAX, 0);
    bool wants_replay = replay.keep > 0 || !lua_isnil(L, 2);
    struct coro *coro = coro_check_running(L, "app.subscribe");
    if (script->topics == NULL || script->is_stopped) {
        script_raise(L, "app.subscribe: there are no topics here: they belong to a server that runs");
    }
    struct subscription_handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct subscription_handle){.id = 0};
    script_push_ref(script, L, REF_SUBSCRIPTION_META);
    lua_setmetatable(L, -2);
    size_t len;
    const char *name = lua_tolstring(L, 1, &len);
    int error;
    struct script_subscription *made = subscription_open(script, coro, name, len, max, wants_replay ? &replay : NULL,
                                                         &error);
    if (made != NULL) {
        made->is_gap = made->is_gap && replay.after.ms != 0; /* whoever asks for the earliest has missed nothing */
        *handle = (struct subscription_handle){.index = made->index, .id = made->id};
        return 1;
    }
    if (error == -ENOMEM) {
        script_raise_memory(L);
    }
    lua_pushnil(L);
    if (error == -ENOBUFS) {
        lua_pushfstring(L, "the script has %d subscriptions already", (int)SUBSCRIPTIONS_MAX);
    } else {
        lua_pushstring(L, message_error_text(error));
    }
    return 2;
}

/* Push the first message: its text, its id, and the name of its event or nil. */
static int push_message(lua_State *L, struct script_subscription *subscription)
{
    const struct payload *payload = subscription_first(subscription)->payload;
    char id[PUBLICATION_ID_TEXT];
    lua_pushlstring(L, payload->data, payload->len);
    lua_pushlstring(L, id, publication_id_write(payload->id, id));
    if (payload->event_len > 0) {
        lua_pushlstring(L, payload->event, payload->event_len);
    } else {
        lua_pushnil(L);
    }
    subscription_drop_first(subscription);
    return 3;
}

/* take(subscription): a message; or nil and "closed", "stopping" or "timeout". */
static int lua_subscription_take(lua_State *L)
{
    struct script_subscription *subscription = check_subscription(L, what_receives);
    if (subscription != NULL && subscription->count > 0) {
        return push_message(L, subscription);
    }
    lua_pushnil(L);
    lua_pushstring(L, subscription == NULL ? "closed" : script_of(L)->is_stopping ? "stopping" : "timeout");
    return 2;
}

/* receive(subscription, timeout): a message; or nil and "closed" or "stopping". When it had to wait, true: then take()
 * is next; false when nobody wants to know any more. */
static int lua_subscription_receive(lua_State *L)
{
    struct script *script = script_of(L);
    lua_settop(L, 2);
    struct script_subscription *subscription = check_subscription(L, what_receives);
    bool has_timeout = !lua_isnil(L, 2);
    uint32_t ms = has_timeout ? duration_check(L, 2, what_receives) : 0;
    bool has_message = subscription != NULL && subscription->count > 0;
    bool is_over = subscription == NULL || (script->is_stopping && !has_message);
    bool may_pause = script->running != NULL && lua_isyieldable(L);
    if (is_over || (has_message && !(may_pause && deadline_restart(script)))) {
        return lua_subscription_take(L);
    }
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, what_receives);
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (has_message) { /* it has taken messages for a while: others have their turn */
        has_timeout = true;
        ms = 0;
    }
    if (has_timeout && coro_set_timeout(coro, ms) < 0) {
        script_raise_memory(L);
    }
    coro_list_add(&subscription->waiting, coro);
    return coro_wait(L, coro, &subscription_wait);
}

/* subscription:lost(): how many messages were dropped since the last call, because too many waited; and whether the
 * topic no longer had all that came after the id which app.subscribe() was given. */
static int subscription_lost(lua_State *L)
{
    struct script_subscription *subscription = check_subscription(L, "subscription:lost");
    if (subscription == NULL) {
        lua_pushinteger(L, 0);
        lua_pushboolean(L, 0);
        return 2;
    }
    lua_pushnumber(L, (double)subscription->lost);
    lua_pushboolean(L, subscription->is_gap);
    subscription->lost = 0;
    subscription->is_gap = false;
    return 2;
}

/* subscription:close(): whether there was anything to end. */
static int subscription_end(lua_State *L)
{
    struct script_subscription *subscription = check_subscription(L, "subscription:close");
    if (subscription != NULL) {
        subscription_close(subscription);
    }
    lua_pushboolean(L, subscription != NULL);
    return 1;
}

void bind_subscribe(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"close", subscription_end},
        {"lost", subscription_lost},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"subscribe", lua_subscribe},
        {"subscription_receive", lua_subscription_receive},
        {"subscription_take", lua_subscription_take},
        {NULL, NULL},
    };
    object_set_methods(L, methods, "subscription", REF_SUBSCRIPTION_META);
    script_push_ref(script_of(L), L, REF_SUBSCRIPTION_META);
    lua_getfield(L, -1, "__index"); /* for the methods of the prelude */
    lua_setfield(L, -3, "subscription_methods");
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
