/* What scripts call of sockets for datagrams. Functions that may have to wait are in two parts, which the prelude puts
 * together: a C function cannot go on after a yield.
 *
 * Failure modes: what the network does comes back as nil and a text, in the words that OpenResty has for it; mistakes
 * of the script raise errors. */

#include "lua/bind_udp.h"

#include "core/ascii.h"
#include "core/datagram.h"
#include "core/log.h"
#include "core/sys.h"
#include "http/number.h"
#include "lua/coro.h"
#include "lua/duration.h"
#include "lua/object.h"
#include "lua/relay.h"
#include "lua/scratch.h"
#include "lua/script_error.h"
#include "lua/udp.h"
#include "lua/udp_name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

enum {
    UDP_PIECES_DEPTH = 32, /* tables within tables that send() takes */
    UDP_ERROR_MAX = 320,   /* bytes of an error text with its NUL */
};

/* nil and the text of an error, in lower case as OpenResty has it: "connection refused". */
static int push_udp_failure(lua_State *L, int error)
{
    char text[UDP_ERROR_MAX];
    const char *words = errno_text(-error);
    size_t len = 0;
    for (; words[len] != '\0' && len < sizeof text; len++) {
        text[len] = ascii_lower(words[len]);
    }
    lua_pushnil(L);
    lua_pushlstring(L, text, len);
    return 2;
}

static int push_udp_text(lua_State *L, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

/* The socket of the object at index 1. Raises for anything else; what is "udp:send". */
static struct script_udp *check_udp(lua_State *L, const char *what)
{
    const struct udp_handle *handle = object_check(L, 1, REF_UDP_META, sizeof *handle, what);
    struct script_udp *udp = udp_find(script_of(L), handle);
    if (udp == NULL) {
        script_raise(L, "%s: the socket is gone", what);
    }
    return udp;
}

/* new(): a socket that leads nowhere yet. */
static int lua_udp_new(lua_State *L)
{
    struct script *script = script_of(L);
    if (script->phase == SCRIPT_CLOSING) {
        script_raise(L, "app.udp: the script has ended");
    }
    if (lua_gettop(L) > 0) {
        script_raise(L, "app.udp: no arguments expected: udp:setpeername(host, port) says where datagrams go");
    }
    struct udp_handle *handle = lua_newuserdata(L, sizeof *handle);
    *handle = (struct udp_handle){.id = 0};
    script_push_ref(script, L, REF_UDP_META);
    lua_setmetatable(L, -2);
    struct script_udp *udp = udp_take(script);
    if (udp == NULL) {
        script_raise_memory(L);
    }
    *handle = (struct udp_handle){.index = udp->index, .id = udp->id};
    return 1;
}

/* The object is collected. */
static int udp_collect(lua_State *L)
{
    const struct udp_handle *handle = object_check_size(L, 1, sizeof *handle);
    struct script_udp *udp = handle == NULL ? NULL : udp_find(script_of(L), handle);
    if (udp != NULL) {
        udp_put(udp);
    }
    return 0;
}

/* Where it leads. */

/* Fill in the address of a unix socket. Returns its length, or 0 if the path cannot be one. */
static socklen_t fill_unix_peer(struct sockaddr_un *address, const char *path, size_t len)
{
    bool is_abstract = path[0] == '@';
    if (len == 0 || len >= sizeof address->sun_path || (is_abstract && len == 1) || strlen(path) != len) {
        return 0;
    }
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, len);
    if (is_abstract) {
        address->sun_path[0] = '\0';
    }
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (is_abstract ? 0 : 1));
}

