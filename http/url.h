#ifndef EVSERVE_HTTP_URL_H
#define EVSERVE_HTTP_URL_H

/* Request targets: percent-decoding (RFC 3986 section 2.1), dot segments (section 5.2.4), queries. */

#include "http/words.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Decode and normalise a raw path into out (cap bytes; len bytes always suffice, or one if len is 0). Percent-encoding
 * is decoded exactly once, then dot segments are resolved; repeated slashes stay. The result begins with '/' and has
 * no NUL, no "." and no ".." segment. An empty path is "/". Returns the length, or -400 as an HTTP status: a
 * malformed escape, a NUL (%00 or raw), %2F (an encoded slash would change the structure of the path), a raw backslash,
 * or a path that climbs above the root; then *reason is a static phrase. */
ssize_t url_normalise_path(const char *path, size_t len, char *out, size_t cap, const char **reason);

/* The same for a path that the parser has seen: if is_plain, it is its own normal form and only copied. */
static inline ssize_t url_take_path(const char *path, size_t len, bool is_plain, char *out, size_t cap,
                                    const char **reason)
{
    if (!is_plain) {
        return url_normalise_path(path, len, out, cap, reason);
    }
    words_copy(out, path, len);
    return (ssize_t)len;
}

/* Whether a normalised path has an empty segment before its end, or one that begins with a dot. */
bool url_has_odd_segment(const char *path, size_t len);

/* Decode a component of a query or of a form (application/x-www-form-urlencoded): "+" is a space. A malformed escape
 * stays as it is. out needs len bytes. Returns the length. */
size_t url_decode_component(const char *text, size_t len, char *out);

/* One name=value of a query. */
struct url_pair {
    const char *name, *value;   /* as sent: slices of the query */
    size_t name_len, value_len; /* bytes of each */
};

enum { FORM_FIELDS_MAX = 1000 }; /* pairs of a form; a query is bounded by the request line */

/* Take the next pair of a query, without decoding: *query and *len go past it. Returns false at its end. Empty pairs
 * are skipped; a pair without "=" has an empty value. */
bool url_next_pair(const char **query, size_t *len, struct url_pair *pair);

/* Encode len bytes as one path segment: everything except unreserved characters (RFC 3986 section 2.3) becomes %XX.
 * out needs 3 * len bytes. Returns the length. */
size_t url_encode_segment(const char *text, size_t len, char *out);

/* Encode a decoded path segment by segment: slashes stay. As above. */
size_t url_encode_path(const char *path, size_t len, char *out);

/* Copy a raw query for use in a field value: bytes that must not occur there become %XX, all others stay. As above. */
size_t url_encode_query(const char *query, size_t len, char *out);

#endif
