#ifndef EVSERVE_CORE_TLS_H
#define EVSERVE_CORE_TLS_H

/* TLS as a transport (RFC 8446, RFC 5246), on OpenSSL 3: only core/tls*.c know it. A tls_context is what the listeners of a
 * server need: certificates chosen by server name, settings, the keys of session tickets. It is read-only once it is in use,
 * and shared by all reactors; a new set of certificates is a new context, which takes the ticket keys over from the former
 * one. Built without TLS (EVSERVE_TLS=OFF, or without libssl-dev) every function that makes something fails with -ENOTSUP and
 * says so in plain words. */

#include "core/transport.h"

#include <stdbool.h>
#include <stddef.h>

struct log;
struct tls_context;

/* What holds for all connections of a context. Zeroed: Mozilla's intermediate configuration. */
struct tls_settings {
    const char *min_version;  /* "1.2" (the default) or "1.3" */
    const char *ciphers;      /* of TLS 1.2, as OpenSSL writes a list; NULL: Mozilla's intermediate list */
    const char *ciphersuites; /* of TLS 1.3; NULL: OpenSSL's */
    const char *groups;       /* NULL: X25519, prime256v1, secp384r1 */
    const char *alpn;         /* protocols offered, in order of preference, joined by ','; NULL: "http/1.1" */
};

/* One certificate with its chain and key: files, or PEM in memory. */
struct tls_certificate {
    const char
        *name; /* server name it is for, in place of those it contains: "example.org", "*.example.org"; NULL: those */
    const char *cert_file; /* PEM, the chain behind it; relative to base_fd; or NULL */
    const char *key_file;  /* PEM; NULL: in cert_file */
    const char *cert_pem;  /* in memory, NUL-terminated; in place of cert_file */
    const char *key_pem;
    const char
        *client_ca_file; /* PEM: certificates that clients of this name may be signed by; NULL: none is asked for */
    const char *client_ca_pem;
    bool is_client_required; /* a client without a certificate is refused in the handshake */
};

/* Make a context without certificates. base_fd: where relative names start (sys_base()). former, or NULL, gives its ticket keys.
 * log is borrowed, may be NULL. Returns 0, or -errno with a text in err that names the setting. */
int tls_context_create(struct tls_context **context, const struct tls_settings *settings, struct tls_context *former,
                       int base_fd, const struct log *log, char *err, size_t errlen);

/* Add a certificate. The first one is the default, for clients that name no server or an unknown one; a second one with the
 * same names and another kind of key (ECDSA, RSA) is used beside it. Returns 0, or -errno with a text in err that names the
 * file and OpenSSL's reason. Warnings (a key file that others can read, a certificate that has expired or will within 14
 * days) go to the log. */
int tls_context_add(struct tls_context *context, const struct tls_certificate *certificate, char *err, size_t errlen);

/* Whether one of the files has changed since it was read (certbot's links included): stat(2) of each, no reading. */
bool tls_context_is_stale(const struct tls_context *context);

/* Whether some certificate is for this name (case ignored, wildcards as RFC 6125). */
bool tls_context_has_name(const struct tls_context *context, const char *name, size_t len);

/* References: any thread. Connections hold one; the last one frees it. NULL is allowed for put. */
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_put(struct tls_context *context);

/* The transport: transport_open() with these, then tls_open() before the first read. The handshake happens inside of reads and
 * writes, which say -EAGAIN while it lasts; transport->is_opening holds until it is over. */
extern const struct transport_ops tls_transport_ops;
int tls_open(struct transport *transport, struct tls_context *context, const struct log *log, const char *peer);

/* What was agreed on. Texts are valid as long as the connection; "" where there is none. Only after the handshake; returns false
 * for a transport that is not TLS, or before. */
struct tls_info {
    const char *version;            /* "TLSv1.3" */
    const char *cipher;             /* "TLS_AES_128_GCM_SHA256" */
    const char *server_name;        /* that the client asked for */
    const char *alpn;               /* "http/1.1" */
    const char *client_subject;     /* RFC 4514 text of the client's verified certificate */
    const char *client_fingerprint; /* its SHA-256, lower-case hexadecimal */
    bool is_resumed;
};
bool tls_get_info(const struct transport *transport, struct tls_info *info);

#endif
