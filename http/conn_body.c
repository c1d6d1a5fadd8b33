/* Request bodies (RFC 9112 section 6): from the input to the handler, or to nowhere.
 *
 * A body that is collected or discarded is taken from the input as it comes (conn_take_body). One that the handler takes
 * itself stays in the input: find_piece() strips the framing in front of the next content, and nothing more is read from
 * the socket before that is taken and more is asked for. */

#include "http/conn_body.h"

#include "http/conn_io.h"
#include "http/server_internal.h"

#include <assert.h>
#include <errno.h>

/* Hand len bytes of content on. Returns 0, or an HTTP status that refuses them. */
static int take_content(struct conn *conn, const char *data, size_t len)
{
    struct exchange *exchange = conn->exchange;
    conn->has_progress = true;
    exchange->body_taken += len;
    if (exchange->is_served || exchange->handler == NULL) { /* answered already: discard */
        exchange->body_len += len;
        return exchange->body_len > conn_limits(conn)->max_drain_bytes ? 413 : 0;
    }
    int rv = write_buffer_append(&exchange->body_block, data, len, conn_limits(conn)->max_body_bytes);
    return rv == 0 ? 0 : rv == -ENOBUFS ? 413 : 503;
}

static int take_sized_body(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    size_t len = input_len(exchange) < exchange->body_left ? input_len(exchange) : (size_t)exchange->body_left;
    bool is_whole = len == exchange->head.content_length && !exchange->is_served && exchange->handler != NULL;
    if (is_whole) { /* all in one piece: used where it lies */
        exchange->body = input_data(exchange);
        exchange->body_len = len;
    }
    int status = is_whole || len == 0 ? 0 : take_content(conn, input_data(exchange), len);
    input_consume(exchange, len);
    exchange->body_left -= len;
    exchange->body_done = exchange->body_left == 0;
    return status;
}

static int take_chunked_body(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    while (input_len(exchange) > 0) {
        size_t used = 0;
        struct slice piece = {0};
        const char *data = input_data(exchange);
        enum parse_verdict verdict = parse_chunked(&exchange->chunk, conn_limits(conn), data, input_len(exchange),
                                                   &used, &piece);
        if (verdict == PARSE_ERROR) {
            return exchange->chunk.status;
        }
        int status = piece.len == 0 ? 0 : take_content(conn, data + piece.offset, piece.len);
        input_consume(exchange, used);
        if (status != 0) {
            return status;
        }
        if (verdict == PARSE_COMPLETE) {
            exchange->body_done = true;
            return 0;
        }
    }
    return 0;
}

/* Bodies that handlers take themselves. */

void conn_fail_body(struct conn *conn, int status, const char *reason)
{
    struct exchange *exchange = conn->exchange;
    exchange->body_status = status;
    exchange->body_reason = reason;
    exchange->keep_alive = false;
    conn->has_unread = true;
}

/* Take framing off until content lies at the start of the input. Returns how much, 0 when there is none. */
static size_t find_chunk(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    while (input_len(exchange) > 0) {
        size_t used = 0;
        struct slice piece = {0};
        enum parse_verdict verdict = parse_chunked(&exchange->chunk, conn_limits(conn), input_data(exchange),
                                                   input_len(exchange), &used, &piece);
        if (verdict == PARSE_ERROR) {
            conn_fail_body(conn, exchange->chunk.status, exchange->chunk.reason);
            return 0;
        }
        input_consume(exchange, used - piece.len);
        if (piece.len > 0) {
            return piece.len;
        }
        if (verdict == PARSE_COMPLETE) {
            exchange->body_done = true;
            return 0;
        }
    }
    return 0;
}

static size_t find_sized(struct exchange *exchange)
{
    size_t len = input_len(exchange) < exchange->body_left ? input_len(exchange) : (size_t)exchange->body_left;
    exchange->body_left -= len;
    exchange->body_done = exchange->body_left == 0;
    return len;
}

/* See what the input has: a piece, the end, or a fault. */
static void find_piece(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    if (exchange->piece_len > 0 || exchange->body_done || exchange->body_status != 0) {
        return;
    }
    size_t len = exchange->head.chunked ? find_chunk(conn) : find_sized(exchange);
    if (len == 0) {
        return;
    }
    conn->has_progress = true;
    exchange->piece_len = (uint32_t)len;
    exchange->body_taken += len;
    if (exchange->body_taken > conn_limits(conn)->max_body_bytes) {
        conn_drop_piece(exchange);
        conn_fail_body(conn, 413, NULL);
    }
}

bool conn_has_body_news(struct conn *conn)
{
    const struct exchange *exchange = conn->exchange;
    find_piece(conn);
    return exchange->piece_len > 0 || exchange->body_done || exchange->body_status != 0;
}

void conn_drop_piece(struct exchange *exchange)
{
    input_consume(exchange, exchange->piece_len);
    exchange->piece_len = 0;
}

int exchange_read_body(struct exchange *exchange, const char **data, size_t *len)
{
    struct conn *conn = exchange->conn;
    assert(exchange->handler->body_mode == BODY_STREAM);
    find_piece(conn);
    if (exchange->piece_len > 0) {
        *data = input_data(exchange);
        *len = exchange->piece_len;
        conn_drop_piece(exchange);
        return BODY_DATA;
    }
    if (exchange->body_status != 0) {
        return -exchange->body_status;
    }
    if (exchange->body_done) {
        return BODY_END;
    }
    if (!exchange->wants_body) {
        exchange->wants_body = true;
        if (exchange->awaits_continue && exchange->response_state == RESPONSE_NONE) {
            exchange->awaits_continue = false;
            response_continue(exchange);
        }
        conn_resume(conn); /* to ask the reactor for what the client sends */
    }
    return BODY_WAIT;
}

void conn_plan_rest(struct exchange *exchange)
{
    if (!exchange->has_body || exchange->body_done) {
        return;
    }
    bool is_cheap = exchange->head.chunked || exchange->body_left <= conn_limits(exchange->conn)->max_drain_bytes;
    if (!is_cheap || exchange->awaits_continue) {
        exchange->keep_alive = false;
        exchange->conn->has_unread = true;
    }
}

int conn_take_body(struct conn *conn)
{
    return conn->exchange->head.chunked ? take_chunked_body(conn) : take_sized_body(conn);
}
