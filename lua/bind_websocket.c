/* What scripts call of a WebSocket. Functions that may have to wait are in two parts, which the prelude puts together:
 * a C function cannot go on after a yield.
 *
 * Failure modes: once it is closed, receiving and sending return nil and "closed"; whoever goes on regardless is ended
 * at the second time, like a stream whose client has gone. Mistakes of the script raise errors. */

#include "lua/bind_websocket.h"

#include "core/publication.h"
#include "http/ws/ws_topics.h"
#include "lua/bind_publish.h"
#include "lua/coro.h"
#include "lua/deadline.h"
#include "lua/duration.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/task.h"
#include "lua/websocket.h"
#include "lua/websocket_fields.h"
#include "lua/websocket_options.h"

#include <errno.h>
#include <string.h>

/* The object. */

int websocket_answer(lua_State *L, struct coro *coro, int fn)
{
    struct script *script = coro->script;
    struct route_websocket *options = coro->route->websocket;
    struct ws_agreed agreed;
    if (options == NULL) {
        script_raise(L, "the handler returned the response of a WebSocket route, but this is another one");
    }
    lua_pushvalue(L, fn);
    struct websocket_handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct websocket_handle){.id = 0};
    script_push_ref(script, L, REF_WEBSOCKET_META);
    lua_setmetatable(L, -2);
    websocket_push_fields(L);
    lua_pushvalue(L, -1);
    lua_setfenv(L, -3);
    struct script_websocket *socket = websocket_take(script);
    if (socket == NULL) {
        script_raise_memory(L);
    }
    *handle = (struct websocket_handle){.index = socket->index, .id = socket->id};
    options->options.user = &websocket_user;
    if (ws_accept(coro_detach(coro), &options->policy, &options->options, socket, &agreed) != 0) {
        websocket_put(socket);
        return 0;
    }
    websocket_begin(socket, coro);
    if (agreed.protocol != NULL) { /* without memory for it, the coroutine fails, and the WebSocket is closed */
        lua_pushlstring(L, agreed.protocol, agreed.protocol_len);
        lua_setfield(L, -2, "subprotocol");
    }
    lua_pop(L, 1);
    return 2;
}

static const struct websocket_handle *check_websocket(lua_State *L, const char *what)
{
    return object_check(L, 1, REF_WEBSOCKET_META, sizeof(struct websocket_handle), what);
}

/* The WebSocket of the object at index 1, or NULL: it is over, and so is its function. */
static struct script_websocket *find_websocket(lua_State *L, const char *what)
{
    return websocket_find(script_of(L), check_websocket(L, what));
}

/* Push the reason of the close, or what else is asked for, of a WebSocket that is closed. */
static bool push_end_field(lua_State *L, const struct script_websocket *socket, const char *name)
{
    if (!socket->is_closed) {
        return false;
    }
    if (strcmp(name, "code") == 0) {
        lua_pushinteger(L, socket->code);
        return true;
    }
    if (strcmp(name, "reason") == 0) {
        lua_pushstring(L, socket->reason == NULL ? "" : socket->reason);
        return true;
    }
    return false;
}

/* ws.name: a method; code and reason once it is closed; else a field of the request, or what the script has set. The
 * first upvalue is the table of methods. */
static int websocket_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1)) {
        return 1; /* it finds out itself what it is called with */
    }
    const struct script_websocket *socket = find_websocket(L, "ws");
    if (socket != NULL && lua_type(L, 2) == LUA_TSTRING && push_end_field(L, socket, lua_tostring(L, 2))) {
        return 1;
    }
    lua_settop(L, 2);
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, 3);
    if (lua_isnil(L, -1)) {
        websocket_push_absent(L, 3, 2);
    }
    return 1;
}

