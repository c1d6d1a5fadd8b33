#ifndef EVSERVE_HTTP_CONN_IO_H
#define EVSERVE_HTTP_CONN_IO_H

/* Bytes in and out of a connection, for conn.c and conn_steps.c. */

#include "http/server_internal.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Bytes that were read and not consumed; data is valid until the next read, or the end of the turn. */
static inline size_t input_len(const struct exchange *exchange)
{
    return exchange->input.end - exchange->input.start;
}

static inline const char *input_data(const struct exchange *exchange)
{
    return exchange->input.data + exchange->input.start;
}

/* len is at most input_len(). */
static inline void input_consume(struct exchange *exchange, size_t len)
{
    exchange->input.start += (uint32_t)len;
}

/* The input lies in the server's block, not in memory of the connection's own. */
static inline bool input_is_lent(const struct conn *conn, const struct exchange *exchange)
{
    return exchange->input.data == conn->server->read_block;
}

/* Read once. Returns the number of bytes, 0 at the client's end, or -errno (-EAGAIN when nothing is there, -ENOMEM). */
ssize_t input_read(struct conn *conn, struct exchange *exchange);

/* End of a turn: give the lent block back; bytes that are left move to the connection's own memory, and own memory that
 * is empty is freed. Returns 0 or -ENOMEM. */
int input_settle(struct conn *conn, struct exchange *exchange);

/* Somebody still needs the parsed head, or a body that lies in the input: move it out of the input, which goes on
 * without it. Returns 0 or -ENOMEM. */
int input_keep_head(struct exchange *exchange);
int input_keep_body(struct exchange *exchange);

/* Queued bytes; whether nothing at all waits to be sent; whether so much waits that no request should be read. */
static inline size_t out_len(const struct exchange *exchange)
{
    return write_buffer_len(&exchange->out);
}

static inline bool out_is_empty(const struct exchange *exchange)
{
    return out_len(exchange) == 0 && exchange->response_body.kind == BODY_NONE;
}

static inline bool out_is_high(const struct conn *conn)
{
    return out_len(conn->exchange) > conn_limits(conn)->write_high_mark_bytes;
}

/* Send until nothing waits, the socket is full or the turn's budget is spent (R6); then conn->wants_write. Returns 0,
 * or -errno when the peer is lost. */
int conn_flush(struct conn *conn);

#endif
