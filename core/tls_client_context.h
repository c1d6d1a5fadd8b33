#ifndef EVSERVE_CORE_TLS_CLIENT_CONTEXT_H
#define EVSERVE_CORE_TLS_CLIENT_CONTEXT_H

/* How TLS connections to other servers are made: whom to trust, what to show. One thread. Built without TLS
 * none can be made: core/tls_clients.h says so. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;
struct ssl_ctx_st;    /* OpenSSL's SSL_CTX */
struct x509_store_st; /* OpenSSL's X509_STORE */
struct tls_client_context;
struct tls_sessions;

/* Zeroed: servers need a certificate of an authority that the system trusts; TLS 1.2 or later. */
struct tls_client_settings {
    bool is_unverified;      /* the server's certificate is not looked at: whoever is on the way can read everything */
    const char *ca_file;     /* PEM: authorities to trust in place of the system's, or the server's own certificate */
    const char *ca_pem;      /* in memory, NUL-terminated; in place of ca_file */
    const char *cert_file;   /* PEM: our certificate, its chain behind it, for servers that ask for one; or NULL */
    const char *key_file;    /* PEM: its key; NULL: in cert_file */
    const char *cert_pem;    /* in memory, in place of cert_file */
    const char *key_pem;     /* likewise; NULL: in cert_pem */
    const char *alpn;        /* protocols to offer, in order of preference, joined by ','; NULL: ALPN is not used */
    const char *min_version; /* "1.2" (the default) or "1.3" */
    int base_fd;             /* where relative names of files start: sys_base() */
};

/* Make one, with one reference. authorities: those that the system trusts, of tls_client_authorities(); only looked at
 * where settings do not name others. sessions, which outlives it, or NULL: none is resumed. number: which context it
 * is, for sessions. Returns 0, or -errno with a text in err that names the setting and its file. */
int tls_client_context_create(struct tls_client_context **context, const struct tls_client_settings *settings,
                              struct x509_store_st *authorities, struct tls_sessions *sessions, uint64_t number,
                              const struct log *log, char *err, size_t errlen);

/* References. A connection holds one. NULL is allowed for put. */
struct tls_client_context *tls_client_context_ref(struct tls_client_context *context);
void tls_client_context_put(struct tls_client_context *context);

/* Whether it was made with the same settings. */
bool tls_client_context_fits(const struct tls_client_context *context, const struct tls_client_settings *settings);

/* Whether it shows the certificate of ours that settings name, or none if they name none. */
bool tls_client_context_shows(const struct tls_client_context *context, const struct tls_client_settings *settings);

/* Whether one of its files has changed since it was read, or since the last call. */
bool tls_client_context_has_changed(struct tls_client_context *context);

/* What a connection begins with, borrowed. */
struct ssl_ctx_st *tls_client_context_ctx(const struct tls_client_context *context);
bool tls_client_context_is_unverified(const struct tls_client_context *context);
struct tls_sessions *tls_client_context_sessions(const struct tls_client_context *context); /* or NULL */
uint64_t tls_client_context_number(const struct tls_client_context *context);

#endif
