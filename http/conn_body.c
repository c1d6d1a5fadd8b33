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
#include <string.h>

/* Hand len bytes of content on. Returns 0, or an HTTP status that refuses them. */
static int take_body_content(struct conn *conn, const char *data, size_t len)
{
    struct exchange *exchange = conn->exchange;
    conn->has_received = true;
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
    int status = is_whole || len == 0 ? 0 : take_body_content(conn, input_data(exchange), len);
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
        int status = piece.len == 0 ? 0 : take_body_content(conn, data + piece.offset, piece.len);
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

/* Take framing off the chunks in the input until all that is there of their content, at most BODY_PIECE_MAX, lies at the
 * start of the input in one piece. Returns its length. A client may send chunks of a byte: each byte is moved twice at
 * most. */
static size_t find_chunks(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    char *first = NULL; /* where the content is gathered */
    size_t found = 0;
    while (input_len(exchange) > 0 && found < BODY_PIECE_MAX && !exchange->body_done) {
        size_t used = 0;
        struct slice piece = {0};
        char *data = exchange->input.data + exchange->input.start;
        size_t room = BODY_PIECE_MAX - found;
        enum parse_verdict verdict = parse_chunked(&exchange->chunk, conn_limits(conn), data,
                                                   input_len(exchange) < room ? input_len(exchange) : room, &used,
                                                   &piece);
        if (verdict == PARSE_ERROR) {
            if (found == 0) { /* else the parser says so again when what came before is taken */
                conn_fail_body(conn, exchange->chunk.status, exchange->chunk.reason);
            }
            break;
        }
        exchange->body_done = verdict == PARSE_COMPLETE;
        input_consume(exchange, used);
        if (piece.len > 0 && found == 0) {
            first = data + piece.offset;
        } else if (piece.len > 0 && first + found != data + piece.offset) {
            memmove(first + found, data + piece.offset, piece.len);
        }
        found += piece.len;
    }
    if (found > 0) {
        char *start = exchange->input.data + exchange->input.start - found;
        if (start != first) {
            memmove(start, first, found);
        }
        exchange->input.start -= (uint32_t)found;
    }
    return found;
}

static size_t find_sized(struct exchange *exchange)
{
    size_t len = input_len(exchange) < BODY_PIECE_MAX ? input_len(exchange) : BODY_PIECE_MAX;
    len = len < exchange->body_left ? len : (size_t)exchange->body_left;
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
    size_t len = exchange->head.chunked ? find_chunks(conn) : find_sized(exchange);
    if (len == 0) {
        return;
    }
    conn->has_received = true;
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

void exchange_unread_body(struct exchange *exchange, size_t len)
{
    assert(exchange->piece_len == 0 && len <= exchange->input.start);
    exchange->input.start -= (uint32_t)len;
    exchange->piece_len = (uint32_t)len;
}

int exchange_collect_body(struct exchange *exchange)
{
    struct write_buffer *block = &exchange->body_block;
    const char *data = NULL;
    size_t len = 0;
    int rv = BODY_END;
    if (exchange->body != NULL) {
        return BODY_END;
    }
    while ((rv = exchange_read_body(exchange, &data, &len)) == BODY_DATA) {
        if (exchange->body_done && write_buffer_len(block) == 0) { /* all in one piece: used where it lies */
            exchange->body = data;
            exchange->body_len = len;
            return BODY_END;
        }
        if (write_buffer_append(block, data, len, exchange->limits->max_body_bytes) < 0) {
            conn_fail_body(exchange->conn, 503, "out of memory");
        }
    }
    if (rv == BODY_END && write_buffer_len(block) > 0) {
        exchange->body = write_buffer_data(block);
        exchange->body_len = write_buffer_len(block);
    }
    return rv;
}

void exchange_forget_body(struct exchange *exchange)
{
    exchange->body = NULL;
    exchange->body_len = 0;
    write_buffer_done(&exchange->body_block);
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
