#ifndef EVSERVE_CORE_TLS_SETTINGS_H
#define EVSERVE_CORE_TLS_SETTINGS_H

/* What holds for all TLS connections of a server, and OpenSSL's SSL_CTX that has it. */

#include <stddef.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/* Zeroed: Mozilla's intermediate configuration. */
struct tls_settings {
    const char *min_version;  /* "1.2" (the default) or "1.3" */
    const char *ciphers;      /* of TLS 1.2, as OpenSSL writes a list; NULL: Mozilla's intermediate list, without DHE */
    const char *ciphersuites; /* of TLS 1.3; NULL: Mozilla's, AES-128 first */
    const char *groups;       /* NULL: X25519, prime256v1, secp384r1 */
    const char *alpn;         /* protocols offered, in order of preference, joined by ','; NULL: "http/1.1,http/1.0" */
    const char *ciphers_place; /* where ciphers were set, to begin errors with: "site.lua:3"; or NULL */
    const char *groups_place;  /* likewise */
};

enum { TLS_ALPN_MAX = 128 }; /* bytes of all protocols, as they lie on the wire */

/* Make a copy of each text in to, freed by tls_settings_done(). Returns 0 or -ENOMEM; either way that is due. */
int tls_settings_copy(struct tls_settings *to, const struct tls_settings *from);
void tls_settings_done(struct tls_settings *settings);

/* The protocols as they lie on the wire (RFC 7301, section 3.1). Returns their bytes, or -EINVAL with a text in err. */
int tls_settings_alpn(const struct tls_settings *settings, unsigned char alpn[TLS_ALPN_MAX], char *err, size_t errlen);

/* Make a ctx with all settings except ALPN. NULL with a text in err that names the setting, and -errno in *error. */
struct ssl_ctx_st *tls_settings_ctx(const struct tls_settings *settings, int *error, char *err, size_t errlen);

/* Make a ctx for clients, with OpenSSL's own ciphers and groups: servers may be old. min_version: "1.2", "1.3" or NULL.
 * NULL likewise. */
struct ssl_ctx_st *tls_settings_client_ctx(const char *min_version, int *error, char *err, size_t errlen);

#endif
