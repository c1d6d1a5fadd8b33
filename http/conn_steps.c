/* What a connection does in each of its states, up to the next one: conn_advance() of conn.c takes these steps.
 *
 * Happy path: conn_read_head() parses and routes, conn_read_body() collects, conn_process() calls the handler,
 * conn_write_response() leaves the answer in the queue and begins the next request.
 *
 * Failure modes: a request that is refused has its answer and closes the connection, because the framing of what follows
 * is in doubt; an answer that cannot be completed is cut. */

#include "http/conn_steps.h"

#include "core/log.h"
#include "core/sys.h"
#include "http/conn.h"
#include "http/conn_body.h"
#include "http/conn_deadline.h"
#include "http/conn_handler.h"
#include "http/conn_io.h"
#include "http/dispatch.h"
#include "http/outcome.h"
#include "http/response_refs.h"
#include "http/server_internal.h"
#include "http/url.h"

#include <errno.h>
#include <string.h>

bool conn_wants_body(const struct exchange *exchange)
{
    return exchange != NULL && exchange->wants_body && exchange->response_state < RESPONSE_COMPLETE;
}

const char *conn_doing(const struct conn *conn)
{
    switch ((enum conn_state)conn->state) {
    case CONN_READING_HEADERS:
        return conn->exchange == NULL ? "while idle" : "while reading request headers";
    case CONN_READING_BODY:
        return "while reading the request body";
    case CONN_PROCESSING:
        return conn_wants_body(conn->exchange) ? "while reading the request body" : "while a handler was at work";
    case CONN_WRITING_RESPONSE:
        return "while sending the response";
    case CONN_CLOSING:
        break;
    }
    return "while closing";
}

enum advance conn_lost(struct conn *conn, const char *why)
{
    stat_add(&conn->server->service.stats.lost, 1);
    log_write(conn->server->service.log, LOG_DEBUG, "connection lost: %s %s", why, conn_doing(conn));
    return ADVANCE_CLOSE;
}

/* The answer cannot be completed. What is queued still goes, as far as the socket takes it: the answers before this one,
 * and so much of this one that the client sees it end too early. */
static enum advance conn_cut(struct conn *conn, const char *why)
{
    (void)conn_flush(conn);
    conn->end = OUTCOME_ABORTED;
    return conn_lost(conn, why);
}

/* Requests. */

enum advance conn_refuse(struct conn *conn, int status, const char *detail)
{
    struct exchange *exchange = conn->exchange;
    exchange->keep_alive = false;
    conn->has_unread = true;
    if (conn->state == CONN_READING_HEADERS) { /* else begin_request() knows */
        exchange->head_only = parser_has_head_method(&exchange->parser, &exchange->head, input_data(exchange));
    }
    if (status == 413 || status == 503) { /* else the request's end is not known, or it has no path */
        response_error(exchange, status, detail);
    } else {
        response_error_plain(exchange, status, detail);
    }
    conn->state = CONN_WRITING_RESPONSE;
    return ADVANCE_ON;
}

void conn_start_request(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    parser_reset(&exchange->parser);
    memset(exchange->head.first, 0, sizeof exchange->head.first);
    exchange->head.field_count = 0;
    exchange->match.allowed = 0;
    exchange->head.minor_version = 1; /* until the request says otherwise */
    exchange->head_data = NULL;
    exchange->handler = NULL;
    exchange->limits = &exchange->site->limits;
    exchange->body = NULL;
    exchange->body_len = 0;
    exchange->body_left = 0;
    exchange->body_taken = 0;
    exchange->body_since_ms = 0;
    exchange->body_waited_ms = 0;
    exchange->piece_len = 0;
    exchange->body_status = 0;
    exchange->body_reason = NULL;
    exchange->has_body = false;
    exchange->body_done = true;
    exchange->wants_body = false;
    exchange->awaits_continue = false;
    exchange->is_served = false;
    exchange->outlives_end = false;
    exchange->is_watched = conn->server->service.hooks.finished != NULL;
    exchange->is_timed = false;
    exchange->keep_alive = true;
    exchange->on_drain = NULL;
    exchange->on_data = NULL;
    exchange->on_gone = NULL;
    exchange->on_stopping = NULL;
    exchange->user = NULL;
}