/* Fill in the address of host, with or without brackets. Returns its length, or 0 if it is none. */
static socklen_t fill_udp_peer(struct sockaddr_storage *address, const char *host, size_t len, uint16_t port)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_in *ipv4 = (void *)address;
    struct sockaddr_in6 *ipv6 = (void *)address;
    bool has_brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    if (has_brackets) {
        host++;
        len -= 2;
    }
    if (len >= sizeof text) {
        return 0;
    }
    memcpy(text, host, len);
    text[len] = '\0';
    if (strcmp(text, "localhost") == 0) {
        strcpy(text, "127.0.0.1");
    }
    if (!has_brackets && inet_pton(AF_INET, text, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons(port);
        return sizeof *ipv4;
    }
    if (inet_pton(AF_INET6, text, &ipv6->sin6_addr) == 1) {
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons(port);
        return sizeof *ipv6;
    }
    return 0;
}

static uint16_t check_udp_port(lua_State *L, int index)
{
    double port = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
    if (!(port >= 1 && port <= 65535) || port != (double)(uint16_t)port) {
        script_raise(L, "udp:setpeername: a port from 1 to 65535 expected, got %s",
                     lua_type(L, index) == LUA_TNUMBER ? lua_tostring(L, index) : luaL_typename(L, index));
    }
    return (uint16_t)port;
}

/* connect(socket, host, port), connect(socket, "unix:path"): 1; nil and why not; nothing if host is a name. */
static int lua_udp_connect(lua_State *L)
{
    lua_settop(L, 3);
    struct script_udp *udp = check_udp(L, "udp:setpeername");
    if (lua_type(L, 2) != LUA_TSTRING) {
        script_raise(L, "udp:setpeername: an address such as \"127.0.0.1\" expected, got %s", luaL_typename(L, 2));
    }
    if (udp->question != NULL && udp->reader != NULL) {
        return push_udp_text(L, "socket busy connecting");
    }
    size_t len;
    const char *host = lua_tolstring(L, 2, &len);
    struct sockaddr_storage address = {0};
    socklen_t address_len;
    static const char unix_prefix[] = "unix:";
    size_t prefix_len = sizeof unix_prefix - 1;
    if (len >= prefix_len && memcmp(host, unix_prefix, prefix_len) == 0) {
        address_len = fill_unix_peer((void *)&address, host + prefix_len, len - prefix_len);
        if (address_len == 0) {
            script_raise(L, "udp:setpeername: the path of a unix socket has 1 to %d bytes",
                         (int)sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
        }
    } else {
        address_len = fill_udp_peer(&address, host, len, check_udp_port(L, 3));
    }
    if (address_len == 0) {
        return 0; /* a name: name() is next */
    }
    if (udp_is_early(udp->script)) {
        udp_open_later(udp, &address, address_len);
        lua_pushinteger(L, 1);
        return 1;
    }
    char err[UDP_ERROR_MAX];
    const struct destination to = {.address = (const struct sockaddr *)&address, .len = address_len};
    if (udp_open_peer(udp, &to, err, sizeof err) < 0) {
        return push_udp_text(L, err);
    }
    lua_pushinteger(L, 1);
    return 1;
}

/* name(socket, host, port): looks for the peer by its name: 1; nil and why not. When it had to wait, true or nil: then
 * named() says what has become of it; false when nobody wants to know any more. */
static int lua_udp_name(lua_State *L)
{
    char err[UDP_ERROR_MAX];
    lua_settop(L, 3);
    struct script_udp *udp = check_udp(L, "udp:setpeername");
    const char *name = script_check_text(L, 2, "udp:setpeername");
    uint16_t port = check_udp_port(L, 3);
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, "udp:setpeername");
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    int rv = udp_begin_naming(udp, coro, name, port, err, sizeof err);
    if (rv < 0) {
        return push_udp_text(L, err);
    }
    if (rv > 0) {
        lua_pushinteger(L, 1);
        return 1;
    }
    return coro_wait(L, coro, &udp_wait);
}

/* named(socket): 1; nil and why not. */
static int lua_udp_named(lua_State *L)
{
    char err[UDP_ERROR_MAX];
    struct script_udp *udp = check_udp(L, "udp:setpeername");
    if (udp_finish_naming(udp, err, sizeof err) < 0) {
        return push_udp_text(L, err);
    }
    lua_pushinteger(L, 1);
    return 1;
}

