#ifndef EVSERVE_CORE_PASSWORD_HASH_H
#define EVSERVE_CORE_PASSWORD_HASH_H

/* Password hashes as password files of web servers have them:
 *
 *     $apr1$salt$hash, $1$...   MD5: "openssl passwd -apr1", "htpasswd -m"
 *     {SHA}..., {SSHA}...       SHA-1 in base64, plain and with a salt behind the hash
 *     $2y$..., $2a$, $2b$       bcrypt: "htpasswd -B"
 *     $5$..., $6$..., $y$...    SHA-256, SHA-512, yescrypt: "mkpasswd", "openssl passwd -5", "-6"
 *
 * The last two lines need crypt(3) (core/crypt_calls.h). Hashes of DES and passwords in clear text are rejected: the
 * first can be guessed in hours, the second read. */

#include <stdbool.h>
#include <stddef.h>

enum {
    PASSWORD_MAX = 512,            /* bytes of a password; a longer one is wrong */
    PASSWORD_HASH_MAX = 384,       /* characters of a hash, as crypt(3) writes it */
    PASSWORD_NEW_MAX = 511,        /* bytes of one that is hashed here: libcrypt takes no more */
    PASSWORD_COST = 5,             /* of new hashes: yescrypt with 16 MiB, some 20 ms */
    PASSWORD_COST_MAX = 9,         /* likewise: 256 MiB */
    PASSWORD_BCRYPT_COST_MAX = 16, /* each step doubles the time: this one takes seconds */
    PASSWORD_ROUNDS_MAX = 5000000, /* of $5$ and $6$, which likewise take seconds */
};

/* Whether this program can verify passwords against a hash. Returns 0; -EINVAL with a text in err that says what is
 * wrong with it, as the end of a sentence: "the hash ..."; or -ELIBACC as crypt_load() does. */
int password_hash_check(const char *stored, char *err, size_t errlen);

/* Whether a password of len bytes is the one that a hash was made of. The hash is one that password_hash_check()
 * accepts. Returns 1 or 0, or -ENOMEM. It takes as long as the hash demands, perhaps a second, so call it on a thread
 * that may wait. The time of the comparison does not depend on where the two differ. */
int password_hash_verify(const char *stored, const char *password, size_t len);

/* Hash a password of len bytes, at most PASSWORD_NEW_MAX and none of them NUL, with yescrypt and a random salt. cost is
 * from 1 to PASSWORD_COST_MAX: each step takes twice as long and as much memory as the one before. The hash goes to text with
 * NUL. Returns its length; -ENOMEM; -ELIBACC as crypt_load(); or -EIO with a text in err. It takes its time, so call it
 * on a thread that may wait. */
int password_hash_make(const char *password, size_t len, unsigned cost, char text[PASSWORD_HASH_MAX], char *err,
                       size_t errlen);

/* Whether len bytes are the same, in a time that does not depend on where they differ. */
bool password_is_same(const void *a, const void *b, size_t len);

#endif
