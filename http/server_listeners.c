/* Which listeners a running server has: a reload may change that.
 *
 * Failure modes: whoever opens new ones learns of failures there. Nothing here can fail. */

#include "http/server_internal.h"

#include "core/mem.h"
#include "core/transport.h"
#include "http/server.h"

#include <string.h>

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

void server_settle_listeners(struct server *server, uint32_t gone)
{
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
