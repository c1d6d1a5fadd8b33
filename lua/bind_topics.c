/* Topics that scripts name: their names, what is kept of them, and streams of events that are subscribers. What is
 * wrong with them is a mistake of the script, and raises. */

#include "lua/bind_topics.h"

#include "core/hub.h"
#include "core/topics.h"
#include "http/event_stream.h"
#include "http/sse.h"
#include "lua/script_error.h"

#include <errno.h>

/* A whole number from least to most in the field called name of the table at index, 0 if there is none. */
static int64_t stream_number(lua_State *L, int index, const char *name, int64_t least, int64_t most)
{
    lua_getfield(L, index, name);
    double number = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
    bool is_right = lua_isnil(L, -1) || lua_type(L, -1) == LUA_TNUMBER;
    bool is_within = number >= (double)least && number <= (double)most;
    if (!is_right || !is_within || number != (double)(int64_t)number) {
        script_raise(L, "app.events: %s: a whole number from %lld to %lld expected", name, (long long)least,
                     (long long)most);
    }
    lua_pop(L, 1);
    return (int64_t)number;
}

/* Check the name of a topic at index, what being "app.events". */
static void check_topic_name(lua_State *L, int index, const char *what)
{
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING) {
        script_raise(L, "%s: the name of a topic expected, got %s", what, luaL_typename(L, index));
    }
    const char *name = lua_tolstring(L, index, &len);
    int rv = topic_check_name(name, len);
    if (rv < 0) {
        script_raise(L, "%s: %s", what, message_error_text(rv));
    }
}

void topics_check_stream(lua_State *L, int index, struct event_stream_options *options)
{
    *options = (struct event_stream_options){
        .replay = (unsigned)stream_number(L, index, "replay", 0, TOPIC_REPLAY_MAX),
        .heartbeat_ms = (uint32_t)stream_number(L, index, "heartbeat", 0, UINT32_MAX),
        .retry_ms = stream_number(L, index, "retry", SSE_NO_RETRY, UINT32_MAX),
    };
    lua_getfield(L, index, "skips");
    options->skips = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    if (options->heartbeat_ms != 0 && options->heartbeat_ms < EVENT_STREAM_HEARTBEAT_LEAST_MS) {
        script_raise(L, "app.events: heartbeat: it must be at least %d ms", EVENT_STREAM_HEARTBEAT_LEAST_MS);
    }
    lua_getfield(L, index, "topic");
    check_topic_name(L, -1, "app.events: topic");
    options->topic = lua_tolstring(L, -1, &options->topic_len);
    if (script_of(L)->topics == NULL) {
        script_raise(L, "app.events: there are no topics here: they belong to a server that runs");
    }
}

/* check_topic(what, name): raises unless it can be that of a topic. */
static int lua_check_topic(lua_State *L)
{
    check_topic_name(L, 2, luaL_checkstring(L, 1));
    return 0;
}

/* keep_topic(what, name, count): keep the last messages of a topic from now on. Raises if that cannot be. */
static int lua_keep_topic(lua_State *L)
{
    const char *what = luaL_checkstring(L, 1);
    const struct script *script = script_of(L);
    double count = luaL_checknumber(L, 3);
    check_topic_name(L, 2, what);
    if (!(count >= 0 && count <= TOPIC_REPLAY_MAX) || count != (double)(unsigned)count) {
        script_raise(L, "%s: %s", what, message_error_text(-ERANGE));
    }
    if (script->topics != NULL && count > 0) { /* a script that is only checked has no hub */
        size_t len;
        const char *name = lua_tolstring(L, 2, &len);
        int rv = hub_keep(script->topics->hub, name, len, (unsigned)count);
        if (rv == -ENOSPC) {
            script_raise(L, "%s: more than %d topics whose messages are kept", what, HUB_KEPT_MAX);
        } else if (rv < 0) {
            script_raise_memory(L);
        }
    }
    return 0;
}

void bind_topics(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"check_topic", lua_check_topic},
        {"keep_topic", lua_keep_topic},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
    lua_pushinteger(L, TOPIC_REPLAY_MAX);
    lua_setfield(L, -2, "REPLAY_MAX");
}
