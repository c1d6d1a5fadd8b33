#ifndef EVSERVE_CORE_TLS_SESSION_H
#define EVSERVE_CORE_TLS_SESSION_H

/* One TLS session on one socket, of a server or of a client: what both sides of TLS (core/tls.h, core/tls_client.h) are
 * made of. The functions with a transport are the ops of core/transport.h of these names. One thread. */

#include "core/tls_socket.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct ssl_st;     /* OpenSSL's SSL */
struct tls_info;
struct tls_peer;
struct tls_pool;
struct transport;

/* The first member of a transport's state. Zeroed before tls_session_open(). */
struct tls_session {
    struct ssl_st *ssl;       /* owned */
    struct tls_pool *pool;    /* of the reactor */
    struct tls_peer *peer;    /* texts about the peer, once somebody has asked for them */
    struct tls_socket socket; /* below */
    size_t owed;              /* bytes of content whose records wait in socket.out */
    unsigned long error;      /* OpenSSL's, of a session that has failed */
    int failure;              /* -errno of a session that has failed, or 0 */
    bool is_client : 1;       /* this side has called the other */
    bool has_said_end : 1;    /* our close_notify has been made */
    bool is_ended : 1;        /* our side is shut: what the peer sends is dropped */
    bool is_slow : 1;         /* the peer does not keep up: no more than one record waits */
    bool is_held : 1;         /* what lies in socket.out was not offered to the kernel: content may join it */
};

/* Make a session that begins in a transport with a socket, whose state it becomes: either side, until the caller sets
 * one. pool outlives it. Returns 0, or -ENOMEM; either way tls_session_done() is due. */
int tls_session_open(struct tls_session *tls, struct transport *transport, struct ssl_ctx_st *ctx,
                     struct tls_pool *pool);
void tls_session_done(struct tls_session *tls);

/* Go on with the handshake as far as that is possible without content. is_first: the peer cannot have said anything
 * yet. Returns 0 once it is over, -EAGAIN, or -errno of a session that has failed. */
int tls_session_shake_hands(struct transport *transport, bool is_first);

ssize_t tls_session_recv(struct transport *transport, void *data, size_t len);
int tls_session_look(struct transport *transport);
ssize_t tls_session_send(struct transport *transport, const void *data, size_t len, bool more);
ssize_t tls_session_sendv(struct transport *transport, const struct iovec *parts, size_t count);
int tls_session_flush(struct transport *transport);
unsigned tls_session_interest(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle);
int tls_session_unsent_bytes(const struct transport *transport);
void tls_session_end(struct transport *transport);

/* What was agreed on, after the handshake. Its texts are valid as long as the session. */
void tls_session_info(struct tls_session *tls, struct tls_info *info);

#endif
