/* Happy path: the protocol knows; what is around it, the connection says. */

#include "http/conn_doing.h"

#include "core/log.h"
#include "core/net_address.h"
#include "http/conn_pool.h"
#include "http/conn_protocol.h"
#include "http/service.h"

const char *conn_doing(const struct conn *conn)
{
    return conn->state != CONN_OPEN     ? "while closing"
           : conn->transport.is_opening ? "in the TLS handshake"
           : conn->work == NULL         ? "while idle"
                                        : conn->protocol->doing(conn);
}

void conn_log(const struct conn *conn, const char *what, const char *why)
{
    const struct log *log = conn->pool->service->log;
    if (log_is_on(log, LOG_DEBUG)) {
        char client[NET_TEXT_MAX];
        peer_format(&conn->peer, client, sizeof client);
        const struct log_subject subject = {.client = client, .place = what};
        log_write_about(log, LOG_DEBUG, &subject, "connection %s%s%s %s", what, why == NULL ? "" : ": ",
                        why == NULL ? "" : why, conn_doing(conn));
    }
}

void conn_lost(struct conn *conn, const char *why)
{
    stat_add(&conn->pool->service->stats.lost, 1);
    conn_log(conn, "lost", why);
}
