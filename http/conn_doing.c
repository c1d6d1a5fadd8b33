/* Happy path: the protocol knows; what is around it, the connection says. */

#include "http/conn_doing.h"

#include "core/log.h"
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

void conn_lost(struct conn *conn, const char *why)
{
    stat_add(&conn->pool->service->stats.lost, 1);
    log_write(conn->pool->service->log, LOG_DEBUG, "connection lost: %s %s", why, conn_doing(conn));
}
