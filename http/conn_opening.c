/* Happy path: a step of a handshake, while the tick has time for it; one line for each connection that does not speak
 * what its listener does. */

#include "http/conn_opening.h"

#include "core/log.h"
#include "core/net_address.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/conn_pool.h"
#include "http/conn_protocol.h"
#include "http/service.h"

#include <stdio.h>

ssize_t conn_opening_read(struct conn *conn)
{
    struct conn_pool *pool = conn->pool;
    int64_t began_ns = sys_now_ns();
    ssize_t len = conn->protocol->read(conn);
    pool->handshakes_ns += sys_now_ns() - began_ns;
    return len;
}

bool conn_opening_has_time(struct conn *conn)
{
    struct conn_pool *pool = conn->pool;
    uint64_t tick = reactor_counts(pool->service->reactor).ticks;
    if (pool->handshakes_tick != tick) {
        pool->handshakes_tick = tick;
        pool->handshakes_ns = 0;
    }
    return !conn->transport.is_opening || pool->handshakes_ns < HANDSHAKES_NS;
}

static void say_failure(struct conn *conn, const char *why)
{
    if (conn_lines_take(&conn->pool->failed_handshakes)) {
        char peer[NET_TEXT_MAX];
        peer_format(&conn->peer, peer, sizeof peer);
        log_write(conn->pool->service->log, LOG_INFO, "TLS handshake with %s failed: %s", peer, why);
    }
}

void conn_opening_failed(struct conn *conn)
{
    const char *why = transport_failure(&conn->transport);
    if (why != NULL) {
        stat_add(&conn->pool->service->stats.lost, 1);
        say_failure(conn, why);
    }
}

void conn_opening_late(struct conn *conn)
{
    if (conn->transport.is_opening && transport_failure(&conn->transport) != NULL) {
        say_failure(conn, "the client did not finish it before header_timeout");
    }
}

/* The address that the client has reached: one of the listener's, if that has several. */
static void format_own_address(const struct conn *conn, char text[NET_TEXT_MAX])
{
    struct sockaddr_storage address = {.ss_family = AF_UNIX};
    socklen_t len = sizeof address;
    struct peer own;
    snprintf(text, NET_TEXT_MAX, "unix:");
    if (sys_socket_name(conn->transport.fd, (struct sockaddr *)&address, &len) < 0) {
        return;
    }
    if (address.ss_family == AF_UNIX) {
        net_address_format((struct sockaddr *)&address, len, text);
        return;
    }
    peer_init(&own, (struct sockaddr *)&address);
    peer_format(&own, text, NET_TEXT_MAX);
}

/* What to do about it: the way to HTTPS of this listener. */
static const char *listener_advice(const struct conn *conn)
{
    const struct service *service = conn->pool->service;
    if (conn->listener < 0) {
        return "";
    }
    bool redirects = (service->redirect.listeners >> conn->listener & 1) != 0;
    return redirects ? ", which only redirects to HTTPS" : ": add ?tls to its address";
}

void conn_opening_mistaken(struct conn *conn)
{
    if (!conn_lines_take(&conn->pool->mistaken)) {
        return;
    }
    char peer[NET_TEXT_MAX], own[NET_TEXT_MAX];
    peer_format(&conn->peer, peer, sizeof peer);
    format_own_address(conn, own);
    log_write(conn->pool->service->log, LOG_INFO, "the client %s speaks TLS, but %s is a plain HTTP listener%s", peer,
              own, listener_advice(conn));
}

void conn_opening_headless(struct conn *conn, const char *why, bool is_missing)
{
    stat_add(&conn->pool->service->stats.lost, 1);
    if (!conn_lines_take(&conn->pool->bad_headers)) {
        return;
    }
    char peer[NET_TEXT_MAX], own[NET_TEXT_MAX];
    peer_format(&conn->peer, peer, sizeof peer);
    format_own_address(conn, own);
    log_write(conn->pool->service->log, LOG_INFO, "PROXY header from %s to %s rejected: %s%s", peer, own, why,
              is_missing ? " (let the proxy send it, or remove ?proxy from the address)" : "");
}

void conn_opening_unexpected(struct conn *conn)
{
    if (!conn_lines_take(&conn->pool->bad_headers)) {
        return;
    }
    char peer[NET_TEXT_MAX], own[NET_TEXT_MAX];
    peer_format(&conn->peer, peer, sizeof peer);
    format_own_address(conn, own);
    log_write(conn->pool->service->log, LOG_INFO, "PROXY header from %s to %s rejected: %s", peer, own,
              conn->is_proxied ? "it is the second one of the connection"
                               : "the address does not expect one (add ?proxy to it)");
}
