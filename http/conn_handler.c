/* A handler that is waited for: its client may leave, its time may be over, and the server may stop.
 *
 * In each case the handler is told by a call of its own, from the event loop: never inside a function that the handler has
 * called. */

#include "http/conn_handler.h"

#include "core/log.h"
#include "http/conn.h"
#include "http/conn_deadline.h"
#include "http/conn_io.h"
#include "http/outcome.h"
#include "http/server_internal.h"

#include <inttypes.h>

void conn_tell_gone(struct exchange *exchange)
{
    void (*on_gone)(struct exchange * exchange) = exchange->on_gone;
    exchange->on_drain = NULL;
    exchange->on_data = NULL;
    exchange->on_stopping = NULL;
    exchange->on_gone = NULL;
    exchange->wants_body = false;
    if (on_gone != NULL) {
        on_gone(exchange);
    }
}

bool conn_waits_for_handler(const struct conn *conn)
{
    const struct exchange *exchange = conn->exchange;
    return conn->state == CONN_PROCESSING && exchange->is_served && exchange->response_state < RESPONSE_COMPLETE &&
           !exchange->is_stalled && conn_waits_for(conn) == WAIT_HANDLER;
}

bool conn_is_left(const struct conn *conn)
{
    return !conn->exchange->outlives_end && conn_waits_for_handler(conn);
}

/* What the handler says when it is told is not sent. Bytes that nobody has read would make the close a reset, which could
 * take the answers before this one away from the client (RFC 9112 section 9.6); so they are read, unless the answer must
 * end with a reset. */
enum advance conn_close_left(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    (void)conn_lost(conn, "the client shut its side");
    conn_tell_gone(exchange);
    write_buffer_consume(&exchange->out, SIZE_MAX);
    response_release_body(exchange);
    if (exchange->is_watched) {
        outcome_end(exchange, OUTCOME_GONE);
    }
    if (exchange->ends_with_close) {
        return ADVANCE_CLOSE;
    }
    conn->state = CONN_CLOSING;
    return conn_linger(conn);
}

/* Say which handler is late: its route and the place of that, or the host's hook and the path. */
static void log_late(const struct exchange *exchange, const char *what, uint64_t late_ms, const char *limit)
{
    const struct route *route = exchange_route(exchange);
    const struct log *log = exchange->service->log;
    if (route != NULL) {
        log_write(log, LOG_WARN, "route %s (%s): %s %" PRIu64 " ms (%s)", route->pattern, route->where, what, late_ms,
                  limit);
    } else {
        const char *name = exchange->handler->name == NULL ? "no route" : exchange->handler->name;
        log_write(log, LOG_WARN, "%s, for %s: %s %" PRIu64 " ms (%s)", name, exchange->path, what, late_ms, limit);
    }
}

bool conn_replace_handler(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    if (exchange->response_state != RESPONSE_NONE) {
        log_late(exchange, "cut, since its stream wrote nothing for", exchange->limits->stream_timeout_ms,
                 "stream_timeout");
        return false;
    }
    bool is_before = exchange->handler == &conn->server->service.before_handler;
    log_late(exchange,
             is_before ? "503, since it returned 1 and did not answer within"
                       : "503, since its handler did not answer within",
             exchange->limits->handler_timeout_ms, "handler_timeout");
    exchange->response_state = RESPONSE_ABORTED; /* what the handler says when it is told is not sent */
    conn_tell_gone(exchange);
    exchange->response_state = RESPONSE_NONE;
    response_error(exchange, 503, NULL); /* now nobody but the host's page for errors has to do with the exchange */
    return true;
}

void conn_announce_stop(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    if (exchange != NULL && exchange->on_stopping != NULL && conn->state == CONN_PROCESSING && exchange->is_served &&
        exchange->response_state < RESPONSE_COMPLETE && exchange_should_end(exchange)) {
        exchange->on_stopping(exchange);
    }
}
