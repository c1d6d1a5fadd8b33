#ifndef EVSERVE_HTTP_WS_DEFLATE_H
#define EVSERVE_HTTP_WS_DEFLATE_H

/* permessage-deflate (RFC 7692): messages compressed and inflated. All that connections of one thread share is one
 * struct ws_codecs; each connection that agreed on the extension has a struct ws_deflate. All calls from that thread.
 *
 * A connection that keeps its context (takeover) has a deflater and an inflater of its own, about 38 and 14 KiB, made
 * with the first message that needs them. So that many connections cannot take all memory, those of a thread keep
 * theirs only up to a budget; a connection that comes when it is used up begins each message anew, with codecs that
 * belong to the thread: it holds none between two messages. */

#include "http/ws/ws_extension.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ws_codecs;
struct ws_deflate;

/* Whether messages can be compressed: zlib is there. The first call loads it, so it has to come before the sandbox. */
bool ws_deflate_is_there(void);

/* A message that has not ended may occupy far more memory than its client has sent, and may never end. So what it was
 * inflated to beyond WS_SWELL_FREE_BYTES and beyond WS_SWELL_TIMES of what came is counted, and it may grow further
 * only while all others of the thread have at most WS_SWELL_MAX_BYTES of that together. */
enum {
    WS_SWELL_FREE_BYTES = 64 * 1024,
    WS_SWELL_TIMES = 16,
    WS_SWELL_MAX_BYTES = 64 * 1024 * 1024,
};

/* Bytes that are reserved for the contexts of open connections. */
size_t ws_codecs_reserved(const struct ws_codecs *codecs);

/* Accept an offer that is there, for one connection. codecs: where the thread keeps what its connections share; made
 * with the first of them, and destroyed with the last one, which leaves NULL there. memory: bytes that the contexts
 * kept by all of them may take. Returns 0 with *terms set, for ws_extension_write(); -ENOMEM, or -ENOSYS if zlib is not
 * there: the connection goes without compression. ws_deflate_destroy() takes NULL. */
int ws_deflate_create(struct ws_deflate **deflate, struct ws_codecs **codecs, uint64_t memory,
                      const struct ws_offer *offer, struct ws_deflate_terms *terms);
void ws_deflate_destroy(struct ws_deflate *deflate);

/* Compress a message that is sent next. Returns the length, below len, with *out set to bytes that are valid until the
 * next call for any connection of the thread. 0: send it as it is, since it does not get shorter, or for lack of
 * memory. */
size_t ws_deflate_message(struct ws_deflate *deflate, const void *data, size_t len, const char **out);

/* What the last call compressed is not sent after all. */
void ws_deflate_take_back(struct ws_deflate *deflate);

/* The same for a message that goes to many connections: it refers to no other message. Those may be sent the result for
 * which ws_deflate_takes_shared() returns true; it has to be called for each of them, just before. */
size_t ws_deflate_shared(struct ws_codecs *codecs, const void *data, size_t len, const char **out);
bool ws_deflate_takes_shared(struct ws_deflate *deflate);

/* Inflate a part of a message: a ws_inflate_fn of http/ws/ws_reader.h, whose arg is a struct ws_deflate. -EPROTO: the
 * bytes cannot be inflated, or end in the middle of a block. -ENOMEM: no memory, or the message may not grow. */
ssize_t ws_deflate_inflate(void *deflate, const char **in, size_t *in_len, bool ends, char *out, size_t room);

#endif
