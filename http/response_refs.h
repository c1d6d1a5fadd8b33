#ifndef EVSERVE_HTTP_RESPONSE_REFS_H
#define EVSERVE_HTTP_RESPONSE_REFS_H

/* Pieces of a stream that are sent from where they are, in their order with the bytes that are copied:
 *
 *     exchange->out   response_body    tail                  ring      tail              ring      tail
 *     [bytes       ]  [piece        ]  [before the next one] [piece 2] [before the next] [piece 3] [after the last]
 *
 * The piece in response_body is the first one; when it is sent the bytes behind it move to exchange->out and the next
 * piece takes its place. The queue is made when a stream borrows its first piece, and hangs on response_body.then. For response.c
 * and conn_io.c. */

#include "core/write_buffer.h"

#include <stddef.h>
#include <sys/uio.h>

struct borrowed;
struct exchange;

enum {
    REFS_MAX = 64,       /* pieces in line behind the one that is being sent; more are copied */
    REF_COPY_MAX = 4096, /* content up to here is copied, which costs less than to keep it in line */
    REFS_TAIL_ROOM = 32, /* bytes that response_refs_prepare() makes room for in the tail */
};

/* Get ready to borrow one piece, and to add REFS_TAIL_ROOM bytes around it. Returns 0, -ENOBUFS when REFS_MAX are in line, or
 * -ENOMEM; then nothing has changed. */
int response_refs_prepare(struct exchange *exchange);

/* Put a piece of at least one byte in line. Only after response_refs_prepare(); cannot fail. */
void response_refs_add(struct exchange *exchange, const struct borrowed *piece);

/* Where the next bytes of the stream go; response_refs_commit() says how many were added there. */
struct write_buffer *response_refs_end(struct exchange *exchange);
void response_refs_commit(struct exchange *exchange, size_t len);

/* All bytes of the answer that wait to be sent, copied and borrowed. */
size_t response_refs_queued(const struct exchange *exchange);

/* What comes behind the piece in response_body, as far as max parts and max_bytes go. Returns how many parts there are. */
size_t response_refs_gather(const struct exchange *exchange, struct iovec *parts, size_t max, size_t max_bytes);

#endif
