#ifndef EVSERVE_HTTP_MIME_H
#define EVSERVE_HTTP_MIME_H

/* Media types by file name extension. */

#include <stddef.h>

/* The Content-Type of a file by its path's extension, in any case: "text/html; charset=utf-8". The extension follows
 * the last '.' of the last segment, unless that '.' begins or ends it (".profile" has none). Unknown or no extension is
 * "application/octet-stream". Static text. */
const char *mime_type(const char *path, size_t len);

/* The n-th row in the order of the table, for tests: its extension with *type, or NULL. */
const char *mime_row(size_t n, const char **type);

#endif