/* ws.name = value: for the script's own use. */
static int websocket_newindex(lua_State *L)
{
    check_websocket(L, "ws");
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    bool is_text = lua_type(L, 2) == LUA_TSTRING;
    if (!lua_isnil(L, -1) || (is_text && strcmp(lua_tostring(L, 2), "code") == 0) ||
        (is_text && strcmp(lua_tostring(L, 2), "reason") == 0)) {
        script_raise(L, "ws.%s is read-only", lua_tostring(L, 2));
    }
    if (lua_isnil(L, 2) || (lua_type(L, 2) == LUA_TNUMBER && lua_tonumber(L, 2) != lua_tonumber(L, 2))) {
        script_raise(L, "ws[%s] cannot be set", lua_isnil(L, 2) ? "nil" : "nan");
    }
    lua_getfenv(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    return 0;
}

static int websocket_tostring(lua_State *L)
{
    const struct script_websocket *socket = find_websocket(L, "tostring");
    lua_pushstring(L, socket == NULL || socket->is_closed ? "websocket (closed)" : "websocket");
    return 1;
}

/* Keep the close code and the reason in the object, which may outlive what C knows of it. May raise. */
static void keep_end(lua_State *L, const struct script_websocket *socket)
{
    lua_getfenv(L, 1);
    lua_pushinteger(L, socket->code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, socket->reason == NULL ? "" : socket->reason);
    lua_setfield(L, -2, "reason");
    lua_pop(L, 1);
}

/* Whether a coroutine, which may be NULL, runs the function of a WebSocket, or a task of it. */
static bool is_of_websocket(struct coro *coro, const struct script_websocket *socket)
{
    return coro != NULL && task_root(coro) == socket->thing.coro;
}

/* nil and "closed". The function of the WebSocket, and its tasks, are told once in each way. After a receive() that
 * says so it may still wait for other things, to clean up. */
static int say_websocket_closed(lua_State *L, struct script_websocket *socket, enum websocket_told way)
{
    struct coro *coro = script_of(L)->running;
    if (socket != NULL && socket->is_closed) {
        keep_end(L, socket);
    }
    if (socket != NULL && is_of_websocket(coro, socket)) {
        if ((socket->told & way) != 0 && coro->shields == 0) {
            coro->is_gone = true;
            socket->thing.coro->is_gone = true; /* who waits for a task raises its error again */
            coro_raise_closed(L);
        }
        socket->told |= (uint8_t)way;
        if (way == TOLD_BY_RECEIVE && coro == socket->thing.coro) {
            coro->is_gone = false;
        }
    }
    lua_pushnil(L);
    script_push_ref(script_of(L), L, REF_CLOSED_TEXT);
    return 2;
}

/* The beginning and the end. */

/* open(ws): true once the WebSocket is open; false: the client left before that. */
static int lua_websocket_open(lua_State *L)
{
    lua_settop(L, 1);
    struct script_websocket *socket = find_websocket(L, "ws");
    if (socket == NULL || socket->is_closed || socket->ws != NULL) {
        lua_pushboolean(L, socket != NULL && !socket->is_closed);
        return 1;
    }
    struct coro *coro = coro_check_waiting(L, "app.websocket");
    if (socket->reader.first != NULL) {
        script_raise(L, "app.websocket: another coroutine waits for the WebSocket already");
    }
    coro_list_add(&socket->reader, coro);
    return coro_wait(L, coro, &websocket_read_wait);
}

/* done(ws): its function has returned. */
static int lua_websocket_done(lua_State *L)
{
    struct script_websocket *socket = find_websocket(L, "ws");
    if (socket != NULL) {
        socket->is_done = true;
    }
    return 0;
}

/* ws:close(code, reason): true; nil and "closed" if it is closing already. It does not wait for the client. */
static int websocket_close(lua_State *L)
{
    lua_settop(L, 3);
    struct script_websocket *socket = find_websocket(L, "ws:close");
    double code = WS_CODE_NORMAL;
    size_t len = 0;
    if (!lua_isnil(L, 2)) {
        code = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : 0;
        if (!(code >= 1000 && code < 5000) || code != (double)(unsigned)code || !ws_code_is_valid((unsigned)code)) {
            script_raise(L,
                         "ws:close: a code from 1000 to 1003, from 1007 to 1014 or from 3000 to 4999 expected, got %s",
                         lua_type(L, 2) == LUA_TNUMBER ? lua_tostring(L, 2) : luaL_typename(L, 2));
        }
    }
    if (!lua_isnil(L, 3) && lua_type(L, 3) != LUA_TSTRING) {
        script_raise(L, "ws:close: a text as the reason expected, got %s", luaL_typename(L, 3));
    }
    const char *reason = lua_isnil(L, 3) ? "" : lua_tolstring(L, 3, &len);
    if (len > WS_REASON_MAX) {
        script_raise(L, "ws:close: the reason has more than %d bytes", (int)WS_REASON_MAX);
    }
    int rv = socket == NULL || socket->ws == NULL ? -EPIPE : ws_close(socket->ws, (unsigned)code, reason, len);
    if (rv == -EINVAL) {
        script_raise(L, "ws:close: the reason is not UTF-8");
    }
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        lua_pushnil(L);
        script_push_ref(script_of(L), L, REF_CLOSED_TEXT);
        return 2;
    }
    socket->is_closing = true;
    websocket_read_on(socket);
    lua_pushboolean(L, 1);
    return 1;
}

