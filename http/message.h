#ifndef EVSERVE_HTTP_MESSAGE_H
#define EVSERVE_HTTP_MESSAGE_H

/* What a request says (RFC 9110 section 6), whatever its framing was: method, target, fields. A parser fills in a head;
 * all others read it. Slices point into the bytes of the message, which somebody else owns. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum parse_verdict { PARSE_COMPLETE, PARSE_INCOMPLETE, PARSE_ERROR };

struct slice {
    uint32_t offset; /* from the first byte of the message */
    uint32_t len;    /* bytes */
};

/* Methods (RFC 9110 section 9.1). CONNECT, which only a proxy could serve, is 501. */
enum method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_OTHER, /* any other token: head.method_text tells which */
    METHOD_COUNT,
};

enum { METHOD_NAME_MAX = 32 }; /* bytes of a method; a longer one is 501 */

/* "GET", or "*" for METHOD_OTHER; static text. */
const char *method_name(enum method method);

/* The method called name (case-sensitive), or METHOD_OTHER. */
enum method method_find(const char *name, size_t len);

/* Fields the server itself looks at; head.first finds them without a search. */
enum known_field {
    FIELD_HOST,
    FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH,
    FIELD_TRANSFER_ENCODING,
    FIELD_EXPECT,
    FIELD_RANGE,
    FIELD_IF_MATCH,
    FIELD_IF_NONE_MATCH,
    FIELD_IF_MODIFIED_SINCE,
    FIELD_IF_UNMODIFIED_SINCE,
    FIELD_IF_RANGE,
    FIELD_ACCEPT_ENCODING,
    FIELD_CONTENT_TYPE,
    FIELD_COOKIE,
    FIELD_KNOWN_COUNT,
};

struct field {
    struct slice name;  /* as sent; compare without case */
    struct slice value; /* without the white space around it */
};

/* A request head (RFC 9112 sections 2 to 6), interpreted as far as framing needs it. */
struct head {
    enum method method;       /* CONNECT is refused */
    uint8_t minor_version;    /* 0 or 1 of HTTP/1.x; what is above counts as 1 (RFC 9110 section 2.5) */
    bool keep_alive;          /* the connection may serve another request (RFC 9112 section 9.3) */
    bool has_length;          /* Content-Length came; chunked excludes it */
    bool chunked;             /* Transfer-Encoding: chunked */
    bool expect_continue;     /* Expect: 100-continue, HTTP/1.1 only */
    bool is_asterisk;         /* target "*": path and query are empty */
    uint64_t content_length;  /* 0 unless has_length */
    struct slice method_text; /* as sent */
    struct slice target;      /* as sent */
    struct slice path;        /* raw path of origin-form or absolute-form; empty in absolute-form means "/" */
    struct slice query;       /* raw, after '?', without it */
    struct slice authority;   /* of absolute-form, else the Host value; Host has this value (RFC 9112 section 3.2.2) */
    bool has_query;           /* there was a '?' */
    bool path_is_plain;       /* path is its own normal form (http/url.h); if false, it may still be */
    uint16_t first[FIELD_KNOWN_COUNT]; /* index + 1 of the first field of that name, 0 when absent */
    uint16_t field_count;              /* of fields */
    uint16_t field_capacity;           /* of fields; set by the owner, at least limits.max_fields */
    struct field *fields;              /* the owner's storage */
    uint32_t len;                      /* bytes of the head with the empty line, and empty lines before it */
};

/* Take the field at index out of head->fields; the order of the others stays. head->first no longer names it. */
void head_drop_field(struct head *head, unsigned index);

#endif
