/* Happy path: the prelude asks for TLS on a socket that is connected; the coroutine waits for the end of the handshake.
 *
 * Failure modes: a certificate that is not good, and whatever else ends the handshake, closes the connection, and the
 * script gets the reason in plain words. Bytes that came before TLS are not from the server for certain, so a socket
 * that has some is closed, too. A kept connection that has TLS already is only good if that is what is asked for. */

#include "lua/socket_tls.h"

#include "core/ascii.h"
#include "core/link.h"
#include "core/sys.h"
#include "core/tls_client.h"
#include "core/tls_client_context.h"
#include "lua/relay.h"
#include "lua/script_error.h"
#include "lua/socket_error.h"
#include "lua/socket_object.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

enum { TLS_REASON = 9 }; /* index of the argument that says why a wait is over; nil: nobody has waited */

static int fail_tls(lua_State *L, struct script_socket *socket, const char *text)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    socket_close(socket);
    return 2;
}

static int push_tls_success(lua_State *L)
{
    lua_pushboolean(L, 1);
    return 1;
}

/* The wait for the handshake is over. */
static int finish_tls(lua_State *L, struct script_socket *socket, int reason)
{
    if (socket->link == NULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "closed");
        return 2;
    }
    if (reason < 0 || socket->is_connecting) {
        return fail_tls(L, socket, "timeout");
    }
    return socket->connect_error < 0 ? fail_tls(L, socket, link_failure(socket->link)) : push_tls_success(L);
}

static const char *text_or_null(lua_State *L, int index)
{
    return lua_isnoneornil(L, index) ? NULL : script_check_text(L, index, "TLS");
}

static bool is_text_in_pem(const char *text)
{
    return text != NULL && strstr(text, "-----BEGIN ") != NULL;
}

/* What the arguments of start_tls() say. */
static struct tls_client_settings read_tls_settings(lua_State *L, const struct script *script)
{
    const char *ca = text_or_null(L, 4), *cert = text_or_null(L, 5), *key = text_or_null(L, 6);
    return (struct tls_client_settings){
        .is_unverified = lua_toboolean(L, 3) == 0,
        .ca_file = is_text_in_pem(ca) ? NULL : ca,
        .ca_pem = is_text_in_pem(ca) ? ca : NULL,
        .cert_file = is_text_in_pem(cert) ? NULL : cert,
        .cert_pem = is_text_in_pem(cert) ? cert : NULL,
        .key_file = is_text_in_pem(key) ? NULL : key,
        .key_pem = is_text_in_pem(key) ? key : NULL,
        .alpn = text_or_null(L, 7),
        .min_version = text_or_null(L, 8),
        .base_fd = script->base_fd,
    };
}

/* Whether the connection, which has TLS, is good for what is asked for now: it may have been kept after a handshake
 * that asked for less. */
static bool tls_is_enough(const struct tls_info *info, const char *name, bool is_verified)
{
    bool was_verified = info->client_fingerprint[0] != '\0'; /* of the server, here; a subject may be empty */
    size_t len = name == NULL ? 0 : strlen(name);
    len -= len > 0 && name[len - 1] == '.';
    bool is_same = name == NULL || (strlen(info->server_name) == len && ascii_equals(info->server_name, name, len));
    return !is_verified || (was_verified && is_same);
}

/* start_tls(socket, name, is_verified, ca, cert, key, alpn, min_version, reason): true, or nil and a text. */
static int socket_start_tls(lua_State *L)
{
    char err[LINK_FAILURE_MAX];
    struct tls_info info;
    lua_settop(L, TLS_REASON);
    struct script_socket *socket = socket_check(L, 1, "socket:sslhandshake");
    if (!lua_isnil(L, TLS_REASON)) {
        return finish_tls(L, socket, (int)lua_tointeger(L, TLS_REASON));
    }
    if (socket->link == NULL) {
        lua_pushnil(L);
        lua_pushliteral(L, "closed");
        return 2;
    }
    struct coro *coro = socket_check_owner(L, socket, "socket:sslhandshake");
    if (socket_push_busy(L, socket, ~0U)) {
        return 2;
    }
    const struct tls_client_settings settings = read_tls_settings(L, socket->script);
    const char *host = socket->host[0] == '\0' ? NULL : socket->host;
    const struct link_tls tls = {.settings = &settings, .server_name = lua_isnil(L, 2) ? host : text_or_null(L, 2)};
    if (tls_client_get_info(link_transport(socket->link), &info)) {
        if (!tls_client_shows(link_transport(socket->link), &settings)) {
            return fail_tls(L, socket,
                            "this connection was kept after a handshake with another client certificate: "
                            "give it another pool");
        }
        return tls_is_enough(&info, tls.server_name, !settings.is_unverified)
                   ? push_tls_success(L)
                   : fail_tls(L, socket,
                              "this connection was kept after a handshake for another name, or without verification: "
                              "give it another pool");
    }
    if (write_buffer_len(&socket->input) > 0) {
        return fail_tls(L, socket,
                        "unread data in buffer: something came before TLS that the server may not have sent");
    }
    if (relay_is_needed(L)) {
        return relay_call(L);
    }
    (void)coro_check_waiting(L, "socket:sslhandshake");
    if (coro_is_unwanted(coro)) {
        return coro_say_gone(L, coro);
    }
    if (link_start_tls(socket->link, &tls, err, sizeof err) < 0) {
        return fail_tls(L, socket, err);
    }
    socket->is_connecting = true;
    socket->connect_error = 0;
    return socket_wait(L, socket, coro, SOCKET_READING, socket->connect_ms);
}

/* has_tls(socket): whether it has TLS, and is open. */
static int socket_has_tls(lua_State *L)
{
    struct tls_info info;
    const struct script_socket *socket = socket_check(L, 1, "app.connect");
    lua_pushboolean(L, socket->link != NULL && !socket->is_connecting &&
                           tls_client_get_info(link_transport(socket->link), &info));
    return 1;
}

/* setoption(socket, name, value): true, or nil and a text. */
static int socket_setoption(lua_State *L)
{
    static const struct {
        const char *name;
        int level, option;
    } options[] = {
        {"keepalive", SOL_SOCKET, SO_KEEPALIVE},   {"reuseaddr", SOL_SOCKET, SO_REUSEADDR},
        {"sndbuf", SOL_SOCKET, SO_SNDBUF},         {"rcvbuf", SOL_SOCKET, SO_RCVBUF},
        {"tcp-nodelay", IPPROTO_TCP, TCP_NODELAY},
    };
    const struct script_socket *socket = socket_check(L, 1, "socket:setoption");
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    int value = lua_type(L, 3) == LUA_TBOOLEAN ? lua_toboolean(L, 3) : (int)lua_tointeger(L, 3);
    int rv = -ENOPROTOOPT;
    for (size_t i = 0; socket->link != NULL && i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(name, options[i].name) == 0) {
            rv = sys_set_option(link_transport(socket->link)->fd, options[i].level, options[i].option, value);
        }
    }
    if (rv == 0) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    if (socket->link == NULL) {
        lua_pushliteral(L, "closed");
    } else if (rv == -ENOPROTOOPT) {
        lua_pushfstring(L, "unsupported option %s", name);
    } else {
        socket_push_error(L, rv);
    }
    return 2;
}

void bind_socket_tls(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"socket_start_tls", socket_start_tls},
        {"socket_has_tls", socket_has_tls},
        {"socket_setoption", socket_setoption},
        {NULL, NULL},
    };
    luaL_register(L, NULL, functions);
}
