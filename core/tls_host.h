#ifndef EVSERVE_CORE_TLS_HOST_H
#define EVSERVE_CORE_TLS_HOST_H

/* What a server shows the clients that ask for certain names: a certificate, or one for each kind of key, and the
 * authorities by which clients of these names identify themselves. */

#include "core/tls_certificate.h"

#include <stddef.h>

struct log;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct tls_host;

/* Make a host without certificates, of which nothing is asked of clients. ctx, with the settings of all hosts, is
 * taken over, whatever is returned. names: all of them, lower-case, sorted and joined by ' '; copied. Returns 0, or
 * -errno with a text in err. */
int tls_host_create(struct tls_host **host, struct ssl_ctx_st *ctx, const char *names, char *err, size_t errlen);
void tls_host_destroy(struct tls_host *host); /* NULL is allowed */

/* Use a certificate with another kind of key beside those it has. Returns 0, or -errno with a text in err. */
int tls_host_add(struct tls_host *host, const struct tls_identity *identity, const char *what, char *err,
                 size_t errlen);

/* Ask clients for certificates, if this certificate's configuration says so; in place of what was asked before.
 * base_fd as in tls_context_create(). Returns 0, or -errno with a text in err. */
int tls_host_ask(struct tls_host *host, const struct tls_certificate *certificate, int base_fd, char *err,
                 size_t errlen);

/* The ctx, borrowed, and the names it was made with. */
struct ssl_ctx_st *tls_host_ctx(const struct tls_host *host);
const char *tls_host_names(const struct tls_host *host);

/* Log what tls_certificate_warn() has to say about each certificate. */
void tls_host_warn(const struct tls_host *host, const struct log *log);

#endif
