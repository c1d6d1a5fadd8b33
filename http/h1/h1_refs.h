#ifndef EVSERVE_HTTP_H1_REFS_H
#define EVSERVE_HTTP_H1_REFS_H

/* Pieces of a stream that are sent from where they are, in their order with the bytes that are copied:
 *
 *     h1->out         exchange.source  tail                  ring      tail              ring      tail
 *     [bytes       ]  [piece        ]  [before the next one] [piece 2] [before the next] [piece 3] [after the last]
 *
 * The piece in exchange.source is the first one; when it is sent the bytes behind it move to h1->out and the next piece
 * takes its place. The queue is made when a stream borrows its first piece, and hangs on exchange.source.then. For
 * h1_head.c and h1_io.c. */

#include "core/write_buffer.h"

#include <stddef.h>
#include <sys/uio.h>

struct borrowed;
struct h1;

enum {
    REFS_MAX = 64,       /* pieces in line behind the one that is being sent; more are copied */
    REFS_TAIL_ROOM = 32, /* bytes that h1_refs_prepare() makes room for in the tail */
};

/* Get ready to borrow one piece, and to add REFS_TAIL_ROOM bytes around it. Returns 0, -ENOBUFS when REFS_MAX are in
 * line, or -ENOMEM; then nothing has changed. */
int h1_refs_prepare(struct h1 *h1);

/* Put a piece of at least one byte in line. Only after h1_refs_prepare(); cannot fail. */
void h1_refs_add(struct h1 *h1, const struct borrowed *piece);

/* Where the next bytes of the stream go; h1_refs_commit() says how many were added there. */
struct write_buffer *h1_refs_end(struct h1 *h1);
void h1_refs_commit(struct h1 *h1, size_t len);

/* All bytes of the response that wait to be sent, copied and borrowed. */
size_t h1_refs_queued(const struct h1 *h1);

/* What comes behind the piece in exchange.source, as far as max parts and max_bytes go. Returns how many parts there
 * are. */
size_t h1_refs_gather(const struct h1 *h1, struct iovec *parts, size_t max, size_t max_bytes);

#endif