/* Receiving. */

/* take(ws): the message that is there, and its kind; nil and "closed". */
static int lua_websocket_take(lua_State *L)
{
    struct script_websocket *socket = find_websocket(L, "ws:receive");
    if (socket != NULL && websocket_has_message(socket)) {
        return websocket_push_message(L, socket);
    }
    return say_websocket_closed(L, socket, TOLD_BY_RECEIVE);
}

/* receive(ws, timeout): a message and its kind; nil and "closed". When it had to wait, true: then take() is next; nil
 * if that takes longer; false when nobody wants to know any more. */
static int lua_websocket_receive(lua_State *L)
{
    lua_settop(L, 2);
    struct script_websocket *socket = find_websocket(L, "ws:receive");
    bool has_timeout = !lua_isnil(L, 2);
    uint32_t ms = has_timeout ? duration_check(L, 2, "ws:receive") : 0;
    if (socket == NULL || socket->is_closed || websocket_has_message(socket)) {
        return lua_websocket_take(L);
    }
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, "ws:receive");
    if (!is_of_websocket(coro, socket)) {
        script_raise(L, "ws:receive: only the function of the WebSocket, and its tasks, can receive messages");
    }
    if (socket->reader.first != NULL) {
        script_raise(L, "ws:receive: another task of the WebSocket waits for its next message already");
    }
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (has_timeout && coro_set_timeout(coro, ms) < 0) {
        script_raise_memory(L);
    }
    coro_list_add(&socket->reader, coro);
    return coro_wait(L, coro, &websocket_read_wait);
}

/* Sending. */

/* What a send gives to the prelude: true; nil and "closed"; 0: drain() is next. Only the function of the WebSocket and
 * its tasks wait for a client that is behind: nobody else is to be held up by it. */
static int push_sent(lua_State *L, struct script_websocket *socket, int rv, const char *what)
{
    switch (rv) {
    case 1:
        break;
    case 0:
        socket->is_behind = true;
        break;
    case -EILSEQ:
        script_raise(L, "%s: the text is not UTF-8: send other bytes with ws:send_binary", what);
    case -EMSGSIZE:
        script_raise(L, "%s: the message is longer than %d bytes", what, (int)WS_SEND_MAX_BYTES);
    case -ENOMEM:
        script_raise_memory(L);
    default:
        return say_websocket_closed(L, socket, TOLD_BY_SEND);
    }
    bool is_own = is_of_websocket(script_of(L)->running, socket);
    if (is_own &&
        (deadline_restart(script_of(L)) || rv == 0)) { /* or it has sent for a while: others have their turn */
        lua_pushinteger(L, 0);
    } else {
        lua_pushboolean(L, 1);
    }
    return 1;
}

/* send(ws, text or table). */
static int lua_websocket_send(lua_State *L)
{
    lua_settop(L, 2);
    struct script_websocket *socket = find_websocket(L, "ws:send");
    struct write_buffer *json;
    size_t len;
    const char *data = publish_check_data(L, 2, "ws:send", &json, &len);
    int rv = socket == NULL || socket->ws == NULL ? -EPIPE : ws_send(socket->ws, WS_TEXT, data, len);
    if (json != NULL) {
        script_return_scratch(L);
    }
    return push_sent(L, socket, rv, "ws:send");
}

/* send_binary(ws, bytes). */
static int lua_websocket_send_binary(lua_State *L)
{
    lua_settop(L, 2);
    struct script_websocket *socket = find_websocket(L, "ws:send_binary");
    if (lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "ws:send_binary: a string expected, got %s", luaL_typename(L, 2));
    }
    size_t len;
    const char *data = lua_tolstring(L, 2, &len);
    int rv = socket == NULL || socket->ws == NULL ? -EPIPE : ws_send(socket->ws, WS_BINARY, data, len);
    return push_sent(L, socket, rv, "ws:send_binary");
}

