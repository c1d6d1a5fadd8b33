#ifndef EVSERVE_HTTP_PROXIED_UPGRADE_H
#define EVSERVE_HTTP_PROXIED_UPGRADE_H

/* Upstreams that agree to the protocol that a client has asked for (RFC 9110 section 7.8). */

#include <stddef.h>

struct exchange;
struct fetch_head;
struct link;
struct proxy;
struct upstream;

/* An upstream has responded with 101 to a request that asks for another protocol: head is complete, data its bytes, and
 * len bytes at early lie behind it. Respond so, with its fields, and join the two connections (http/proxy/tunnel.h).
 * Returns 0: the link belongs to the tunnel, and the exchange is over. -EPROTO: it has agreed to something else than was
 * asked for. Or another -errno. */
int proxied_upgrade_accept(struct exchange *exchange, const struct proxy *proxy, const struct upstream *upstream,
                           struct link *link, const struct fetch_head *head, const char *data, const char *early,
                           size_t len);

#endif
