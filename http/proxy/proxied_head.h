#ifndef EVSERVE_HTTP_PROXIED_HEAD_H
#define EVSERVE_HTTP_PROXIED_HEAD_H

/* The head of a request as an upstream gets it (RFC 9110 section 7.6, RFC 9112 section 3.2.1). No I/O. */

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct proxy;
struct upstream;

/* Whether a request asks for another protocol that may be passed through. */
bool proxied_head_upgrades(const struct exchange *exchange);

/* Whether a request has been through evserve as often as a request may (PROXY_HOPS_MAX): it goes in a circle. */
bool proxied_head_circles(const struct exchange *exchange);

/* Whether its Connection fields name more than CONNECTION_OPTIONS_MAX others: it is refused. */
bool proxied_head_names_too_many(const struct exchange *exchange);

/* The bytes that proxied_head_write() needs at most. */
size_t proxied_head_room(const struct exchange *exchange, const struct proxy *proxy, const struct upstream *upstream);

/* Write the head to text, which has that room. upgrades: the connection is to go over to the protocol that the client
 * has asked for. Returns its length. */
size_t proxied_head_write(char *text, struct exchange *exchange, const struct proxy *proxy,
                          const struct upstream *upstream, bool upgrades);

#endif
