#ifndef EVSERVE_HTTP_PEER_H
#define EVSERVE_HTTP_PEER_H

/* The address of a client: small enough to be part of an idle connection. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct peer {
    uint8_t family;      /* AF_INET, AF_INET6 or AF_UNIX */
    uint16_t port;       /* in network order; 0 for AF_UNIX */
    uint8_t address[16]; /* in network order; of AF_INET the first four bytes */
};

/* Read the address that accept(2) gave. A client of IPv4 comes to a listener of both families as ::ffff:192.0.2.1; it
 * becomes AF_INET here, so that scripts, hosts and caps by address see one address. */
void peer_init(struct peer *peer, const struct sockaddr *address);

/* Write it as a socket address; of a unix socket the family alone. Returns its length. */
socklen_t peer_address(const struct peer *peer, struct sockaddr_storage *address);

/* Read an address of len bytes as proxies write it: "192.0.2.7", "2001:db8::7", both with a port as in "192.0.2.7:40312"
 * and "[2001:db8::7]:40312", "[2001:db8::7]", or "unix:". Without a port that is 0; "::ffff:192.0.2.7" becomes AF_INET.
 * Names, zones and signs are none. Returns whether it is one; if not, peer is unchanged. */
bool peer_parse(struct peer *peer, const char *text, size_t len);

/* Write it as text without its port: "127.0.0.1", "::1" or "unix:"; at most len bytes with the NUL. */
void peer_format_host(const struct peer *peer, char *text, size_t len);

/* Write it as text: "127.0.0.1:40312", "[::1]:40312" or "unix:"; without a port, as the other function. */
void peer_format(const struct peer *peer, char *text, size_t len);

#endif
