/* Request bodies (RFC 9112 section 6): from the input to the handler, or to nowhere. */

#include "http/conn_body.h"

#include "http/conn_io.h"
#include "http/server_internal.h"

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

int conn_take_body(struct conn *conn)
{
    return conn->exchange->head.chunked ? take_chunked_body(conn) : take_sized_body(conn);
}
