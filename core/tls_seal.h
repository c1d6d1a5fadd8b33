#ifndef EVSERVE_CORE_TLS_SEAL_H
#define EVSERVE_CORE_TLS_SEAL_H

/* Texts that travel through hands that are not to be trusted, such as cookies: nobody without the secret can read them
 * or make others. They are not bound to a user: who has one can send it again until it is too old.
 *
 * A sealed text is base64url, without padding, of
 *
 *     version     1 byte, which is 1
 *     salt        24 random bytes
 *     ciphertext  8 + n bytes: when it was sealed, in milliseconds since the epoch (big-endian), and the text
 *     tag         16 bytes
 *
 * by AES-256-GCM. The key (32 bytes) and the nonce (12 bytes) behind it are those that HKDF-SHA-256 (RFC 5869) derives
 * from the secret and the salt, with "evserve seal 1 " and the purpose as info. So each text has a key of its own, and
 * the limit of random nonces under one key does not exist. The associated data are the version and the purpose.
 *
 * Nothing is kept between calls. Any thread. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SEAL_TEXT_MAX = 65536,   /* bytes of a text */
    SEAL_SECRET_LEAST = 32,  /* bytes of a secret: as strong as the key */
    SEAL_SECRET_MAX = 1024,  /* and at most */
    SEAL_SECRETS_MAX = 16,   /* that are tried */
    SEAL_PURPOSE_MAX = 255,  /* bytes */
    SEAL_OVERHEAD = 49,      /* bytes of a seal beside its text */
    SEAL_SEALED_MAX = 87447, /* characters of the longest sealed text */
};

struct seal_secret {
    const char *text;
    size_t len; /* from SEAL_SECRET_LEAST to SEAL_SECRET_MAX */
};

/* What a seal is bound to. */
struct seal_terms {
    struct seal_secret secrets[SEAL_SECRETS_MAX]; /* the first one seals; each may open */
    size_t count;                                 /* of secrets, at least 1 */
    const char *purpose;                          /* what is sealed for one purpose is not opened for another */
    size_t purpose_len;                           /* up to SEAL_PURPOSE_MAX */
    uint64_t max_age_ms;                          /* when opened: older ones are refused; 0: there is no limit */
};

/* The characters of a text of len bytes once it is sealed. */
size_t tls_seal_room(size_t len);

/* Seal len bytes, at most SEAL_TEXT_MAX, into out, which has tls_seal_room(len) bytes; there is no NUL. now_ms is
 * sys_wall_time_ms(). Returns 0, -ENOMEM, or as core/tls_digest.h with a text in err; -EIO also if the system gives no
 * random bytes. */
int tls_seal_text(const struct seal_terms *terms, const void *text, size_t len, int64_t now_ms, char *out, char *err,
                  size_t errlen);

/* Open a sealed text of len characters into out, which has len bytes. Returns the length of the text; -EINVAL if this is
 * no sealed text, -EBADMSG if it was changed or sealed under other terms, -ETIME if it is too old; or as above. Nothing
 * is left in out without authentication. */
ssize_t tls_seal_open(const struct seal_terms *terms, const char *sealed, size_t len, int64_t now_ms, void *out,
                      char *err, size_t errlen);

#endif
