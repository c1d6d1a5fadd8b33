#ifndef EVSERVE_CORE_TLS_CLIENT_H
#define EVSERVE_CORE_TLS_CLIENT_H

/* TLS to another server as a transport (RFC 8446, RFC 5246, RFC 6066, RFC 9525), see core/tls.h for what holds on both
 * sides. Built without TLS a tls_client_context cannot be made, so nothing here is ever called. One thread. */

#include "core/tls_info.h"
#include "core/transport.h"

#include <stdbool.h>

struct tls_client_context;
struct tls_client_settings;
struct tls_pool;

enum { TLS_NAME_MAX = 253 }; /* bytes of a server's name (RFC 1035, section 2.3.4) */

/* What a connection begins with: the arg of transport_open(). The texts are borrowed during the call. */
struct tls_client_opening {
    struct tls_client_context *context; /* the connection takes a reference */
    struct tls_pool *pool;              /* of the reactor; outlives the connection */
    const char *server_name;            /* for whom the certificate must be: a name or an address; NULL only if it is
                                           not looked at */
    const char *peer; /* whom it is connected with, "127.0.0.1:443": sessions of it may be resumed; NULL:
                                           none is */
};

/* The ops of transport_open(), which says hello. The handshake is due then: tls_client_shake_hands(). A failed one is
 * -EPROTO, -ECONNABORTED or the error of the socket; transport_failure() has it in plain words, valid until the
 * transport is closed. The same for later failures. */
extern const struct transport_ops tls_client_ops;

/* What is wrong with the name of a server, as the rest of a sentence; NULL: nothing. */
const char *tls_client_name_fault(const char *server_name);

/* Go on with the handshake, when the socket is readable, or writable while holds_output. Returns 0 when it is over:
 * then our last words wait for what is written first, at most until transport_interest(); -EAGAIN; or -errno. */
int tls_client_shake_hands(struct transport *transport);

/* What was agreed on. The name is the one that was asked for, without a dot at its end, or an address; the texts about
 * the client are about the server here, and only there if its certificate was verified. Returns false for another
 * transport, and during the handshake. */
bool tls_client_get_info(const struct transport *transport, struct tls_info *info);

/* Whether a connection of these ops was opened with the certificate of ours that settings name, or with none. */
bool tls_client_shows(const struct transport *transport, const struct tls_client_settings *settings);

#endif