/* The head is there: route it, and decide what becomes of the body. */
static enum advance begin_request(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    const struct head *head = &exchange->head;
    exchange->keep_alive = head->keep_alive && !conn->server->service.is_draining;
    exchange->head_only = head->method == METHOD_HEAD;
    exchange->has_body = head->chunked || head->content_length > 0;
    exchange->body_done = !exchange->has_body;
    exchange->body_left = head->content_length;
    exchange->awaits_continue = head->expect_continue && input_len(exchange) == 0;
    chunk_parser_reset(&exchange->chunk);

    conn->state = CONN_PROCESSING;
    if (head->is_asterisk) {
        dispatch_server_options(exchange);
    } else {
        const char *reason = NULL;
        ssize_t len = url_take_path(exchange_text(exchange, head->path), head->path.len, head->path_is_plain,
                                    exchange->path, (size_t)conn_limits(conn)->max_request_line_bytes, &reason);
        if (len < 0) {
            exchange->path[0] = '\0';
            exchange->path_len = 0;
            return conn_refuse(conn, (int)-len, reason);
        }
        exchange->path[len] = '\0';
        exchange->path_len = (uint32_t)len;
        dispatch_request(exchange);
    }

    if (!exchange->has_body) {
        return ADVANCE_ON;
    }
    if (exchange->handler == NULL || exchange->handler->body_mode == BODY_UNWANTED) {
        conn_plan_rest(exchange);
        return ADVANCE_ON;
    }
    if (head->content_length > conn_limits(conn)->max_body_bytes) {
        return conn_refuse(conn, 413, NULL);
    }
    if (exchange->handler->body_mode == BODY_STREAM) {
        return ADVANCE_ON;
    }
    if (exchange->awaits_continue) {
        exchange->awaits_continue = false;
        response_continue(exchange);
    }
    if (exchange->response_state == RESPONSE_ABORTED) {
        return conn_cut(conn, "out of memory");
    }
    conn->state = CONN_READING_BODY;
    return ADVANCE_ON;
}

/* The server serves another site since this connection's last request: the next one gets an exchange of that. */
static int renew_exchange(struct conn *conn)
{
    struct exchange *old = conn->exchange;
    struct exchange *fresh = server_take_exchange(conn->server);
    if (fresh == NULL) {
        return -ENOMEM;
    }
    fresh->conn = conn;
    fresh->peer = old->peer;
    fresh->listener = old->listener;
    fresh->input = old->input;
    fresh->out = old->out;
    fresh->turn_end_ns = old->turn_end_ns;
    old->input = (struct input){0};
    write_buffer_init(&old->out);
    conn->exchange = fresh;
    conn_start_request(conn);
    server_put_exchange(conn->server, old);
    return 0;
}

enum advance conn_read_head(struct conn *conn)
{
    bool is_stale = conn->exchange->site != conn->server->service.site && !parser_has_begun(&conn->exchange->parser);
    if (is_stale && renew_exchange(conn) < 0) {
        return conn_lost(conn, "out of memory");
    }
    struct exchange *exchange = conn->exchange;
    if (out_is_high(conn)) {
        int rv = conn_flush(conn);
        if (rv < 0) {
            return conn_lost(conn, errno_text(-rv));
        }
    }
    if (out_is_high(conn) || input_len(exchange) == 0) {
        return ADVANCE_WAIT;
    }
    if (exchange->is_watched && !parser_has_begun(&exchange->parser)) {
        outcome_begin(exchange);
    }
    switch (conn->server->parse_head(&exchange->parser, &exchange->head, conn_limits(conn), input_data(exchange),
                                     input_len(exchange))) {
    case PARSE_INCOMPLETE:
        return ADVANCE_WAIT;
    case PARSE_ERROR:
        log_write(conn->server->service.log, LOG_DEBUG, "bad request: %s", exchange->parser.reason);
        exchange->head.minor_version = 1;
        return conn_refuse(conn, exchange->parser.status, exchange->parser.reason);
    case PARSE_COMPLETE:
        break;
    }
    exchange->head_data = input_data(exchange);
    input_consume(exchange, exchange->head.len);
    return begin_request(conn);
}

enum advance conn_read_body(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    bool is_answered = exchange->response_state == RESPONSE_COMPLETE;
    int status = conn_take_body(conn);
    if (status != 0 && is_answered) {
        conn->has_unread = true;
        conn->state = CONN_CLOSING;
        return ADVANCE_ON;
    }
    if (status != 0) {
        return conn_refuse(conn, status, exchange->head.chunked ? exchange->chunk.reason : NULL);
    }
    if (!exchange->body_done) {
        return ADVANCE_WAIT;
    }
    if (is_answered) {
        conn->state = CONN_WRITING_RESPONSE;
        return ADVANCE_ON;
    }
    if (exchange->body == NULL && write_buffer_len(&exchange->body_block) > 0) {
        exchange->body = write_buffer_data(&exchange->body_block);
        exchange->body_len = write_buffer_len(&exchange->body_block);
    }
    conn->state = CONN_PROCESSING;
    return ADVANCE_ON;
}

