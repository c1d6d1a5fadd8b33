/* Happy path: connect() takes a kept connection, or opens one and waits; send() gives the kernel what it takes, and
 * waits for room; setkeepalive() gives the connection away. A function that waits is called again by the prelude, with
 * the reason why the wait is over (socket_wait()).
 *
 * Failure modes: what the network does is nil and a text. Only mistakes of the script raise. A connection that could
 * not be made, or on which sending has failed, is closed. */

#include "lua/bind_socket.h"

#include "core/kept_links.h"
#include "core/link.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/outbound.h"
#include "lua/duration.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/socket_error.h"
#include "lua/socket_object.h"
#include "lua/socket_receive.h"
#include "lua/socket_tls.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    CONNECT_REASON = 6,       /* indices of the arguments that say why a wait is over; nil: nobody has waited */
    SEND_REASON = 4,          /* likewise */
    SEND_DEPTH_MAX = 32,      /* tables inside each other that send() takes */
    POOL_SIZE_MAX = 100000,   /* of setkeepalive() */
    SEND_LIST_MAX = 64 << 20, /* bytes of a list that send() takes */
};

static int push_socket_closed(lua_State *L)
{
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    return 2;
}

/* new_socket(what): one that is not connected. With what, it is about to be: raises where that cannot be waited for. */
static int new_socket(lua_State *L)
{
    if (!lua_isnoneornil(L, 1) && !relay_is_needed(L)) {
        (void)coro_check_waiting(L, luaL_checkstring(L, 1));
    }
    (void)socket_push(L);
    return 1;
}

/* Connecting. */

/* The wait for a connection is over, or begins; what connect() returns. */
static int finish_socket_connect(lua_State *L, struct script_socket *socket, int reason)
{
    if (socket->link == NULL) {
        return push_socket_closed(L);
    }
    lua_pushnil(L);
    if (reason < 0 || socket->is_connecting) {
        lua_pushliteral(L, "timeout");
    } else if (socket->connect_error < 0) {
        const char *text = link_failure(socket->link);
        if (strcmp(text, errno_text(-socket->connect_error)) == 0) {
            socket_push_error(L, socket->connect_error);
        } else {
            lua_pushstring(L, text);
        }
    } else {
        lua_pushinteger(L, 1);
        return 1;
    }
    socket_close(socket);
    return 2;
}

/* The target that connect() was given: an address with a port, or the path of a unix socket with none. */
static struct link_target check_target(lua_State *L)
{
    const char *text = script_check_text(L, 2, "socket:connect");
    if (lua_isnil(L, 3)) {
        return (struct link_target){.path = text};
    }
    double port = luaL_checknumber(L, 3);
    if (!(port >= 1 && port <= UINT16_MAX)) {
        script_raise(L, "socket:connect: a port from 1 to 65535 expected, got %s", lua_tostring(L, 3));
    }
    return (struct link_target){.host = text, .port = (uint16_t)port};
}

/* Give the socket the name of its pool, which is at index 4. Raises without memory. */
static void name_socket_pool(lua_State *L, struct script_socket *socket)
{
    const char *name = luaL_checklstring(L, 4, &socket->pool_len);
    mem_free(socket->pool);
    socket->pool = mem_alloc(socket->pool_len + 1);
    if (socket->pool == NULL) {
        script_raise_memory(L);
    }
    memcpy(socket->pool, name, socket->pool_len + 1);
    const char *host = lua_isnil(L, 3) ? "" : lua_tostring(L, 2);
    snprintf(socket->host, sizeof socket->host, "%s", host);
    socket->pool_size = (unsigned)luaL_optint(L, 5, KEPT_POOL_SIZE);
}

