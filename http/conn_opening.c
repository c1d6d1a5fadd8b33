/* Happy path: one line for each handshake that fails. */

#include "http/conn_opening.h"

#include "core/log.h"
#include "core/reactor.h"
#include "http/conn_pool.h"
#include "http/conn_protocol.h"
#include "http/service.h"

enum {
    OPENING_SPAN_MS = 10000, /* in which */
    OPENING_LINES = 5,       /* so many lines are written */
    PEER_TEXT_MAX = 64,
};

/* Whether there may be a line now. Says first how many there were not in the span before. */
static bool may_say(struct conn_pool *pool)
{
    int64_t now_ms = reactor_now_ms(pool->service->reactor);
    if (now_ms >= pool->failures_until_ms) {
        if (pool->failures > OPENING_LINES) {
            log_write(pool->service->log, LOG_INFO, "%u more TLS handshakes have failed",
                      pool->failures - OPENING_LINES);
        }
        pool->failures = 0;
        pool->failures_until_ms = now_ms + OPENING_SPAN_MS;
    }
    return ++pool->failures <= OPENING_LINES;
}

void conn_opening_failed(struct conn *conn)
{
    struct conn_pool *pool = conn->pool;
    const char *why = transport_failure(&conn->transport);
    if (why == NULL) {
        return;
    }
    stat_add(&pool->service->stats.lost, 1);
    if (may_say(pool)) {
        char peer[PEER_TEXT_MAX];
        peer_format(&conn->peer, peer, sizeof peer);
        log_write(pool->service->log, LOG_INFO, "TLS handshake with %s failed: %s", peer, why);
    }
}
