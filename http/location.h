#ifndef EVSERVE_HTTP_LOCATION_H
#define EVSERVE_HTTP_LOCATION_H

/* Redirects to a path of the same site. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;

/* A decoded path in two parts, either of which may be empty, and perhaps a slash at its end. */
struct location {
    const char *base, *rest;
    size_t base_len, rest_len; /* bytes of each */
    bool has_slash;            /* a slash follows */
};

/* Redirect to a path, percent-encoded, with the query as the client sent it. Location is a path of its own and does not
 * depend on Host: "/." goes before a path that begins with "//", which would be read as a host's name. Without memory
 * the response is a 503. */
void location_redirect(struct exchange *exchange, int status, const struct location *location);

#endif