/* udp:settimeout(duration) */
static int udp_set_timeout(lua_State *L)
{
    struct script_udp *udp = check_udp(L, "udp:settimeout");
    udp->timeout_ms = duration_check(L, 2, "udp:settimeout");
    return 0;
}

/* udp:close(): 1; nil and "closed" if it is not open. */
static int udp_close_method(lua_State *L)
{
    struct script_udp *udp = check_udp(L, "udp:close");
    if (udp->fd < 0 && udp->later_len == 0) {
        return push_udp_text(L, "closed");
    }
    udp_close(udp);
    lua_pushinteger(L, 1);
    return 1;
}

/* Sending. */

static void put_udp_bytes(lua_State *L, struct write_buffer *out, const char *text, size_t len)
{
    int rv = write_buffer_append(out, text, len, DATAGRAM_BYTES_MAX);
    if (rv == -ENOBUFS) {
        script_raise(L, "udp:send: a datagram of more than %d bytes", (int)DATAGRAM_BYTES_MAX);
    }
    if (rv < 0) {
        script_raise_memory(L);
    }
}

/* Append the text, the number or the list of such at index, an absolute one. */
static void put_udp_piece(lua_State *L, struct write_buffer *out, int index, int depth)
{
    if (lua_type(L, index) == LUA_TSTRING) {
        size_t len;
        const char *text = lua_tolstring(L, index, &len);
        put_udp_bytes(L, out, text, len);
    } else if (lua_type(L, index) == LUA_TNUMBER) {
        char text[NUMBER_TEXT_MAX];
        put_udp_bytes(L, out, text, number_format(text, lua_tonumber(L, index)));
    } else if (lua_type(L, index) == LUA_TTABLE && depth < UDP_PIECES_DEPTH) {
        script_reserve_values(L, 2, "udp:send");
        if (table_is_record(L, index)) {
            script_raise(L, "udp:send: a list expected, got a table with named fields");
        }
        size_t count = lua_objlen(L, index);
        for (size_t i = 1; i <= count; i++) {
            lua_rawgeti(L, index, (int)i);
            put_udp_piece(L, out, lua_gettop(L), depth + 1);
            lua_pop(L, 1);
        }
    } else if (lua_type(L, index) == LUA_TTABLE) {
        script_raise(L, "udp:send: tables are nested more than %d deep", (int)UDP_PIECES_DEPTH);
    } else {
        script_raise(L, "udp:send: text, a number or a list of these expected, got %s", luaL_typename(L, index));
    }
}

/* The error that the reactor has taken from the socket, which is told once. */
static int take_udp_error(struct script_udp *udp)
{
    int error = udp->error;
    udp->error = 0;
    return error;
}

/* udp:send(data): 1; nil and why not. It never waits. */
static int udp_send(lua_State *L)
{
    lua_settop(L, 2);
    struct script_udp *udp = check_udp(L, "udp:send");
    char err[UDP_ERROR_MAX];
    int open_error = udp_open_now(udp, err, sizeof err);
    if (open_error < 0 && open_error != -EBADF) {
        return push_udp_text(L, err);
    }
    struct write_buffer *out = script_lend_scratch(L, "udp:send");
    put_udp_piece(L, out, 2, 0);
    ssize_t rv = udp->fd < 0 ? -EBADF : take_udp_error(udp);
    if (rv == 0) {
        size_t len = write_buffer_len(out);
        rv = sys_send(udp->fd, len == 0 ? "" : write_buffer_data(out), len, false);
    }
    script_return_scratch(L);
    if (rv == -EBADF) {
        return push_udp_text(L, "closed");
    }
    if (rv < 0) {
        return push_udp_failure(L, (int)rv);
    }
    lua_pushinteger(L, 1);
    return 1;
}

/* Receiving. */

