#ifndef EVSERVE_HTTP_PROXIED_FIELDS_H
#define EVSERVE_HTTP_PROXIED_FIELDS_H

/* The fields of an upstream's response, as its client gets them. */

#include <stddef.h>
#include <stdint.h>

struct exchange;
struct fetch_head;
struct proxy;
struct upstream;

/* Add the fields of a complete head, data its bytes, to the response, except those about the connection (RFC 9110
 * section 7.6.1), those that say how long the content is, and those of which there is one already that must be the only
 * one. What leads to the upstream leads to its place among the client's paths then (http/proxy/proxied_location.h).
 * *keep_ms becomes shorter if the upstream says that it keeps the connection for a shorter time. Returns 0 or
 * -ENOMEM. */
int proxied_fields_add(struct exchange *exchange, const struct proxy *proxy, const struct upstream *upstream,
                       const struct fetch_head *head, const char *data, uint32_t *keep_ms);

/* Send an interim response with the fields of such a head (RFC 9110 section 15.2). Returns likewise. */
int proxied_fields_interim(struct exchange *exchange, const struct proxy *proxy, const struct upstream *upstream,
                           const struct fetch_head *head, const char *data);

#endif
