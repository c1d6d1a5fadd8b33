#ifndef EVSERVE_CORE_ESCAPE_H
#define EVSERVE_CORE_ESCAPE_H

/* Text as a place in an HTML page needs it, so that no text changes the structure of the page, leaves a string of a
 * script, or makes a URL lead to code. No state; any thread.
 *
 * What is written is UTF-8: each byte that belongs to no sequence becomes U+FFFD, and in URLs its percent-encoding. */

#include <stdbool.h>
#include <stddef.h>

struct write_buffer;

enum escape_place {
    ESCAPE_HTML,    /* between tags, in <title> and <textarea>, in attributes with quotes of either kind */
    ESCAPE_URL,     /* a URL as a whole. Reserved characters and triplets stay; see escape_is_safe_url() */
    ESCAPE_PATH,    /* in the path of a URL: "/" stays, "?", "#" and "%" do not */
    ESCAPE_SEGMENT, /* at the beginning of a URL, behind other text: ":" does not stay either, since it ends a scheme */
    ESCAPE_QUERY,   /* in the query or fragment: only unreserved characters stay (RFC 3986 section 2.3) */
    ESCAPE_JSON,    /* JSON text as an expression of a script in a page: what HTML or JavaScript would see is escaped */
    ESCAPE_STRING,  /* inside a string of a script, in quotes of any of the three kinds */
    ESCAPE_COUNT,
};

/* How many bytes at the beginning of text stay as they are. */
size_t escape_span(enum escape_place place, const char *text, size_t len);

/* Append text, escaped. Returns 0, or -ENOMEM with part of it appended. */
int escape_append(struct write_buffer *out, enum escape_place place, const char *text, size_t len);

/* Whether a URL, as a client gave it, is relative or has the scheme http, https or mailto. Others, such as
 * javascript:, may run code. */
bool escape_is_safe_url(const char *text, size_t len);

#endif
