/* Request bodies (RFC 9112 section 6): from the input to the handler, or to nowhere.
 *
 * A body that is collected or discarded is taken from the input as it comes (h1_take_body()). One that the handler
 * takes itself stays in the input: find_piece() strips the framing in front of the next content, and nothing more is
 * read from the socket before that is taken and more is asked for. */

#include "http/h1/h1_body.h"

#include "http/h1/h1.h"
#include "http/h1/h1_head.h"
#include "http/h1/h1_io.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Hand len bytes of content on. Returns 0, or an HTTP status that refuses them. */
static int take_body_content(struct h1 *h1, const char *data, size_t len)
{
    struct exchange *exchange = &h1->exchange;
    h1->conn->has_received = true;
    h1->body_taken += len;
    if (exchange->is_served || exchange->handler == NULL) { /* answered already: discard */
        exchange->body_len += len;
        return exchange->body_len > h1_limits(h1)->max_drain_bytes ? 413 : 0;
    }
    int rv = write_buffer_append(&exchange->body_block, data, len, h1_limits(h1)->max_body_bytes);
    return rv == 0 ? 0 : rv == -ENOBUFS ? 413 : 503;
}

static int take_sized_body(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    size_t len = input_len(h1) < h1->body_left ? input_len(h1) : (size_t)h1->body_left;
    bool is_whole = len == exchange->head.content_length && !exchange->is_served && exchange->handler != NULL;
    if (is_whole) { /* all in one piece: used where it lies */
        exchange->body = input_data(h1);
        exchange->body_len = len;
    }
    int status = is_whole || len == 0 ? 0 : take_body_content(h1, input_data(h1), len);
    input_consume(h1, len);
    h1->body_left -= len;
    exchange->is_body_read = h1->body_left == 0;
    return status;
}

static int take_chunked_body(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    while (input_len(h1) > 0) {
        size_t used = 0;
        struct slice piece = {0};
        const char *data = input_data(h1);
        enum parse_verdict verdict = parse_chunked(&h1->chunk, h1_limits(h1), data, input_len(h1), &used, &piece);
        if (verdict == PARSE_ERROR) {
            return h1->chunk.status;
        }
        int status = piece.len == 0 ? 0 : take_body_content(h1, data + piece.offset, piece.len);
        input_consume(h1, used);
        if (status != 0) {
            return status;
        }
        if (verdict == PARSE_COMPLETE) {
            exchange->is_body_read = true;
            return 0;
        }
    }
    return 0;
}

/* Bodies that handlers take themselves. */

void h1_fail_body(struct h1 *h1, int status, const char *reason)
{
    struct exchange *exchange = &h1->exchange;
    exchange->body_status = status;
    exchange->body_reason = reason;
    h1->closes = true;
    h1->conn->has_unread = true;
}

/* Take framing off the chunks in the input until all that is there of their content, at most BODY_PIECE_MAX, lies at
 * the start of the input in one piece. Returns its length. A client may send chunks of a byte: each byte is moved twice
 * at most. */
static size_t find_chunks(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    char *first = NULL; /* where the content is gathered */
    size_t found = 0;
    while (input_len(h1) > 0 && found < BODY_PIECE_MAX && !exchange->is_body_read) {
        size_t used = 0;
        struct slice piece = {0};
        char *data = h1->input.data + h1->input.start;
        size_t room = BODY_PIECE_MAX - found;
        enum parse_verdict verdict = parse_chunked(&h1->chunk, h1_limits(h1), data,
                                                   input_len(h1) < room ? input_len(h1) : room, &used, &piece);
        if (verdict == PARSE_ERROR) {
            if (found == 0) { /* else the parser says so again when what came before is taken */
                h1_fail_body(h1, h1->chunk.status, h1->chunk.reason);
            }
            break;
        }
        exchange->is_body_read = verdict == PARSE_COMPLETE;
        input_consume(h1, used);
        if (piece.len > 0 && found == 0) {
            first = data + piece.offset;
        } else if (piece.len > 0 && first + found != data + piece.offset) {
            memmove(first + found, data + piece.offset, piece.len);
        }
        found += piece.len;
    }
    if (found > 0) {
        char *start = h1->input.data + h1->input.start - found;
        if (start != first) {
            memmove(start, first, found);
        }
        h1->input.start -= (uint32_t)found;
    }
    return found;
}

static size_t find_sized(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    size_t len = input_len(h1) < BODY_PIECE_MAX ? input_len(h1) : BODY_PIECE_MAX;
    len = len < h1->body_left ? len : (size_t)h1->body_left;
    h1->body_left -= len;
    exchange->is_body_read = h1->body_left == 0;
    return len;
}

/* See what the input has: a piece, the end, or a fault. */
static void find_piece(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (h1->piece_len > 0 || exchange->is_body_read || exchange->body_status != 0) {
        return;
    }
    size_t len = exchange->head.chunked ? find_chunks(h1) : find_sized(h1);
    if (len == 0) {
        return;
    }
    h1->conn->has_received = true;
    h1->piece_len = (uint32_t)len;
    h1->body_taken += len;
    if (h1->body_taken > h1_limits(h1)->max_body_bytes) {
        h1_drop_piece(h1);
        h1_fail_body(h1, 413, NULL);
    }
}

bool h1_has_body_news(struct h1 *h1)
{
    const struct exchange *exchange = &h1->exchange;
    find_piece(h1);
    return h1->piece_len > 0 || exchange->is_body_read || exchange->body_status != 0 || h1_has_more_body(h1);
}

void h1_drop_piece(struct h1 *h1)
{
    input_consume(h1, h1->piece_len);
    h1->piece_len = 0;
}

int h1_read_body(struct exchange *exchange, const char **data, size_t *len)
{
    struct h1 *h1 = h1_of(exchange);
    assert(exchange->handler->body_mode == BODY_STREAM);
    find_piece(h1);
    if (h1->piece_len > 0) {
        *data = input_data(h1);
        *len = h1->piece_len;
        h1_drop_piece(h1);
        return BODY_DATA;
    }
    if (exchange->body_status != 0) {
        return -exchange->body_status;
    }
    if (exchange->is_body_read) {
        return BODY_END;
    }
    if (!exchange->wants_body) {
        exchange->wants_body = true;
        if (h1->awaits_continue && exchange->response_state == RESPONSE_NONE) {
            if (h1_continue(h1) < 0) {
                exchange->response_state = RESPONSE_ABORTED;
            }
        }
        conn_resume(h1->conn); /* to ask the reactor for what the client sends */
    }
    return BODY_WAIT;
}

void h1_unread_body(struct exchange *exchange, size_t len)
{
    struct h1 *h1 = h1_of(exchange);
    assert(h1->piece_len == 0 && len <= h1->input.start);
    h1->input.start -= (uint32_t)len;
    h1->piece_len = (uint32_t)len;
}

int h1_take_body(struct h1 *h1)
{
    return h1->exchange.head.chunked ? take_chunked_body(h1) : take_sized_body(h1);
}

void h1_fail_exchange_body(struct exchange *exchange, int status, const char *reason)
{
    h1_fail_body(h1_of(exchange), status, reason);
}
