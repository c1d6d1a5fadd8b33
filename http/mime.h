#ifndef EVSERVE_HTTP_MIME_H
#define EVSERVE_HTTP_MIME_H

/* Media types by file name extension. */

#include <stddef.h>

/* The Content-Type of a file by its path's extension, in any case: "text/html; charset=utf-8". The extension follows
 * the last '.' of the last segment, unless that '.' begins or ends it (".profile" has none). Unknown or no extension is
 * "application/octet-stream". Static text. */
const char *mime_type(const char *path, size_t len);

/* A user's type for an extension. Both texts are borrowed. */
struct mime_override {
    const char *extension; /* in lower case, without the dot */
    const char *type;      /* a valid field value */
};

/* The same, except that the first of count overrides with the path's extension takes precedence over the table; the
 * text is then the override's. */
const char *mime_type_of(const char *path, size_t len, const struct mime_override *overrides, size_t count);

/* The n-th row in the order of the table, for tests: its extension with *type, or NULL. */
const char *mime_row(size_t n, const char **type);

#endif
