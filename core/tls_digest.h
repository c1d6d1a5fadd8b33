#ifndef EVSERVE_CORE_TLS_DIGEST_H
#define EVSERVE_CORE_TLS_DIGEST_H

/* Digests of OpenSSL. Any thread. All functions return 0, or -ELIBACC or -EIO with a text in err: OpenSSL is not there
 * (or not in this build), or does not allow the digest. */

#include <stddef.h>

enum tls_digest { TLS_DIGEST_MD5, TLS_DIGEST_SHA1, TLS_DIGEST_SHA256, TLS_DIGEST_SHA512 };

enum { TLS_DIGEST_MAX = 64 }; /* bytes of the longest */

/* Have OpenSSL loaded now, rather than by the first digest, which may be too late for that: see tls_openssl_load(). */
int tls_digest_load(char *err, size_t errlen);

/* The digest of len bytes, and its length. */
int tls_digest(enum tls_digest digest, const void *bytes, size_t len, unsigned char out[TLS_DIGEST_MAX],
               unsigned *out_len, char *err, size_t errlen);

/* The HMAC (RFC 2104) of len bytes with that digest, likewise. */
int tls_digest_hmac(enum tls_digest digest, const void *key, size_t key_len, const void *bytes, size_t len,
                    unsigned char out[TLS_DIGEST_MAX], unsigned *out_len, char *err, size_t errlen);

/* Derive out_len bytes, at most TLS_HKDF_MAX, from a secret: HKDF (RFC 5869) with SHA-256. What differs in salt or info
 * differs in every byte. */
enum { TLS_HKDF_MAX = 64 };
int tls_digest_hkdf(const void *secret, size_t secret_len, const void *salt, size_t salt_len, const void *info,
                    size_t info_len, unsigned char *out, size_t out_len, char *err, size_t errlen);

#endif
