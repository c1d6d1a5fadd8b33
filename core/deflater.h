#ifndef EVSERVE_CORE_DEFLATER_H
#define EVSERVE_CORE_DEFLATER_H

/* Messages compressed with raw DEFLATE (RFC 1951) by zlib, one after the other in one stream, so that each may refer to
 * those before it. A deflater belongs to one thread. */

#include <stddef.h>
#include <sys/types.h>

struct deflater;

enum { DEFLATE_BITS_LEAST = 9, DEFLATE_BITS_MOST = 15 }; /* the window is 1 << bits bytes */
enum { DEFLATE_TAIL = 4 };                               /* bytes 00 00 ff ff, which end what deflater_run() writes */

/* Make a deflater. Returns 0, -ENOMEM, or -ENOSYS if zlib is not there. deflater_destroy() takes NULL. */
int deflater_create(struct deflater **deflater, unsigned window_bits);
void deflater_destroy(struct deflater *deflater);

/* Bytes of memory that one takes, at most. */
size_t deflater_memory(unsigned window_bits);

/* Begin a new stream: nothing before it is referred to any more. */
void deflater_reset(struct deflater *deflater);

/* Compress a message, up to an empty block that ends on a byte (Z_SYNC_FLUSH). Returns the bytes written to out, or
 * -ENOBUFS if they do not fit in room; the stream is damaged then, and deflater_reset() has to come next. */
ssize_t deflater_run(struct deflater *deflater, const void *data, size_t len, char *out, size_t room);

#endif
