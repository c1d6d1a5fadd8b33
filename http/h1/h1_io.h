#ifndef EVSERVE_HTTP_H1_IO_H
#define EVSERVE_HTTP_H1_IO_H

/* Bytes in and out of a connection that speaks HTTP/1. */

#include <stdbool.h>
#include <sys/types.h>

struct exchange;
struct h1;

/* Read once. Returns the number of bytes, 0 at the client's end, or -errno (-EAGAIN when nothing is there, -ENOMEM). */
ssize_t h1_read_input(struct h1 *h1);

/* End of a turn: give the lent block back; bytes that are left move to the connection's own memory, and own memory that
 * is empty is freed. Returns 0 or -ENOMEM. */
int h1_settle_input(struct h1 *h1);

/* Drop all input, wherever it lies. */
void h1_drop_input(struct h1 *h1);

/* Somebody still needs the parsed head, or a body that lies in the input: move it out of the input, which goes on
 * without it. Returns 0 or -ENOMEM. */
int h1_keep_head(struct h1 *h1);
int h1_keep_body(struct h1 *h1);

/* Send until nothing waits, the transport is full or the turn's budget is spent (R6); then h1->wants_write. Returns 0,
 * or -errno when the client is lost, or the response cannot go on. */
int h1_flush(struct h1 *h1);

/* struct framing's queued(). */
size_t h1_queued(const struct exchange *exchange);

#endif
