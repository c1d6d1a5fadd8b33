/* Which listeners a running server has: a reload may change that.
 *
 * Failure modes: whoever opens new ones learns of failures there. Without memory for a timer, idle connections of a
 * closed listener end by their own deadlines. */

#include "http/server_internal.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/transport.h"
#include "http/exchange.h"
#include "http/server.h"
#include "http/site.h"

#include <string.h>

enum {
    ENDING_NEXT_MS = 1,      /* after which the rest of the idle connections are ended, if they are many */
    ENDING_AGAIN_MS = 10000, /* after which those are looked at that had a request under way */
};

static bool is_open(const struct server *server, unsigned number)
{
    return server->listeners[number].fd >= 0;
}

int server_find_listener(const struct server *server, const char *address, uint32_t taken)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        bool is_free = (taken >> i & 1) == 0 && is_open(server, i) && server->asked[i] != NULL;
        if (is_free && strcmp(server->asked[i], address) == 0) {
            return (int)i;
        }
    }
    return SERVER_NO_LISTENER;
}

const char *server_listener_text(const struct server *server, unsigned listener)
{
    return listener < server->listener_count ? server->asked[listener] : NULL;
}

uint32_t server_open_listeners(const struct server *server)
{
    uint32_t open = 0;
    for (unsigned i = 0; i < server->listener_count; i++) {
        open |= is_open(server, i) ? UINT32_C(1) << i : 0;
    }
    return open;
}

bool server_has_closed(const struct server *server, unsigned listener)
{
    return (atomic_load(&server->gone_listeners) >> listener & 1) != 0;
}

unsigned server_count_listeners(const struct server *server)
{
    return server->listener_count;
}

void server_hold_listeners(struct server *server, unsigned number)
{
    for (unsigned i = number; i < server->listener_count; i++) {
        net_listener_pause(&server->listeners[i]);
    }
}

/* The port to redirect to is that of the first TLS listener that is open. */
static void find_https_port(struct server *server)
{
    struct https_redirect *redirect = &server->service.redirect;
    redirect->port = 0;
    for (unsigned i = 0; i < server->listener_count && redirect->port == 0; i++) {
        bool is_tls = is_open(server, i) && server->accepters[i].ops == &tls_transport_ops;
        redirect->port = is_tls && server->listeners[i].port > 0 ? (uint16_t)server->listeners[i].port : 0;
    }
}

/* Not service_ends(): once a stop is announced, that is true of all connections. */
static bool is_of_closed(const struct server *server, const struct conn *conn)
{
    return conn->listener != LISTENER_NONE && server_has_closed(server, (unsigned)conn->listener);
}

/* End those connections of closed listeners that are idle, for DRAIN_SPELL_NS at most. Returns after how many
 * milliseconds to go on, 0 if none is left. */
static uint32_t end_some(struct server *server)
{
    int64_t end_ns = sys_now_ns() + DRAIN_SPELL_NS;
    bool is_any_left = false;
    for (struct conn *conn = server->pool.conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->state != CONN_OPEN || !is_of_closed(server, conn)) {
            continue;
        }
        if (sys_now_ns() >= end_ns) {
            return ENDING_NEXT_MS;
        }
        is_any_left = is_any_left || !conn_is_idle(conn);
        conn_retire(conn);
    }
    return is_any_left ? ENDING_AGAIN_MS : 0;
}

static void on_ending_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct server *server = arg;
    uint32_t next_ms = end_some(server);
    server->ending_timer = next_ms == 0 ? 0 : reactor_set_timeout(reactor, next_ms, on_ending_timer, server);
}

/* Each connection of these listeners has a moment for the request that may be on its way. A stop does that for all. */
static void end_connections(struct server *server, uint32_t gone)
{
    struct service *service = &server->service;
    if (gone == 0 || service->is_stopping) {
        return;
    }
    service->ending_listeners |= gone;
    for (struct conn *conn = server->pool.conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->state == CONN_OPEN && is_of_closed(server, conn) && !conn_is_idle(conn)) {
            conn_drain(conn);
        }
    }
    if (server->ending_timer != 0) {
        reactor_cancel_timer(service->reactor, server->ending_timer);
    }
    uint32_t grace_ms = (uint32_t)service->site->limits.drain_grace_ms;
    server->ending_timer = reactor_set_timeout(service->reactor, grace_ms, on_ending_timer, server);
}

void server_settle_listeners(struct server *server, uint32_t gone)
{
    atomic_fetch_or(&server->gone_listeners, gone);
    end_connections(server, gone); /* first: what they still accept is answered below */
    for (unsigned i = 0; i < server->listener_count; i++) {
        if ((gone >> i & 1) != 0) {
            net_listener_finish(&server->listeners[i]);
        } else if (is_open(server, i) && server->listeners[i].paused) {
            net_listener_resume(&server->listeners[i]);
        }
    }
    find_https_port(server);
}

void server_drop_listeners(struct server *server, unsigned number)
{
    for (unsigned i = number; i < server->listener_count; i++) {
        net_listener_close(&server->listeners[i]);
        server->service.redirect.listeners &= ~(UINT32_C(1) << i);
    }
    server->listener_count = number < server->listener_count ? number : server->listener_count;
    find_https_port(server);
}
