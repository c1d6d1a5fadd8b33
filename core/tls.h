#ifndef EVSERVE_CORE_TLS_H
#define EVSERVE_CORE_TLS_H

/* TLS as a transport (RFC 8446, RFC 5246), on OpenSSL 3, which only core/tls*.c know. Built without TLS a
 * tls_context cannot be made, so nothing here is ever called. */

#include "core/tls_info.h"
#include "core/transport.h"

#include <stdbool.h>

struct tls_context;
struct tls_pool;

/* What a connection begins with: the arg of transport_open(). */
struct tls_opening {
    struct tls_context *context; /* with a certificate; the connection takes a reference */
    struct tls_pool *pool;       /* of the reactor; outlives the connection */
};

/* The ops of transport_open(). The handshake happens inside of reads, which say -EAGAIN while it lasts;
 * transport->is_opening holds until it is over. Beyond what core/transport.h says of results:
 *
 * - The peer's end is its close_notify. A connection that ends without it fails with -ECONNABORTED: what came may be
 *   cut short.
 * - While nobody reads, transport_look() finds the close_notify, unless content that nobody has read lies before it.
 * - Reads and writes fail with -EPROTO when the peer breaks the protocol; transport_failure() says how.
 * - Bytes that a write has encrypted count as taken once the kernel has them all. Until then the caller offers them
 *   again, as it does after a short write, and must not offer others in their place.
 * - transport_end() and transport_say_end() send close_notify. A close without it lets the peer see that something
 *   was cut. */
extern const struct transport_ops tls_transport_ops;

/* What was agreed on. Returns false for a transport that is not TLS, and during the handshake. Without memory nothing
 * is known of the client's certificate and of the protocol: their texts are "", and the next call tries again. */
bool tls_get_info(const struct transport *transport, struct tls_info *info);

/* Whether content of a host must not be sent on this connection, since the host asks its clients for certificates, and
 * the handshake, for another name, asked for none or by other rules. host: without a port; of len 0 if the request
 * names none. False for a transport that is not TLS. */
bool tls_is_misdirected(const struct transport *transport, const char *host, size_t len);

#endif
