/* Happy path: a fresh salt gives a fresh key and nonce, with which OpenSSL encrypts and authenticates.
 *
 * Failure modes: what clients send is refused by its form before anything is computed, and by OpenSSL's check of the
 * tag otherwise; nothing is compared here. A text has one sealed form for each salt: base64 with spare bits or padding
 * is refused, so that no bit can change unnoticed. */

#include "core/tls_seal.h"

#include "core/base64.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/random.h"
#include "core/tls_digest.h"
#include "core/tls_openssl.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum {
    SEAL_VERSION = 1,
    SEAL_SALT = 24,
    SEAL_TIME = 8,
    SEAL_TAG = 16,
    SEAL_KEY = 32,
    SEAL_NONCE = 12,
    SEAL_BEFORE = 1 + SEAL_SALT, /* the bytes in front of the ciphertext */
    SEAL_AFTER = SEAL_TAG,
};

static_assert(SEAL_BEFORE + SEAL_TIME + SEAL_AFTER == SEAL_OVERHEAD, "the parts are the whole");
static_assert((SEAL_OVERHEAD + SEAL_TEXT_MAX) * 4 / 3 + 1 == SEAL_SEALED_MAX, "the longest text, in base64url");

size_t tls_seal_room(size_t len)
{
    size_t bytes = SEAL_OVERHEAD + len;
    return bytes / 3 * 4 + (bytes % 3 == 0 ? 0 : bytes % 3 + 1);
}

#ifdef EVSERVE_HAS_TLS

static const char seal_info[] = "evserve seal 1 ";

/* A key for one text. */
struct seal_key {
    unsigned char key[SEAL_KEY], nonce[SEAL_NONCE];
};

static_assert(sizeof(struct seal_key) == SEAL_KEY + SEAL_NONCE, "derived in one piece");

static int derive_seal_key(const struct seal_terms *terms, const struct seal_secret *secret, const unsigned char *salt,
                           struct seal_key *key, char *err, size_t errlen)
{
    unsigned char info[sizeof seal_info + SEAL_PURPOSE_MAX];
    size_t len = sizeof seal_info - 1;
    memcpy(info, seal_info, len);
    memcpy(info + len, terms->purpose, terms->purpose_len);
    return tls_digest_hkdf(secret->text, secret->len, salt, SEAL_SALT, info, len + terms->purpose_len,
                           (unsigned char *)key, sizeof *key, err, errlen);
}

static int complain_of_seal(char *err, size_t errlen)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return error_text(err, errlen, -EIO, "OpenSSL cannot seal: %s", reason == NULL ? "out of memory" : reason);
}

/* A context with the key and the associated data, or NULL. */
static EVP_CIPHER_CTX *begin_cipher(const struct seal_terms *terms, const struct seal_key *key, int is_sealing)
{
    static const unsigned char version = SEAL_VERSION;
    int len;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx != NULL && EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->key, key->nonce, is_sealing) == 1 &&
        EVP_CipherUpdate(ctx, NULL, &len, &version, 1) == 1 &&
        EVP_CipherUpdate(ctx, NULL, &len, (const unsigned char *)terms->purpose, (int)terms->purpose_len) == 1) {
        return ctx;
    }
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

static void put_seal_time(unsigned char *at, int64_t ms)
{
    for (int i = 0; i < SEAL_TIME; i++) {
        at[i] = (unsigned char)((uint64_t)ms >> (56 - 8 * i));
    }
}

static int64_t get_seal_time(const unsigned char *at)
{
    uint64_t ms = 0;
    for (int i = 0; i < SEAL_TIME; i++) {
        ms = ms << 8 | at[i];
    }
    return (int64_t)ms;
}

/* Fill in the ciphertext and the tag behind version and salt. */
static int encrypt_seal(const struct seal_terms *terms, const struct seal_key *key, const void *text, size_t len,
                        int64_t now_ms, unsigned char *seal, char *err, size_t errlen)
{
    unsigned char time[SEAL_TIME], *at = seal + SEAL_BEFORE;
    int done = 0, more = 0, last = 0;
    put_seal_time(time, now_ms);
    EVP_CIPHER_CTX *ctx = begin_cipher(terms, key, 1);
    bool is_sealed = ctx != NULL && EVP_CipherUpdate(ctx, at, &done, time, SEAL_TIME) == 1 &&
                     EVP_CipherUpdate(ctx, at + done, &more, text, (int)len) == 1 &&
                     EVP_CipherFinal_ex(ctx, at + done + more, &last) == 1 &&
                     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, at + SEAL_TIME + len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return is_sealed ? 0 : complain_of_seal(err, errlen);
}

