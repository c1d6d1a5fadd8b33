#include "core/tls_digest.h"

#include "core/log.h"
#include "core/tls_openssl.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
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

enum { HKDF_HASH = 32 }; /* bytes of SHA-256 */

struct hkdf_part {
    const void *bytes;
    size_t len;
};

/* HMACs one after the other with one context, since fetching the algorithm takes longer than what is computed here. */
static bool hkdf_step(EVP_MAC_CTX *ctx, const OSSL_PARAM *params, const void *key, size_t key_len,
                      const struct hkdf_part *parts, size_t count, unsigned char out[HKDF_HASH])
{
    static const unsigned char zeros[HKDF_HASH];
    size_t len;
    bool is_done = EVP_MAC_init(ctx, key_len > 0 ? key : zeros, key_len > 0 ? key_len : sizeof zeros, params) == 1;
    for (size_t i = 0; i < count && is_done; i++) {
        is_done = EVP_MAC_update(ctx, parts[i].bytes, parts[i].len) == 1;
    }
    return is_done && EVP_MAC_final(ctx, out, &len, HKDF_HASH) == 1;
}

int tls_digest_hkdf(const void *secret, size_t secret_len, const void *salt, size_t salt_len, const void *info,
                    size_t info_len, unsigned char *out, size_t out_len, char *err, size_t errlen)
{
    unsigned char key[HKDF_HASH], block[HKDF_HASH], number = 0; /* what RFC 5869 calls PRK, T(n) and n */
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};
    const struct hkdf_part extract = {secret, secret_len};
    const struct hkdf_part expand[] = {{block, HKDF_HASH}, {info, info_len}, {&number, 1}};
    assert(out_len <= TLS_HKDF_MAX);
    int rv = tls_digest_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
    bool is_done = ctx != NULL && hkdf_step(ctx, params, salt, salt_len, &extract, 1, key);
    for (size_t done = 0; is_done && done < out_len; done += HKDF_HASH) {
        size_t skipped = number++ == 0 ? 1 : 0; /* T(0) is empty */
        is_done = hkdf_step(ctx, NULL, key, HKDF_HASH, expand + skipped, 3 - skipped, block);
        if (is_done) {
            memcpy(out + done, block, out_len - done < HKDF_HASH ? out_len - done : HKDF_HASH);
        }
    }
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    explicit_bzero(key, sizeof key);
    explicit_bzero(block, sizeof block);
    return is_done ? 0 : complain_of_digest(err, errlen);
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
