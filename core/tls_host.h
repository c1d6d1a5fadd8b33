#ifndef EVSERVE_CORE_TLS_HOST_H
#define EVSERVE_CORE_TLS_HOST_H

/* What a server shows the clients that ask for certain names: a certificate, or one for each kind of key, and the
 * authorities by which clients of these names identify themselves. */

#include <stdbool.h>
#include <stddef.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct tls_host;
struct tls_identity;

/* Make a host that shows the certificates of other, or none if that is NULL, and this one beside them; each is a
 * reference. NULL without memory. */
struct tls_host *tls_host_create(const struct tls_host *other, struct tls_identity *identity);
void tls_host_destroy(struct tls_host *host); /* NULL is allowed */

/* The host's certificate with the same kind of key as identity; or NULL. */
const struct tls_identity *tls_host_of_kind(const struct tls_host *host, const struct tls_identity *identity);

/* Whether tls_host_create(other, identity) would make the same. */
bool tls_host_is_made_of(const struct tls_host *host, const struct tls_host *other,
                         const struct tls_identity *identity);

/* Put everything into ctx, which has the settings of all hosts, and is taken over, whatever is returned. names: those
 * of the host, sorted and joined by ' ': sessions are bound to them. Of several certificates, the first that names
 * authorities of clients speaks for all; the others can only make client certificates required. Returns 0, or -errno
 * with a text in err. */
int tls_host_open(struct tls_host *host, struct ssl_ctx_st *ctx, const char *names, char *err, size_t errlen);

/* The ctx, borrowed; NULL before tls_host_open(). */
struct ssl_ctx_st *tls_host_ctx(const struct tls_host *host);

/* After tls_host_open(): whether clients are asked for certificates; and whether both hosts ask for the same, or for
 * nothing. */
bool tls_host_asks_clients(const struct tls_host *host);
bool tls_host_has_rules_of(const struct tls_host *host, const struct tls_host *other);

#endif
