#ifndef EVSERVE_CORE_TLS_PEER_H
#define EVSERVE_CORE_TLS_PEER_H

/* Texts about a session that OpenSSL does not keep as texts. */

struct ssl_st; /* OpenSSL's SSL */
struct tls_info;
struct tls_peer;

/* Make them, after the handshake. NULL without memory: then nothing is left behind. */
struct tls_peer *tls_peer_create(const struct ssl_st *ssl);
void tls_peer_destroy(struct tls_peer *peer); /* NULL is allowed */

/* Fill info; its texts are valid as long as both. peer may be NULL: then those that it would have are "". */
void tls_peer_info(const struct tls_peer *peer, const struct ssl_st *ssl, struct tls_info *info);

#endif