static size_t check_udp_size(lua_State *L, int index)
{
    if (lua_isnil(L, index)) {
        return DATAGRAM_BYTES_MAX;
    }
    double size = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
    if (!(size >= 1)) {
        script_raise(L, "udp:receive: at least one byte expected, got %s",
                     lua_type(L, index) == LUA_TNUMBER ? lua_tostring(L, index) : luaL_typename(L, index));
    }
    return size < DATAGRAM_BYTES_MAX ? (size_t)size : DATAGRAM_BYTES_MAX;
}

/* receive(socket, size, goes_on): the datagram that is there, or its first size bytes; nil and why not; nil alone if
 * there is none, so that wait() is next. goes_on: the time of the call has begun before. */
static int lua_udp_receive(lua_State *L)
{
    lua_settop(L, 3);
    struct script_udp *udp = check_udp(L, "udp:receive");
    size_t size = check_udp_size(L, 2);
    char err[UDP_ERROR_MAX];
    int open_error = udp_open_now(udp, err, sizeof err);
    if (open_error < 0 && open_error != -EBADF) {
        return push_udp_text(L, err);
    }
    if (udp->fd < 0 && udp->later_len != 0) { /* too early: wait() says so */
        lua_pushnil(L);
        return 1;
    }
    if (udp->fd < 0) {
        return push_udp_text(L, "closed");
    }
    if (udp->reader != NULL) {
        return push_udp_text(L, "socket busy reading");
    }
    if (!lua_toboolean(L, 3)) {
        udp->end_ms = reactor_now_ms(udp->script->reactor) + udp->timeout_ms;
    }
    if (udp->turn >= UDP_TURN_MAX) {
        lua_pushnil(L);
        return 1;
    }
    struct write_buffer *buffer = script_lend_scratch(L, "udp:receive");
    char *room = write_buffer_reserve(buffer, size, DATAGRAM_BYTES_MAX, NULL);
    if (room == NULL) {
        script_raise_memory(L);
    }
    ssize_t got = sys_recv(udp->fd, room, size);
    if (got == -EAGAIN) {
        int error = take_udp_error(udp);
        got = error < 0 ? error : got;
    }
    if (got >= 0) {
        udp->turn++;
        lua_pushlstring(L, room, (size_t)got);
    }
    script_return_scratch(L);
    if (got == -EAGAIN) {
        lua_pushnil(L);
    } else if (got < 0) {
        return push_udp_failure(L, (int)got);
    }
    return 1;
}

/* wait(socket): true once there may be a datagram; nil if that takes longer than the call may; false when nobody wants
 * to know any more. */
static int lua_udp_wait(lua_State *L)
{
    lua_settop(L, 1);
    struct script_udp *udp = check_udp(L, "udp:receive");
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    struct coro *coro = coro_check_waiting(L, "udp:receive");
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (udp->fd < 0 || udp->reader != NULL) { /* since receive() looked: it looks again */
        lua_pushboolean(L, 1);
        return 1;
    }
    int rv = udp_begin_wait(udp, coro);
    if (rv == -ENOMEM) {
        script_raise_memory(L);
    }
    if (rv < 0) {
        script_raise(L, "udp:receive: %s", errno_text(-rv));
    }
    return coro_wait(L, coro, &udp_wait);
}

void bind_udp(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"send", udp_send},
        {"settimeout", udp_set_timeout},
        {"close", udp_close_method},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"udp_new", lua_udp_new},
        {"udp_connect", lua_udp_connect},
        {"udp_name", lua_udp_name},
        {"udp_named", lua_udp_named},
        {"udp_receive", lua_udp_receive},
        {"udp_wait", lua_udp_wait},
        {NULL, NULL},
    };
    object_set_methods(L, methods, "udp", REF_UDP_META);
    script_push_ref(script_of(L), L, REF_UDP_META);
    lua_pushcfunction(L, udp_collect);
    lua_setfield(L, -2, "__gc");
    lua_getfield(L, -1, "__index");
    lua_setfield(L, -3, "udp_methods");
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
