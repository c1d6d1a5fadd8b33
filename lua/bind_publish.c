/* Messages to topics: core/hub.h copies them and brings them to the subscribers of all threads.
 *
 * Failure modes: what does not depend on the script's code alone, such as a topic that a client has named, gives nil
 * and a text; values of a wrong type raise errors. */

#include "lua/bind_publish.h"

#include "core/hub.h"
#include "core/topics.h"
#include "lua/bind_number.h"
#include "lua/json_encode.h"
#include "lua/scratch.h"
#include "lua/script_error.h"

const char *publish_check_data(lua_State *L, int index, const char *what, struct write_buffer **json, size_t *len)
{
    int type = lua_type(L, index);
    *json = NULL;
    if (type == LUA_TTABLE) {
        *json = script_lend_scratch(L, what);
        json_encode(L, index, *json);
        *len = write_buffer_len(*json);
        return write_buffer_data(*json);
    }
    if (type == LUA_TNUMBER) {
        script_number_to_text(L, index);
    } else if (type != LUA_TSTRING) {
        script_raise(L, "%s: text, or a table to be sent as JSON, expected, got %s", what, luaL_typename(L, index));
    }
    return lua_tolstring(L, index, len);
}

/* publish(topic, data, event, is_binary): true; nil and why not. The options are checked but for their types. */
static int lua_publish(lua_State *L)
{
    lua_settop(L, 4);
    const struct script *script = script_of(L);
    struct message_parts message = {.event = "", .is_binary = lua_toboolean(L, 4) != 0};
    struct write_buffer *json;
    if (lua_type(L, 1) != LUA_TSTRING) {
        script_raise(L, "app.publish: the name of a topic expected, got %s", luaL_typename(L, 1));
    }
    if (!lua_isnil(L, 3) && lua_type(L, 3) != LUA_TSTRING) {
        script_raise(L, "app.publish: event: a name expected, got %s", luaL_typename(L, 3));
    }
    message.topic = lua_tolstring(L, 1, &message.topic_len);
    if (!lua_isnil(L, 3)) {
        message.event = lua_tolstring(L, 3, &message.event_len);
    }
    message.data = publish_check_data(L, 2, "app.publish", &json, &message.len);
    int rv = script->topics == NULL ? 0 : hub_publish(script->topics->hub, &message);
    if (json != NULL) {
        script_return_scratch(L);
    }
    if (rv < 0) {
        lua_pushnil(L);
        lua_pushstring(L, message_error_text(rv));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

void bind_publish(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"publish", lua_publish},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