/* connect(socket, host, port, pool, pool_size, reason): 1, or nil and a text. The prelude has made the pool's name. */
static int socket_connect(lua_State *L)
{
    char err[LINK_FAILURE_MAX];
    lua_settop(L, CONNECT_REASON);
    struct script_socket *socket = socket_check(L, 1, "socket:connect");
    struct outbound *outbound = socket->script->outbound;
    struct coro *coro = socket_check_owner(L, socket, "socket:connect");
    if (!lua_isnil(L, CONNECT_REASON)) {
        return finish_socket_connect(L, socket, (int)lua_tointeger(L, CONNECT_REASON));
    }
    if (socket_push_busy(L, socket, ~0U)) {
        return 2;
    }
    struct link_target target = check_target(L);
    if (outbound == NULL) {
        script_raise(L, "socket:connect: scripts cannot reach other servers here");
    }
    socket_close(socket);
    name_socket_pool(L, socket);
    socket->reused = 0;
    struct link *link = kept_links_take(&outbound->kept, socket->pool, socket->pool_len, &socket->reused);
    if (link != NULL) {
        socket_attach(socket, coro, link, true);
        lua_pushinteger(L, 1);
        return 1;
    }
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    (void)coro_check_waiting(L, "socket:connect");
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    int rv = outbound_connect(outbound, &link, &target, &socket_link_user, socket, err, sizeof err);
    if (rv < 0) {
        lua_pushnil(L);
        lua_pushstring(L, err);
        return 2;
    }
    socket_attach(socket, coro, link, false);
    return socket_wait(L, socket, coro, SOCKET_READING, socket->connect_ms);
}

/* Sending. */

/* Append a value that send() was given. Raises through the loan of the buffer, which that ends. */
static void append_sent(lua_State *L, struct write_buffer *out, int index, int depth)
{
    int top = lua_gettop(L);
    size_t len = 0;
    const char *text = NULL;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        break;
    case LUA_TNUMBER:
        lua_pushvalue(L, index);
        text = lua_tolstring(L, -1, &len);
        break;
    case LUA_TBOOLEAN:
        text = lua_toboolean(L, index) != 0 ? "true" : "false";
        len = strlen(text);
        break;
    case LUA_TTABLE:
        if (depth == SEND_DEPTH_MAX) {
            script_raise(L, "socket:send: more than %d tables inside each other", (int)SEND_DEPTH_MAX);
        }
        if (table_is_record(L, index)) {
            script_raise(L, "socket:send: a list expected, got a table with named fields");
        }
        for (size_t i = 1, count = lua_objlen(L, index); i <= count; i++) {
            lua_rawgeti(L, index, (int)i);
            append_sent(L, out, lua_gettop(L), depth + 1);
            lua_pop(L, 1);
        }
        return;
    default:
        script_raise(L, "socket:send: strings, numbers, booleans and lists of them expected, got %s",
                     luaL_typename(L, index));
    }
    int rv = write_buffer_append(out, text, len, SEND_LIST_MAX);
    if (rv == -ENOBUFS) {
        script_raise(L, "socket:send: a list of more than %d bytes; send it in pieces", (int)SEND_LIST_MAX);
    }
    if (rv < 0) {
        script_raise_memory(L);
    }
    lua_settop(L, top);
}

/* Write once. Returns the bytes taken, 0: there is no room; or -errno. */
static ssize_t send_socket_bytes(struct script_socket *socket, const char *data, size_t len)
{
    ssize_t taken = len == 0 ? 0 : link_send(socket->link, data, len);
    socket->turn_output += taken > 0 ? (size_t)taken : 0;
    return taken == -EAGAIN ? 0 : taken;
}

/* Whether a call that has sent done of len bytes waits: for room, or because a peer that reads fast must not hold the
 * loop. */
static bool sending_waits(const struct script_socket *socket, size_t done, size_t len)
{
    return done < len || socket->turn_output >= SOCKET_TURN_OUTPUT;
}

static int fail_sending(lua_State *L, struct script_socket *socket, int error)
{
    socket_close(socket);
    lua_pushnil(L);
    if (error == -ETIMEDOUT) {
        lua_pushliteral(L, "timeout");
    } else {
        socket_push_error(L, error);
    }
    return 2;
}

/* There is no room for the rest: wait for it, and go on. */
static int wait_to_send(lua_State *L, struct script_socket *socket, struct coro *coro)
{
    lua_settop(L, 2);
    lua_pushboolean(L, 1);
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    (void)coro_check_waiting(L, "socket:send");
    return socket_wait(L, socket, coro, SOCKET_WRITING, socket->send_ms);
}

