#ifndef EVSERVE_CORE_TLS_CERTIFICATE_H
#define EVSERVE_CORE_TLS_CERTIFICATE_H

/* A certificate with its chain and its key: what a server shows its clients. */

#include "core/file_stamps.h"
#include "core/tls_names.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct evp_pkey_st; /* OpenSSL's EVP_PKEY */
struct log;
struct ssl_ctx_st;    /* OpenSSL's SSL_CTX */
struct stack_st_X509; /* OpenSSL's list of X509 */
struct x509_st;       /* OpenSSL's X509 */

/* What a host configures: files, or PEM in memory. */
struct tls_certificate {
    const char *name;           /* server name it is for, in place of those it contains: "*.example.org"; NULL: those */
    const char *cert_file;      /* PEM, the chain behind it; or NULL */
    const char *key_file;       /* PEM; NULL: in cert_file */
    const char *cert_pem;       /* in memory, NUL-terminated; in place of cert_file */
    const char *key_pem;        /* likewise; NULL: in cert_pem */
    const char *client_ca_file; /* PEM: authorities that sign clients' certificates; NULL: none is asked for */
    const char *client_ca_pem;  /* in memory, in place of client_ca_file */
    const char *place;          /* where it was asked for, to name PEM in memory: "site.lua:3"; or NULL */
    bool is_client_optional;    /* with client_ca: a client without a certificate is not refused in the handshake */
};

/* What was read. Contexts share it: a new context takes it over from the former one if its files have not changed, or
 * cannot be used.
 * The last three members change under the lock of whoever makes contexts, and no connection looks at them. */
struct tls_identity {
    atomic_uint refs;
    struct stack_st_X509 *chain;       /* the certificate first */
    struct evp_pkey_st *key;           /* its private key */
    struct stack_st_X509 *authorities; /* that sign clients' certificates; NULL: none is asked for */
    bool is_client_optional;           /* of struct tls_certificate */
    char *what;                        /* its file, or the place of PEM in memory, for messages */
    struct tls_names names;            /* that it is used for; their values mean nothing */
    struct file_stamps files;          /* as they were when they were read */
    bool is_behind;                    /* there is something else in the files by now */
    char *failure;                     /* why that cannot be used, which the log has already; or NULL */
    int expiry;                        /* how near its end is, as far as the log has said it */
};

/* Read everything, relative names from base_fd (sys_base()), and check that key and certificate belong together. A key
 * file that others can read is a warning in the log, and so is a name that the certificate does not contain. Returns 0,
 * and a reference in *identity; or -errno with a text in err. */
int tls_identity_read(struct tls_identity **identity, const struct tls_certificate *certificate, int base_fd,
                      const struct log *log, char *err, size_t errlen);

/* References: any thread. NULL is allowed for put. */
struct tls_identity *tls_identity_ref(struct tls_identity *identity);
void tls_identity_put(struct tls_identity *identity);

/* Show it to the clients of a ctx, in place of one with the same kind of key. Returns 0, or -EINVAL with a text in err,
 * for example since its key is too short for the security level of the system. */
int tls_identity_use(const struct tls_identity *identity, struct ssl_ctx_st *ctx, char *err, size_t errlen);

/* The kind of its key, as a number and as a text of OpenSSL's. */
int tls_identity_kind(const struct tls_identity *identity);
const char *tls_identity_kind_text(const struct tls_identity *identity);

/* Whether one of its files has changed since this was last asked, or since it was read. Then it is behind. */
bool tls_identity_has_changed(struct tls_identity *identity);

/* Remember why what is in the files by now cannot be used. Returns whether that is another reason than last time. */
bool tls_identity_note_failure(struct tls_identity *identity, const char *reason);

/* Log a warning if it has expired, will within 14 days, is not valid yet, has no subjectAltName, or is not for servers.
 * Without is_full: only if it has come into its last 14 days, or has expired, since the last call. */
void tls_identity_warn(struct tls_identity *identity, const struct log *log, bool is_full);

/* Its names and its end: "example.org, www.example.org and 2 more, until 2026-11-30 09:28 UTC". */
void tls_identity_describe(const struct tls_identity *identity, char *text, size_t size);

/* Log that identity has come in place of former, with its names and its end, if the two have other certificates.
 * Returns whether they have. */
bool tls_identity_log_renewed(const struct tls_identity *identity, const struct tls_identity *former,
                              const struct log *log);

#endif
