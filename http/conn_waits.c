/* Happy path: a connection with work asks its protocol; an idle one has idle_timeout, a handshake the time of a
 * head. */

#include "http/conn_waits.h"

#include "http/conn_pool.h"
#include "http/service.h"
#include "http/site.h"

enum {
    LINGER_MS = 2000,     /* how long a closing connection waits for the client's end */
    IDLE_LINGER_MS = 200, /* the same for one that a stop ends between requests: it has no response to lose */
};

enum wait conn_waits_for(const struct conn *conn)
{
    if (conn->state == CONN_LINGERING) {
        return WAIT_LINGER;
    }
    if (conn->transport.is_opening) {
        return WAIT_HEAD;
    }
    return conn->work == NULL ? WAIT_IDLE : conn->protocol->waits_for(conn);
}

int64_t conn_deadline_ms(const struct conn *conn, enum wait waits_for, int64_t now_ms)
{
    if (waits_for == WAIT_LINGER) {
        return now_ms + (conn->ends_idle ? IDLE_LINGER_MS : LINGER_MS);
    }
    if (conn->work != NULL) {
        return conn->protocol->deadline_ms(conn, waits_for, now_ms);
    }
    const struct limits *limits = &conn->pool->service->site->limits;
    uint64_t wait_ms = waits_for == WAIT_IDLE ? limits->idle_timeout_ms : limits->header_timeout_ms;
    return wait_ms == 0 ? DEADLINE_NEVER : now_ms + (int64_t)wait_ms;
}

void conn_count_timeout(const struct conn *conn, enum wait waits_for, uint64_t n)
{
    static const enum timeout_kind kinds[] = {
        [WAIT_IDLE] = TIMEOUT_IDLE,       [WAIT_HEAD] = TIMEOUT_HEAD,   [WAIT_BODY] = TIMEOUT_BODY,
        [WAIT_HANDLER] = TIMEOUT_HANDLER, [WAIT_WRITE] = TIMEOUT_WRITE, [WAIT_LINGER] = TIMEOUT_LINGER,
        [WAIT_QUIET] = TIMEOUT_IDLE}; /* a client that says nothing at all */
    _Static_assert(sizeof kinds / sizeof kinds[0] == TIMEOUT_KINDS + 1, "each wait but one has a kind of its own");
    struct server_stats *stats = &conn->pool->service->stats;
    stat_add(&stats->timeouts, n);
    stat_add(&stats->timeouts_by[kinds[waits_for]], n);
}