/* Send the string at index 2 from socket->sent on. */
static int send_socket_text(lua_State *L, struct script_socket *socket, struct coro *coro)
{
    size_t len;
    const char *text = lua_tolstring(L, 2, &len);
    size_t done = socket->sent < len ? socket->sent
                                     : len; /* it may be another string, if the script is up to no good */
    ssize_t taken = send_socket_bytes(socket, text + done, len - done);
    if (taken < 0) {
        return fail_sending(L, socket, (int)taken);
    }
    socket->sent = done + (size_t)taken;
    if (sending_waits(socket, socket->sent, len)) {
        return wait_to_send(L, socket, coro);
    }
    lua_pushnumber(L, (lua_Number)len);
    return 1;
}

/* Send what a list had and the kernel did not take. */
static int send_socket_output(lua_State *L, struct script_socket *socket, struct coro *coro)
{
    size_t len = write_buffer_len(&socket->output);
    ssize_t taken = send_socket_bytes(socket, write_buffer_data(&socket->output), len);
    if (taken < 0) {
        return fail_sending(L, socket, (int)taken);
    }
    write_buffer_consume(&socket->output, (size_t)taken);
    if ((size_t)taken < len) {
        return wait_to_send(L, socket, coro);
    }
    write_buffer_done(&socket->output);
    lua_pushnumber(L, (lua_Number)socket->sent);
    return 1;
}

/* Send the list, or what is no string, at index 2: most often the kernel takes all of it at once. */
static int send_socket_list(lua_State *L, struct script_socket *socket, struct coro *coro)
{
    luaL_checkstack(L, 2 * SEND_DEPTH_MAX + 8, "socket:send");
    struct write_buffer *out = script_lend_scratch(L, "socket:send");
    append_sent(L, out, 2, 0);
    size_t len = write_buffer_len(out);
    ssize_t taken = len == 0 ? 0 : send_socket_bytes(socket, write_buffer_data(out), len);
    int rv = taken < 0 ? (int)taken : 0;
    if (rv == 0 && (size_t)taken < len) {
        rv = write_buffer_append(&socket->output, write_buffer_data(out) + taken, len - (size_t)taken, SEND_LIST_MAX);
    }
    script_return_scratch(L);
    socket->sent = len;
    if (rv < 0) {
        return fail_sending(L, socket, rv);
    }
    if (sending_waits(socket, len - write_buffer_len(&socket->output), len)) {
        return wait_to_send(L, socket, coro);
    }
    lua_pushnumber(L, (lua_Number)len);
    return 1;
}

/* The wait of send() is over; or is still to come, if this is the call for a coroutine of the script's own
 * (relay.h). */
static int go_on_sending(lua_State *L, struct script_socket *socket, struct coro *coro)
{
    bool is_list = lua_type(L, 2) != LUA_TSTRING;
    bool is_left = is_list ? write_buffer_len(&socket->output) > 0 : socket->sent < lua_objlen(L, 2);
    if (!is_left && lua_isnil(L, SEND_REASON)) {
        return wait_to_send(L, socket, coro);
    }
    if (!is_left) {
        lua_pushnumber(L, (lua_Number)socket->sent);
        return 1;
    }
    if (lua_tointeger(L, SEND_REASON) < 0) {
        return fail_sending(L, socket, -ETIMEDOUT);
    }
    return is_list ? send_socket_output(L, socket, coro) : send_socket_text(L, socket, coro);
}

/* send(socket, data, goes_on, reason): the number of bytes, or nil and a text. goes_on: some were sent already. */
static int socket_send(lua_State *L)
{
    lua_settop(L, SEND_REASON);
    struct script_socket *socket = socket_check(L, 1, "socket:send");
    if (socket->link == NULL) {
        return push_socket_closed(L);
    }
    struct coro *coro = socket_check_owner(L, socket, "socket:send");
    if (socket_push_busy(L, socket, 1U << SOCKET_WRITING)) {
        return 2;
    }
    if (lua_toboolean(L, 3) != 0) {
        return go_on_sending(L, socket, coro);
    }
    if (lua_type(L, 2) != LUA_TSTRING) {
        return send_socket_list(L, socket, coro);
    }
    socket->sent = 0;
    return send_socket_text(L, socket, coro);
}

/* The rest. */

/* A timeout at index: a duration, but whatever a driver has calculated is taken. 0 and nil are the usual one. */
static uint32_t check_socket_timeout(lua_State *L, int index, const char *what)
{
    if (lua_isnoneornil(L, index)) {
        return SOCKET_TIMEOUT_MS;
    }
    double number = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
    if (number >= 1 && number <= UINT32_MAX) {
        return (uint32_t)number;
    }
    uint32_t ms = duration_check(L, index, what);
    return ms == 0 ? (uint32_t)SOCKET_TIMEOUT_MS : ms;
}

