#ifndef EVSERVE_HTTP_PROXIED_LOCATION_H
#define EVSERVE_HTTP_PROXIED_LOCATION_H

/* Where an upstream sends clients to: Location, Refresh, and Path of Set-Cookie. What leads to the upstream itself,
 * under the names and paths that it knows itself by, becomes the path that clients reach the same place by:
 *
 *     app.proxy("/shop", "http://10.0.0.1:8080/app", { strip_prefix = true })
 *
 *     http://10.0.0.1:8080/app/cart    /shop/cart
 *     /app/cart                        /shop/cart
 *     https://example.org/             stays
 *
 * No I/O, no allocation. */

#include <stdbool.h>
#include <stddef.h>

enum { PROXIED_LOCATION_EXTRA = 2 }; /* bytes that a value may grow by beside the prefix, escaped */

/* What is known of both sides. */
struct proxied_places {
    const char *authority; /* authority_len bytes, of the upstream's URL: "10.0.0.1:8080" */
    const char *base;      /* base_len bytes: the path of that URL without a slash at its end */
    const char *prefix;    /* prefix_len bytes, which the upstream does not see; may be empty */
    const char *host;      /* host_len bytes: the value of Host that it got */
    size_t authority_len, base_len, prefix_len, host_len;
    bool is_secured;        /* the upstream's URL is https, */
    bool is_client_secured; /* and the client has asked by https */
};

/* Whether a field has such a value. */
bool proxied_location_is_in(const char *name, size_t len);

/* Write the value of such a field for the client to at, which has room for len + 3 * prefix_len +
 * PROXIED_LOCATION_EXTRA bytes. Returns the end. */
char *proxied_location_put(char *at, const struct proxied_places *places, const char *name, const char *value,
                           size_t len);

#endif
