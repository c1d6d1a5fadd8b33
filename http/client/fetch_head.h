#ifndef EVSERVE_HTTP_FETCH_HEAD_H
#define EVSERVE_HTTP_FETCH_HEAD_H

/* Heads of responses (RFC 9112 sections 4 to 6): bytes in, what they say out; no I/O, no allocation. It is as strict as
 * the parser of request heads: what two recipients could understand differently is refused. Field lines are read by the
 * scanner that all others use (http/field_line.h). */

#include "http/field_line.h"
#include "http/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fetch_field;

enum { FETCH_HEAD_NOTED = 24 }; /* fields of a response whose places are noted when they are parsed */

/* How the content of a response ends (RFC 9112 section 6.3). */
enum fetch_framing {
    FRAMING_NONE,     /* there is none */
    FRAMING_LENGTH,   /* after content_length bytes */
    FRAMING_CHUNKS,   /* after the last chunk */
    FRAMING_TO_CLOSE, /* with the connection */
};

/* A head that is being parsed, and what it says. The first three are the owner's, set after fetch_head_reset(). */
struct fetch_head {
    uint32_t max_bytes;  /* a longer head fails */
    uint32_t max_fields; /* and so does one with more field lines */
    bool may_switch;     /* 101 is a response: the request has asked for another protocol */

    /* The response. All of it is known when the head is complete. */
    int status;              /* 100 to 999 */
    uint8_t minor_version;   /* 0 or 1; what is above counts as 1 */
    bool keep_alive;         /* the connection may be used again, as far as the head tells */
    bool has_length;         /* Content-Length came */
    bool is_chunked;         /* Transfer-Encoding: chunked */
    bool has_options;        /* Connection names something beside close and keep-alive */
    uint64_t content_length; /* 0 unless has_length */
    struct slice reason;     /* behind the status; may be empty */
    uint32_t field_count;    /* field lines */
    uint32_t len;            /* bytes of the head with its empty line */

    /* Of PARSE_ERROR. */
    bool is_too_large; /* it is beyond max_bytes or max_fields, not malformed */
    const char *why;   /* one static phrase */

    /* The parser's own. */
    uint8_t state;                        /* enum fetch_head_state */
    uint8_t seen;                         /* what Connection and Transfer-Encoding said so far */
    struct field_line line;               /* line.pos is the first byte that was not looked at */
    uint32_t fields_at;                   /* where the field lines begin */
    struct field field;                   /* the line that is being read */
    struct field noted[FETCH_HEAD_NOTED]; /* the first of field_count */
};

/* Start a head. */
void fetch_head_reset(struct fetch_head *head);

/* Parse a head from its first byte on; len grows from call to call, and the bytes may move between calls. Returns
 * PARSE_COMPLETE, PARSE_INCOMPLETE (call again with more), or PARSE_ERROR with why set; all calls after an error return
 * it again. */
enum parse_verdict fetch_head_parse(struct fetch_head *head, const char *data, size_t len);

/* How the content ends that follows this head, which is complete. is_to_head: it responds to HEAD. */
enum fetch_framing fetch_head_framing(const struct fetch_head *head, bool is_to_head);

/* A walk over the fields of a complete head; zeros at first. */
struct fetch_head_walk {
    uint32_t count;         /* fields that were found */
    struct field_line line; /* behind the last one that was not noted */
};

/* Find the next field; its slices count from data, the bytes of the head. Returns false at the end. */
bool fetch_head_next(const struct fetch_head *head, const char *data, struct fetch_head_walk *walk,
                     struct field *field);

/* List the fields of a complete head: field_count of them. data are its bytes, which the fields point into: each name
 * and each value, and the reason, get a NUL behind them in place of a byte that is part of none. */
void fetch_head_list(const struct fetch_head *head, char *data, struct fetch_field *fields);

#endif
