#include "core/tls_digest.h"

#include "core/log.h"
#include "core/tls_openssl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#ifdef EVSERVE_HAS_TLS

int tls_digest_load(char *err, size_t errlen)
{
    return tls_openssl_load(err, errlen);
}

static const EVP_MD *digest_kind(enum tls_digest digest)
{
    switch (digest) {
    case TLS_DIGEST_MD5:
        return EVP_md5();
    case TLS_DIGEST_SHA1:
        return EVP_sha1();
    case TLS_DIGEST_SHA256:
        return EVP_sha256();
    case TLS_DIGEST_SHA512:
        break;
    }
    return EVP_sha512();
}

/* A digest that OpenSSL's configuration forbids, or no memory. */
static int complain_of_digest(char *err, size_t errlen)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_text(err, errlen, -EIO, "OpenSSL has refused: %s", reason == NULL ? "out of memory" : reason);
}

int tls_digest(enum tls_digest digest, const void *bytes, size_t len, unsigned char out[TLS_DIGEST_MAX],
               unsigned *out_len, char *err, size_t errlen)
{
    int rv = tls_digest_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    return EVP_Digest(bytes, len, out, out_len, digest_kind(digest), NULL) == 1 ? 0 : complain_of_digest(err, errlen);
}

int tls_digest_hmac(enum tls_digest digest, const void *key, size_t key_len, const void *bytes, size_t len,
                    unsigned char out[TLS_DIGEST_MAX], unsigned *out_len, char *err, size_t errlen)
{
    int rv = tls_digest_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    size_t written = 0;
    static const char *const names[] = {"MD5", "SHA1", "SHA256", "SHA512"}; /* by enum tls_digest */
    if (EVP_Q_mac(NULL, "HMAC", NULL, names[digest], NULL, key, key_len, bytes, len, out, TLS_DIGEST_MAX, &written) ==
        NULL) {
        return complain_of_digest(err, errlen);
    }
    *out_len = (unsigned)written;
    return 0;
}

int tls_digest_hkdf(const void *secret, size_t secret_len, const void *salt, size_t salt_len, const void *info,
                    size_t info_len, unsigned char *out, size_t out_len, char *err, size_t errlen)
{
    enum { HASH = 32 };                                       /* bytes of SHA-256 */
    unsigned char key[TLS_DIGEST_MAX], block[TLS_DIGEST_MAX]; /* what RFC 5869 calls PRK and T(n) */
    unsigned char input[HASH + TLS_HKDF_INFO_MAX + 1];        /* T(n - 1), info, n */
    unsigned len;
    assert(out_len <= TLS_HKDF_MAX && info_len <= TLS_HKDF_INFO_MAX);
    int rv = tls_digest_hmac(TLS_DIGEST_SHA256, salt, salt_len, secret, secret_len, key, &len, err, errlen);
    size_t before = 0; /* bytes of T(n - 1) in input */
    unsigned char number = 1;
    for (size_t done = 0; rv == 0 && done < out_len; done += HASH, number++) {
        memcpy(input, block, before);
        memcpy(input + before, info, info_len);
        input[before + info_len] = number;
        rv = tls_digest_hmac(TLS_DIGEST_SHA256, key, HASH, input, before + info_len + 1, block, &len, err, errlen);
        before = HASH;
        if (rv == 0) {
            memcpy(out + done, block, out_len - done < HASH ? out_len - done : HASH);
        }
    }
    explicit_bzero(key, sizeof key);
    explicit_bzero(block, sizeof block);
    explicit_bzero(input, sizeof input);
    return rv;
}

#else

int tls_digest_load(char *err, size_t errlen)
{
    return error_text(err, errlen, -ELIBACC, "this evserve was built without OpenSSL (EVSERVE_TLS)");
}

int tls_digest(enum tls_digest digest, const void *bytes, size_t len, unsigned char out[TLS_DIGEST_MAX],
               unsigned *out_len, char *err, size_t errlen)
{
    (void)digest;
    (void)bytes;
    (void)len;
    (void)out;
    (void)out_len;
    return tls_digest_load(err, errlen);
}

int tls_digest_hmac(enum tls_digest digest, const void *key, size_t key_len, const void *bytes, size_t len,
                    unsigned char out[TLS_DIGEST_MAX], unsigned *out_len, char *err, size_t errlen)
{
    (void)digest;
    (void)key;
    (void)key_len;
    (void)bytes;
    (void)len;
    (void)out;
    (void)out_len;
    return tls_digest_load(err, errlen);
}

int tls_digest_hkdf(const void *secret, size_t secret_len, const void *salt, size_t salt_len, const void *info,
                    size_t info_len, unsigned char *out, size_t out_len, char *err, size_t errlen)
{
    (void)secret;
    (void)secret_len;
    (void)salt;
    (void)salt_len;
    (void)info;
    (void)info_len;
    (void)out;
    (void)out_len;
    return tls_digest_load(err, errlen);
}

#endif
