#ifndef EVSERVE_CORE_LINK_HELLO_H
#define EVSERVE_CORE_LINK_HELLO_H

/* TLS on a connection to another server: what is asked for, and what is kept of it until the socket is connected. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct link_hello;
struct log;
struct tls_client_settings; /* core/tls_client_context.h */
struct tls_clients;
struct transport;

/* The texts and the settings are borrowed during the call alone. */
struct link_tls {
    const struct tls_client_settings *settings;
    const char *server_name; /* whose certificate it must be, a name or an address, and SNI; NULL: the target's host */
};

/* Get ready: read files, load OpenSSL. *clients is made if it is NULL, with log. host may be NULL. Returns 0, or -errno
 * with a text in err that names the setting. */
int link_hello_create(struct link_hello **hello, const struct link_tls *tls, const char *host,
                      struct tls_clients **clients, const struct log *log, char *err, size_t errlen);
void link_hello_destroy(struct link_hello *hello); /* NULL is allowed */

/* The plain socket of transport is connected with peer: say hello on it. Returns as transport_open() does. */
int link_hello_say(const struct link_hello *hello, struct transport *transport, const struct sockaddr *peer,
                   socklen_t peer_len);

#endif
