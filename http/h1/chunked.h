#ifndef EVSERVE_HTTP_CHUNKED_H
#define EVSERVE_HTTP_CHUNKED_H

/* Incremental parser of chunked bodies (RFC 9112 section 7.1): no I/O, no allocation. It is as strict as that of
 * request heads. */

#include "http/message.h"

#include <stddef.h>
#include <stdint.h>

struct limits;

struct chunk_parser {
    uint8_t state;         /* where to resume */
    uint8_t digits;        /* of the chunk size being read */
    uint8_t trailer_state; /* where in a trailer line to resume */
    uint64_t left;         /* bytes of the current chunk still to come */
    uint32_t overhead;     /* bytes of this chunk's extension, or of all trailers */
    uint32_t excess;       /* by how much the extensions of all chunks exceeded the content that came with them */
    uint16_t trailers;     /* trailer lines read and dropped */
    int status;            /* of PARSE_ERROR: 400 or 431 */
    const char *reason;    /* of PARSE_ERROR */
};

enum {
    CHUNK_EXTENSION_MAX = 1024, /* bytes of one chunk's extensions; more is 400 */
    CHUNK_EXCESS_MAX = 16384,   /* by which all extensions may exceed the content; more is 400 */
};

/* Start a body. */
void chunk_parser_reset(struct chunk_parser *chunk);

/* Take bytes of a chunked body. *used says how many of len were taken, *piece which of them are content (offset counts
 * from data; len may be 0). PARSE_INCOMPLETE: call again with what follows, at once if *used < len. PARSE_COMPLETE:
 * the body and its trailers ended at *used. PARSE_ERROR: the framing is lost. Trailers are checked, counted against
 * max_header_bytes and max_fields, and dropped. */
enum parse_verdict parse_chunked(struct chunk_parser *chunk, const struct limits *limits, const char *data, size_t len,
                                 size_t *used, struct slice *piece);

#endif
