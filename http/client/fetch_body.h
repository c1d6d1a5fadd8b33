#ifndef EVSERVE_HTTP_FETCH_BODY_H
#define EVSERVE_HTTP_FETCH_BODY_H

/* Where the content of a response lies among the bytes that come (RFC 9112 section 6.3): no I/O, no allocation. */

#include "http/client/fetch_head.h"
#include "http/h1/chunked.h"
#include "http/message.h"

#include <stddef.h>
#include <stdint.h>

struct limits;

struct fetch_body {
    enum fetch_framing framing; /* how it ends */
    uint64_t left;              /* bytes to come: FRAMING_LENGTH */
    struct chunk_parser chunk;  /* FRAMING_CHUNKS */
    bool is_complete;
};

/* Start the content that follows a head. */
void fetch_body_begin(struct fetch_body *body, enum fetch_framing framing, uint64_t content_length);

/* Take bytes that came: *used of them are taken, *piece of those are content (offset counts from data; len may be 0).
 * PARSE_INCOMPLETE: call again with what follows, at once if *used < len. PARSE_COMPLETE: the content ended at *used.
 * PARSE_ERROR: the chunks are malformed, chunk.reason says how. limits are those of trailers. */
enum parse_verdict fetch_body_take(struct fetch_body *body, const struct limits *limits, const char *data, size_t len,
                                   size_t *used, struct slice *piece);

/* The server has closed the connection. Returns whether the content is complete. */
bool fetch_body_end(struct fetch_body *body);

#endif