/* Decrypt time and text into plain. Returns 0, -EBADMSG if the tag is wrong, or -EIO. */
static int decrypt_seal(const struct seal_terms *terms, const struct seal_key *key, unsigned char *seal, size_t len,
                        unsigned char *plain, char *err, size_t errlen)
{
    int done = 0, last = 0, rv;
    EVP_CIPHER_CTX *ctx = begin_cipher(terms, key, 0);
    if (ctx == NULL ||
        EVP_CipherUpdate(ctx, plain, &done, seal + SEAL_BEFORE, (int)(len - SEAL_BEFORE - SEAL_TAG)) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, seal + len - SEAL_TAG) != 1) {
        rv = complain_of_seal(err, errlen);
    } else {
        rv = EVP_CipherFinal_ex(ctx, plain + done, &last) == 1 ? 0 : -EBADMSG;
        ERR_clear_error();
    }
    EVP_CIPHER_CTX_free(ctx);
    return rv;
}

int tls_seal_text(const struct seal_terms *terms, const void *text, size_t len, int64_t now_ms, char *out, char *err,
                  size_t errlen)
{
    assert(len <= SEAL_TEXT_MAX && terms->count > 0);
    int rv = tls_digest_load(err, errlen);
    unsigned char *seal = rv < 0 ? NULL : mem_alloc(SEAL_OVERHEAD + len);
    if (seal == NULL) {
        return rv < 0 ? rv : error_text(err, errlen, -ENOMEM, "out of memory");
    }
    struct seal_key key;
    seal[0] = SEAL_VERSION;
    rv = random_fill(seal + 1, SEAL_SALT);
    if (rv < 0) {
        rv = error_text(err, errlen, -EIO, "the system gives no random bytes: %s", errno_text(-rv));
    }
    rv = rv < 0 ? rv : derive_seal_key(terms, &terms->secrets[0], seal + 1, &key, err, errlen);
    rv = rv < 0 ? rv : encrypt_seal(terms, &key, text, len, now_ms, seal, err, errlen);
    if (rv == 0) {
        base64_encode(seal, SEAL_OVERHEAD + len, BASE64_URL, out);
    }
    explicit_bzero(&key, sizeof key);
    mem_free(seal);
    return rv;
}

/* Decrypt with the secret that fits. plain has as many bytes as the seal. */
static int try_secrets(const struct seal_terms *terms, unsigned char *seal, size_t len, unsigned char *plain, char *err,
                       size_t errlen)
{
    struct seal_key key;
    int rv = -EBADMSG;
    for (size_t i = 0; i < terms->count && rv == -EBADMSG; i++) {
        rv = derive_seal_key(terms, &terms->secrets[i], seal + 1, &key, err, errlen);
        rv = rv < 0 ? rv : decrypt_seal(terms, &key, seal, len, plain, err, errlen);
    }
    explicit_bzero(&key, sizeof key);
    return rv;
}

static bool is_seal_too_old(const struct seal_terms *terms, int64_t sealed_ms, int64_t now_ms)
{
    return terms->max_age_ms > 0 && now_ms > sealed_ms && (uint64_t)(now_ms - sealed_ms) > terms->max_age_ms;
}

/* Open the bytes of a seal. plain is what it was made of. */
static ssize_t open_seal(const struct seal_terms *terms, unsigned char *seal, size_t len, int64_t now_ms,
                         unsigned char *plain, void *out, char *err, size_t errlen)
{
    if (len < SEAL_OVERHEAD || seal[0] != SEAL_VERSION) {
        return -EINVAL;
    }
    int rv = try_secrets(terms, seal, len, plain, err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (is_seal_too_old(terms, get_seal_time(plain), now_ms)) {
        return -ETIME;
    }
    memcpy(out, plain + SEAL_TIME, len - SEAL_OVERHEAD);
    return (ssize_t)(len - SEAL_OVERHEAD);
}

ssize_t tls_seal_open(const struct seal_terms *terms, const char *sealed, size_t len, int64_t now_ms, void *out,
                      char *err, size_t errlen)
{
    assert(terms->count > 0);
    int rv = tls_digest_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    if (len < tls_seal_room(0) || len > SEAL_SEALED_MAX || sealed[len - 1] == '=') {
        return -EINVAL;
    }
    size_t room = base64_decoded_room(len), bad;
    unsigned char *seal = mem_alloc(2 * room); /* and what it was made of */
    if (seal == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    ssize_t got = base64_decode_exact(sealed, len, true, seal, &bad);
    if (got > 0) {
        got = open_seal(terms, seal, (size_t)got, now_ms, seal + room, out, err, errlen);
    }
    explicit_bzero(seal + room, room);
    mem_free(seal);
    return got;
}

#else

int tls_seal_text(const struct seal_terms *terms, const void *text, size_t len, int64_t now_ms, char *out, char *err,
                  size_t errlen)
{
    (void)terms;
    (void)text;
    (void)len;
    (void)now_ms;
    (void)out;
    return tls_digest_load(err, errlen);
}

ssize_t tls_seal_open(const struct seal_terms *terms, const char *sealed, size_t len, int64_t now_ms, void *out,
                      char *err, size_t errlen)
{
    (void)terms;
    (void)sealed;
    (void)len;
    (void)now_ms;
    (void)out;
    return tls_digest_load(err, errlen);
}

#endif
