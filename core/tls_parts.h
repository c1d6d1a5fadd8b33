#ifndef EVSERVE_CORE_TLS_PARTS_H
#define EVSERVE_CORE_TLS_PARTS_H

/* Parts of a message, cut into what TLS records hold: long parts in place, short ones gathered. Pure. */

#include <stddef.h>
#include <sys/uio.h>

/* What is left to be sent, from a place in one of the parts on. */
struct tls_parts {
    const struct iovec *parts; /* borrowed */
    size_t count;              /* of parts */
    size_t offset;             /* in the first of them; less than its length after tls_parts_skip() */
};

/* The content of one record. */
struct tls_piece {
    const char *data; /* in a part, or in the caller's block */
    size_t len;
};

/* Go on by len bytes, and past parts that are empty. */
void tls_parts_skip(struct tls_parts *parts, size_t len);

/* The content of the next record, 0 bytes at the end, and go on behind it. block: TLS_RECORD_BYTES, where shorter parts
 * are put together. */
struct tls_piece tls_parts_next(struct tls_parts *parts, char *block);

#endif
