#ifndef EVSERVE_HTTP_FETCH_URL_H
#define EVSERVE_HTTP_FETCH_URL_H

/* URLs of requests (RFC 3986): read, normalised, and resolved against each other for redirects. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A URL in its parts, in one block. The texts end in NUL. */
struct fetch_url {
    char *text;             /* all of it, normalised, without a fragment */
    const char *authority;  /* authority_len bytes within text: host and port as Host says them */
    const char *target;     /* within text up to its end: path and query, beginning with '/' */
    const char *host;       /* without brackets, in lower case; "localhost" with unix_path */
    const char *unix_path;  /* of http+unix; NULL for others */
    uint16_t authority_len; /* of authority */
    uint16_t port;          /* also if the text has none */
    bool is_secured;        /* https */
};

/* Read a URL. Dot segments are removed, and bytes that a path or a query cannot have become %XX, except control
 * characters, which are refused. Returns 0; -EINVAL with *why, a static phrase that goes behind the URL; or -ENOMEM. On
 * success fetch_url_done() is due. */
int fetch_url_parse(struct fetch_url *url, const char *text, size_t len, const char **why);

/* Resolve a reference (RFC 3986 section 5.2), such as the value of Location, against base. As fetch_url_parse(). */
int fetch_url_resolve(struct fetch_url *url, const struct fetch_url *base, const char *reference, size_t len,
                      const char **why);

/* Free it. A zeroed one is allowed. */
void fetch_url_done(struct fetch_url *url);

/* Whether both lead to the same server by the same protocol (RFC 6454 section 5). */
bool fetch_url_is_same_origin(const struct fetch_url *one, const struct fetch_url *other);

#endif