/* Answers. */

enum advance conn_process(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    if (!exchange->is_served && exchange->response_state == RESPONSE_NONE) {
        if (out_is_high(conn)) { /* by a mark of the route's own: answers before this one must not fill its queue */
            int rv = conn_flush(conn);
            if (rv < 0) {
                return conn_lost(conn, errno_text(-rv));
            }
            if (out_is_high(conn)) {
                return ADVANCE_WAIT;
            }
        }
        exchange->is_served = true;
        if (exchange->handler != &conn->server->service.static_handler) {
            exchange_time_turn(exchange);
        }
        exchange->handler->serve(exchange, exchange->handler->ctx);
    } else if (conn_wants_body(exchange) && conn_has_body_news(conn)) {
        exchange->wants_body = false;
        if (exchange->on_data != NULL) {
            exchange->on_data(exchange);
        }
    } else if (exchange->is_stalled && response_refs_queued(exchange) <= conn_limits(conn)->write_high_mark_bytes / 2) {
        exchange->is_stalled = false;
        if (exchange->on_drain != NULL) {
            exchange->on_drain(exchange);
        }
    }
    if (exchange->on_stopping != NULL) {
        conn_announce_stop(conn);
    }
    switch (exchange->response_state) {
    case RESPONSE_COMPLETE:
        exchange->is_served = true;
        exchange->wants_body = false;
        conn_drop_piece(exchange);
        conn->state = CONN_WRITING_RESPONSE;
        return ADVANCE_ON;
    case RESPONSE_ABORTED:
        return conn_cut(conn, "the response could not be completed");
    case RESPONSE_NONE:
    case RESPONSE_STREAMING:
        break;
    }
    return ADVANCE_WAIT;
}

/* The exchange is over; what of its answer is still queued goes out with the answers that follow. */
static enum advance finish_exchange(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    bool keep_alive = exchange->keep_alive && !conn->server->service.is_draining;
    conn->has_unread = conn->has_unread || (!keep_alive && (input_len(exchange) > 0 || !exchange->body_done));
    if (conn->waits_for == WAIT_HEAD) {
        conn->waits_for = WAIT_IDLE; /* the next head has a deadline of its own */
    }
    if (exchange->is_timed) {
        exchange_stop_clock(exchange);
    }
    write_buffer_done(&exchange->body_block);
    response_reset(exchange);
    conn_start_request(conn);
    if (!keep_alive) {
        conn->state = CONN_CLOSING;
        return ADVANCE_ON;
    }
    conn->state = CONN_READING_HEADERS;
    return ++conn->turn_requests < PIPELINE_BUDGET ? ADVANCE_ON : ADVANCE_WAIT;
}

enum advance conn_write_response(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    if (exchange->response_state == RESPONSE_ABORTED) {
        return conn_cut(conn, "out of memory");
    }
    if (exchange->response_body.kind != BODY_NONE || out_is_high(conn) || exchange->is_watched) {
        int rv = conn_flush(conn);
        if (rv < 0) {
            return conn_lost(conn, errno_text(-rv));
        }
        if (exchange->response_body.kind != BODY_NONE || out_is_high(conn) ||
            (exchange->is_watched && out_len(exchange) > 0)) {
            return ADVANCE_WAIT;
        }
        if (exchange->is_watched) {
            outcome_end(exchange, OUTCOME_COMPLETE);
        }
    }
    conn_plan_rest(exchange);
    if (!exchange->body_done && exchange->keep_alive) {
        conn->state = CONN_READING_BODY;
        return ADVANCE_ON;
    }
    return finish_exchange(conn);
}

enum advance conn_linger(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    input_consume(exchange, input_len(exchange));
    if (conn->is_lingering) {
        return conn->is_at_end ? ADVANCE_CLOSE : ADVANCE_WAIT;
    }
    int rv = conn_flush(conn);
    if (rv < 0) {
        return conn_lost(conn, errno_text(-rv));
    }
    if (!out_is_empty(exchange)) {
        return ADVANCE_WAIT;
    }
    if (!conn->has_unread || conn->is_at_end || sys_shutdown_write(conn->fd) < 0) {
        return ADVANCE_CLOSE;
    }
    conn->is_lingering = true;
    return ADVANCE_WAIT;
}