/* ping(ws, bytes). */
static int lua_websocket_ping(lua_State *L)
{
    lua_settop(L, 2);
    struct script_websocket *socket = find_websocket(L, "ws:ping");
    size_t len = 0;
    if (!lua_isnil(L, 2) && lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "ws:ping: a string expected, got %s", luaL_typename(L, 2));
    }
    const char *data = lua_isnil(L, 2) ? "" : lua_tolstring(L, 2, &len);
    if (len > WS_CONTROL_MAX) {
        script_raise(L, "ws:ping: more than %d bytes", (int)WS_CONTROL_MAX);
    }
    int rv = socket == NULL || socket->ws == NULL ? -EPIPE : ws_ping(socket->ws, data, len);
    return push_sent(L, socket, rv, "ws:ping");
}

/* drain(ws): wait until the client has taken most of what was sent, or only for others to have their turn: true, or
 * nil; sent() is next. False when nobody wants to know any more. Where nothing can wait, what is queued stays so. */
static int lua_websocket_drain(lua_State *L)
{
    lua_settop(L, 1);
    struct script_websocket *socket = find_websocket(L, "ws:send");
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    if (socket == NULL || socket->is_closed || script_of(L)->running == NULL || !lua_isyieldable(L)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    struct coro *coro = coro_check_waiting(L, "ws:send");
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (!socket->is_behind && coro_set_timeout(coro, 0) < 0) {
        script_raise_memory(L);
    }
    coro_list_add(&socket->senders, coro);
    return coro_wait(L, coro, &websocket_send_wait);
}

/* sent(ws): what a send returns that had to wait: true; nil and "closed". */
static int lua_websocket_sent(lua_State *L)
{
    struct script_websocket *socket = find_websocket(L, "ws:send");
    if (socket == NULL || socket->is_closed) {
        return say_websocket_closed(L, socket, TOLD_BY_SEND);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* Topics. */

/* The name of a topic at index 2. */
static const char *check_topic_text(lua_State *L, const char *what, size_t *len)
{
    if (lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "%s: the name of a topic expected, got %s", what, luaL_typename(L, 2));
    }
    return lua_tolstring(L, 2, len);
}

/* subscribe(ws, topic, skips): true; nil and "closed", or why not. */
static int lua_websocket_subscribe(lua_State *L)
{
    lua_settop(L, 3);
    struct script_websocket *socket = find_websocket(L, "ws:subscribe");
    size_t len;
    const char *name = check_topic_text(L, "ws:subscribe", &len);
    int rv = -EPIPE;
    if (socket != NULL && socket->ws != NULL) {
        rv = ws_subscribe(socket->ws, name, len, lua_toboolean(L, 3) != 0);
    }
    if (rv == -EPIPE) {
        return say_websocket_closed(L, socket, TOLD_BY_SEND);
    }
    if (rv < 0) {
        lua_pushnil(L);
        lua_pushstring(L, rv == -E2BIG ? "too many topics of one WebSocket" : message_error_text(rv));
        return 2;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* ws:unsubscribe(topic): whether it was subscribed. */
static int websocket_unsubscribe(lua_State *L)
{
    lua_settop(L, 2);
    struct script_websocket *socket = find_websocket(L, "ws:unsubscribe");
    size_t len;
    const char *name = check_topic_text(L, "ws:unsubscribe", &len);
    lua_pushboolean(L, socket != NULL && socket->ws != NULL && ws_unsubscribe(socket->ws, name, len) == 0);
    return 1;
}

/* option_names(): a list of the names of the options of app.websocket. */
static int lua_websocket_options(lua_State *L)
{
    websocket_push_option_names(L);
    return 1;
}

void bind_websocket(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"close", websocket_close},
        {"unsubscribe", websocket_unsubscribe},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"websocket_open", lua_websocket_open},       {"websocket_done", lua_websocket_done},
        {"websocket_take", lua_websocket_take},       {"websocket_receive", lua_websocket_receive},
        {"websocket_send", lua_websocket_send},       {"websocket_send_binary", lua_websocket_send_binary},
        {"websocket_ping", lua_websocket_ping},       {"websocket_drain", lua_websocket_drain},
        {"websocket_sent", lua_websocket_sent},       {"websocket_subscribe", lua_websocket_subscribe},
        {"websocket_options", lua_websocket_options}, {NULL, NULL},
    };
    object_set_methods(L, methods, "websocket", REF_WEBSOCKET_META);
    script_push_ref(script_of(L), L, REF_WEBSOCKET_META);
    lua_getfield(L, -1, "__index");
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "websocket_methods"); /* the prelude adds those that wait */
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, websocket_newindex, 1);
    lua_setfield(L, -3, "__newindex");
    lua_pushcclosure(L, websocket_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, websocket_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
