#ifndef EVSERVE_CORE_TLS_CERTIFICATE_H
#define EVSERVE_CORE_TLS_CERTIFICATE_H

/* A certificate with its chain and its key: what a server shows its clients. */

#include "core/tls_pem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;
struct x509_st; /* OpenSSL's X509 */

/* What a host configures: files, or PEM in memory. */
struct tls_certificate {
    const char *name;           /* server name it is for, in place of those it contains: "*.example.org"; NULL: those */
    const char *cert_file;      /* PEM, the chain behind it; or NULL */
    const char *key_file;       /* PEM; NULL: in cert_file */
    const char *cert_pem;       /* in memory, NUL-terminated; in place of cert_file */
    const char *key_pem;        /* likewise; NULL: in cert_pem */
    const char *client_ca_file; /* PEM: authorities that sign clients' certificates; NULL: none is asked for */
    const char *client_ca_pem;  /* in memory, in place of client_ca_file */
    bool is_client_optional;    /* with client_ca: a client without a certificate is not refused in the handshake */
};

/* What was read. Owned; zeroed before. */
struct tls_identity {
    struct stack_st_X509 *chain; /* the certificate first */
    struct evp_pkey_st *key;     /* its private key */
};

/* Read both, relative names from base_fd (sys_base()), and check that they belong together. A key file that others
 * can read is a warning in the log. Returns 0, or -errno with a text in err, and nothing read. */
int tls_identity_read(struct tls_identity *identity, const struct tls_certificate *certificate, int base_fd,
                      const struct log *log, char *err, size_t errlen);
void tls_identity_done(struct tls_identity *identity);

/* The server's own certificate, borrowed. */
struct x509_st *tls_identity_leaf(const struct tls_identity *identity);

/* Call fn with each name that the certificate contains (DNS names and IP addresses; without any, its common name),
 * until it returns something other than 0. Returns that, or 0. */
int tls_identity_names(const struct tls_identity *identity, int (*fn)(void *arg, const char *name, size_t len),
                       void *arg);

/* Log a warning if a certificate has expired, will within 14 days, or is not valid yet. what: its file. */
void tls_certificate_warn(const struct x509_st *leaf, const char *what, const struct log *log);

#endif