/* settimeouts(connect, send, read) */
static int socket_settimeouts(lua_State *L)
{
    struct script_socket *socket = socket_check(L, 1, "socket:settimeouts");
    socket->connect_ms = check_socket_timeout(L, 2, "socket:settimeouts");
    socket->send_ms = check_socket_timeout(L, 3, "socket:settimeouts");
    socket->read_ms = check_socket_timeout(L, 4, "socket:settimeouts");
    return 0;
}

/* settimeout(time, what): app.connect says what it is in errors. */
static int socket_settimeout(lua_State *L)
{
    struct script_socket *socket = socket_check(L, 1, "socket:settimeout");
    const char *what = lua_type(L, 3) == LUA_TSTRING ? lua_tostring(L, 3) : "socket:settimeout";
    uint32_t ms = check_socket_timeout(L, 2, what);
    socket->connect_ms = socket->send_ms = socket->read_ms = ms;
    return 0;
}

static int push_unread_data(lua_State *L)
{
    lua_pushnil(L);
    lua_pushliteral(L, "unread data in buffer");
    return 2;
}

/* setkeepalive(idle, size): 1, or nil and a text. */
static int socket_setkeepalive(lua_State *L)
{
    lua_settop(L, 3);
    struct script_socket *socket = socket_check(L, 1, "socket:setkeepalive");
    uint32_t idle_ms = lua_isnil(L, 2) ? (uint32_t)KEPT_IDLE_MS : duration_check(L, 2, "socket:setkeepalive");
    double size = lua_isnil(L, 3) ? socket->pool_size : lua_isnumber(L, 3) ? lua_tonumber(L, 3) : 0;
    if (!(size >= 1 && size <= POOL_SIZE_MAX)) {
        script_raise(L, "socket:setkeepalive: 1 to %d connections expected, got %s", (int)POOL_SIZE_MAX,
                     lua_isnumber(L, 3) ? lua_tostring(L, 3) : luaL_typename(L, 3));
    }
    if (socket->link == NULL || socket->is_read_closed || socket->end != 0) {
        return push_socket_closed(L);
    }
    (void)socket_check_owner(L, socket, "socket:setkeepalive");
    if (socket_push_busy(L, socket, ~0U)) {
        return 2;
    }
    if (write_buffer_len(&socket->input) > 0) {
        return push_unread_data(L);
    }
    struct script *script = socket->script;
    char *pool = socket->pool;
    socket->pool = NULL; /* socket_detach() would free it */
    int rv = kept_links_put(&script->outbound->kept, pool, socket->pool_len, socket_detach(socket), socket->reused,
                            idle_ms, (unsigned)size);
    mem_free(pool);
    if (rv == -EPIPE) {
        return push_socket_closed(L);
    }
    if (rv == -EBADMSG) {
        return push_unread_data(L);
    }
    lua_pushinteger(L, 1); /* else it is closed, which costs the next one a connection */
    return 1;
}

static int socket_getreusedtimes(lua_State *L)
{
    const struct script_socket *socket = socket_check(L, 1, "socket:getreusedtimes");
    if (socket->link == NULL) {
        return push_socket_closed(L);
    }
    lua_pushinteger(L, (lua_Integer)socket->reused);
    return 1;
}

static int lua_socket_close(lua_State *L)
{
    struct script_socket *socket = socket_check(L, 1, "socket:close");
    if (socket->link == NULL) {
        return push_socket_closed(L);
    }
    (void)socket_check_owner(L, socket, "socket:close");
    if (socket_push_busy(L, socket, ~0U)) {
        return 2;
    }
    socket_close(socket);
    lua_pushinteger(L, 1);
    return 1;
}

void bind_socket(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"new_socket", new_socket},
        {"socket_collect", socket_collect},
        {"socket_connect", socket_connect},
        {"socket_send", socket_send},
        {"socket_settimeout", socket_settimeout},
        {"socket_settimeouts", socket_settimeouts},
        {"socket_setkeepalive", socket_setkeepalive},
        {"socket_getreusedtimes", socket_getreusedtimes},
        {"socket_close", lua_socket_close},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
    bind_socket_receive(L);
    bind_socket_tls(L);
}
