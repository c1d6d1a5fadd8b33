#ifndef EVSERVE_CORE_TLS_CONTEXT_H
#define EVSERVE_CORE_TLS_CONTEXT_H

/* What the TLS listeners of a server need: certificates chosen by server name, settings, the keys of session
 * tickets. A context is read-only once it is in use, and shared by all reactors; a new set of certificates is a new
 * context, which takes the ticket keys over from the former one. Built without TLS (EVSERVE_TLS=OFF, or without
 * libssl-dev) every function that makes something fails with -ENOTSUP and says so. */

#include "core/tls_certificate.h"
#include "core/tls_settings.h"

#include <stdbool.h>
#include <stddef.h>

struct log;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct tls_context;
struct tls_tickets;

/* Make a context without certificates. base_fd: where relative names of files start (sys_base()). former, or NULL,
 * gives its ticket keys. log is borrowed, may be NULL. Returns 0, or -errno with a text in err that names the
 * setting. */
int tls_context_create(struct tls_context **context, const struct tls_settings *settings, struct tls_context *former,
                       int base_fd, const struct log *log, char *err, size_t errlen);

/* Add a certificate. The first one is the default, for clients that name no server or an unknown one. For each name the
 * first certificate that has it is shown, and beside it the first one with each other kind of key (ECDSA, RSA). Returns
 * 0, or -errno with a text in err that names the file and OpenSSL's reason, and nothing added; -EEXIST: earlier ones
 * have all of its names; -ENOMEM: then the context is good for nothing but tls_context_put(). Warnings go
 * to the log: a key file that others can read, a certificate that has expired or will within 14 days, or that does not
 * contain the name it is for. */
int tls_context_add(struct tls_context *context, const struct tls_certificate *certificate, char *err, size_t errlen);

/* Add the n-th certificate of former as it was read then: since it is the same, with reason NULL; or since what is in
 * its files by now cannot be used, for this reason. Returns 1 if that is another reason than last time, else 0; or
 * -ENOMEM. */
int tls_context_take(struct tls_context *context, struct tls_context *former, size_t n, const char *reason);

/* All certificates are there: make it ready for use. Returns 0, or -errno with a text in err; then it is good for
 * nothing but tls_context_put(). */
int tls_context_finish(struct tls_context *context, char *err, size_t errlen);

/* Log the warnings about expiry again; without is_full, only what is new: a certificate that has come into its last 14
 * days, or, as an error, one that has expired. Its certificates are used as by tls_context_is_stale(). */
void tls_context_warn(struct tls_context *context, bool is_full);

/* What the n-th certificate is: its file, names and end. Returns false behind the last one. */
bool tls_context_describe(const struct tls_context *context, size_t n, char *text, size_t size);

/* Log that the n-th certificate has come in place of another one, that of former at was: its file, names and end.
 * Returns whether it has. */
bool tls_context_log_renewed(const struct tls_context *context, size_t n, const struct tls_context *former, size_t was);

/* Whether one of the files has changed since it was read, or since the last call (certbot's links included): stat(2)
 * of each, no reading. So new files that turn out to be broken are tried once. Its certificates must not be used by
 * another call at the same time, of another context either; the same holds for the next two, and for
 * tls_context_take(). */
bool tls_context_is_stale(struct tls_context *context);

/* Whether there is something else in the files of the n-th certificate than what was read, as far as
 * tls_context_is_stale() and tls_context_take() have seen; and of any certificate. */
bool tls_context_is_behind(const struct tls_context *context, size_t n);
bool tls_context_has_behind(const struct tls_context *context);

/* Whether some certificate is for this name (case ignored, wildcards as RFC 6125). */
bool tls_context_has_name(const struct tls_context *context, const char *name, size_t len);

/* Its ticket keys, borrowed. */
struct tls_tickets *tls_context_tickets(const struct tls_context *context);

/* References: any thread. Connections hold one; the last one frees it. NULL is allowed for put. */
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_put(struct tls_context *context);

/* What a new connection begins with, before the client has named a server: borrowed. NULL before
 * tls_context_finish(), and without certificates. */
struct ssl_ctx_st *tls_context_default(const struct tls_context *context);

/* Whether a connection whose handshake ended with ctx is the wrong one for a name: clients of this name are asked for
 * certificates, and not as those of the connection's name were. A name without a certificate of its own, or none (len
 * 0), is taken for one of the default certificate, as in the handshake. */
bool tls_context_separates(const struct tls_context *context, const struct ssl_ctx_st *ctx, const char *name,
                           size_t len);

#endif
