#ifndef EVSERVE_HTTP_PARSER_H
#define EVSERVE_HTTP_PARSER_H

/* Incremental parser of request heads: bytes in, offsets out; no I/O, no allocation. Called again with more bytes of
 * the same message it resumes where it stopped. It is strict (RFC 9112): whatever two recipients could understand
 * differently is refused.
 *
 * The caller owns the bytes. Offsets count from the first byte handed in, so the bytes may move between calls. */

#include "http/field_line.h"
#include "http/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct limits;

/* Where a head can be interrupted, in the order of its bytes. */
enum head_state {
    STATE_START,                                         /* at an empty line or the first byte of the request line */
    STATE_START_LF,                                      /* after the CR of an empty line */
    STATE_METHOD,                                        /* in the method */
    STATE_PATH,                                          /* in the target, before any '?' */
    STATE_QUERY,                                         /* in the target, after '?' */
    STATE_VERSION,                                       /* in the version or the CRLF after it */
    STATE_FIELDS,                                        /* in the field lines: this and an enum field_line_state */
    STATE_FAILED = STATE_FIELDS + FIELD_LINE_END_LF + 1, /* status and reason are set */
};

struct parser {
    uint8_t state;       /* enum head_state: where to resume */
    uint8_t empty_lines; /* before the request line */
    uint8_t seen;        /* what the fields said so far: the parser's own bits */
    uint32_t pos;        /* first byte not looked at yet */
    uint32_t mark;       /* where the element being scanned begins */
    uint32_t section_at; /* where the request line begins, later the field lines: their limits count from there */
    int status;          /* of PARSE_ERROR: 400, 414, 417, 421, 431, 501 or 505 */
    const char *reason;  /* of PARSE_ERROR: one static phrase for the log and the client */
};

enum { EMPTY_LINES_MAX = 8 }; /* CRLFs tolerated before a request line (RFC 9112 section 2.2) */

/* Start a message. */
void parser_reset(struct parser *parser);

/* Parse a request head from its first byte on; len grows from call to call. Returns PARSE_COMPLETE with *head filled
 * in, PARSE_INCOMPLETE (call again with more), or PARSE_ERROR with status and reason set: the framing is then
 * unknown, so the connection must close after the response. Limits: max_request_line, max_header_bytes, max_fields. */
typedef enum parse_verdict (*parse_head_fn)(struct parser *parser, struct head *head, const struct limits *limits,
                                            const char *data, size_t len);

/* Whether the bytes scanned so far hold anything of a request: empty lines alone do not. */
bool parser_has_begun(const struct parser *parser);

/* Whether a request that is refused before its head is complete is HEAD, as far as its bytes tell: then the response
 * has no content (RFC 9110 section 9.3.2). data is what parse_head_fn was given last. */
bool parser_has_head_method(const struct parser *parser, const struct head *head, const char *data);

#endif
