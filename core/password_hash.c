/* Happy path: the text before the hash says how it was made; the password is hashed likewise and the results compared.
 *
 * Failure modes: a hash that nobody can verify is refused when the file is read, so that it does not count as a wrong
 * password later. Without memory for crypt(3) there is no verdict. */

#include "core/password_hash.h"

#include "core/ascii.h"
#include "core/base64.h"
#include "core/crypt_calls.h"
#include "core/log.h"
#include "core/md5_crypt.h"
#include "core/random.h"
#include "core/sha1.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SSHA_SALT_MAX = 64 }; /* bytes behind the hash of {SSHA} */

enum hash_form {
    HASH_OTHER, /* none that is verified here */
    HASH_MD5,
    HASH_SHA1,        /* {SHA} */
    HASH_SHA1_SALTED, /* {SSHA} */
    HASH_BCRYPT,
    HASH_SHA2, /* $5$, $6$ */
    HASH_YESCRYPT,
};

static enum hash_form find_hash_form(const char *stored)
{
    static const struct {
        const char *text;
        enum hash_form form;
    } beginnings[] = {
        {"$apr1$", HASH_MD5},  {"$1$", HASH_MD5},      {"{SHA}", HASH_SHA1},    {"{SSHA}", HASH_SHA1_SALTED},
        {"$2y$", HASH_BCRYPT}, {"$2a$", HASH_BCRYPT},  {"$2b$", HASH_BCRYPT},   {"$5$", HASH_SHA2},
        {"$6$", HASH_SHA2},    {"$y$", HASH_YESCRYPT}, {"$gy$", HASH_YESCRYPT},
    };
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        if (strncmp(stored, beginnings[i].text, strlen(beginnings[i].text)) == 0) {
            return beginnings[i].form;
        }
    }
    return HASH_OTHER;
}

bool password_is_same(const void *a, const void *b, size_t len)
{
    const volatile unsigned char *left = a, *right = b; /* volatile: so that the loop is not cut short */
    unsigned char differs = 0;
    for (size_t i = 0; i < len; i++) {
        differs = (unsigned char)(differs | (left[i] ^ right[i]));
    }
    return differs == 0;
}

/* The bytes behind {SHA} or {SSHA}: a hash, and a salt. Returns how many, or -EINVAL. */
static ssize_t read_sha1(const char *stored, uint8_t bytes[SHA1_BYTES + SSHA_SALT_MAX])
{
    const char *text = strchr(stored, '}') + 1;
    size_t len = strlen(text);
    if (base64_decoded_room(len) > SHA1_BYTES + SSHA_SALT_MAX) {
        return -EINVAL;
    }
    ssize_t got = base64_decode(text, len, false, bytes);
    return got < SHA1_BYTES ? -EINVAL : got;
}

static int check_sha1(const char *stored, bool is_salted, char *err, size_t errlen)
{
    uint8_t bytes[SHA1_BYTES + SSHA_SALT_MAX];
    ssize_t len = read_sha1(stored, bytes);
    if (len < 0 || (!is_salted && len != SHA1_BYTES)) {
        return error_text(err, errlen, -EINVAL, "the text behind {%s} is no SHA-1 hash in base64",
                          is_salted ? "SSHA" : "SHA");
    }
    return 0;
}

static bool has_digits_alone(const char *text, size_t least, const char *more)
{
    static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t len = strspn(text, digits);
    while (text[len] != '\0' && strchr(more, text[len]) != NULL) {
        len += 1 + strspn(text + len + 1, digits);
    }
    return len >= least && text[len] == '\0';
}

static int check_bcrypt(const char *stored, char *err, size_t errlen)
{
    const char *cost = stored + 4;
    bool is_number = cost[0] >= '0' && cost[0] <= '9' && cost[1] >= '0' && cost[1] <= '9' && cost[2] == '$';
    if (!is_number || strlen(cost + 3) != 53 || !has_digits_alone(cost + 3, 53, "")) {
        return error_text(err, errlen, -EINVAL, "the bcrypt hash is not whole: it has 60 characters");
    }
    int value = (cost[0] - '0') * 10 + cost[1] - '0';
    if (value < 4 || value > PASSWORD_BCRYPT_COST_MAX) {
        return error_text(err, errlen, -EINVAL, "the bcrypt hash has a cost of %d, and this may be from 4 to %d", value,
                          PASSWORD_BCRYPT_COST_MAX);
    }
    return 0;
}

static int check_sha2(const char *stored, char *err, size_t errlen)
{
    static const char rounds[] = "rounds=";
    const char *at = stored + 3;
    if (strncmp(at, rounds, sizeof rounds - 1) == 0) {
        const char *digits = at + sizeof rounds - 1, *end = strchrnul(digits, '$');
        uint64_t count;
        if (*end != '$' || !ascii_parse_number(digits, (size_t)(end - digits), PASSWORD_ROUNDS_MAX, &count)) {
            return error_text(err, errlen, -EINVAL, "the hash has more rounds than %d", PASSWORD_ROUNDS_MAX);
        }
        at = end + 1;
    }
    const char *hash = strchr(at, '$');
    size_t len = stored[1] == '5' ? 43 : 86;
    if (hash == NULL || strlen(hash + 1) != len || !has_digits_alone(hash + 1, len, "")) {
        return error_text(err, errlen, -EINVAL, "the hash behind $%c$ is not whole: it has %u characters", stored[1],
                          (unsigned)len);
    }
    return 0;
}

int password_hash_check(const char *stored, char *err, size_t errlen)
{
    const char *salt;
    size_t salt_len;
    int rv = 0;
    if (strlen(stored) >= PASSWORD_HASH_MAX) {
        return error_text(err, errlen, -EINVAL, "the hash is longer than %d characters", PASSWORD_HASH_MAX - 1);
    }
    switch (find_hash_form(stored)) {
    case HASH_MD5:
        return md5_crypt_read(stored, &salt, &salt_len)
                   ? 0
                   : error_text(err, errlen, -EINVAL, "the MD5 hash is not whole: \"$apr1$salt$\" and %d characters",
                                MD5_CRYPT_TEXT);
    case HASH_SHA1:
        return check_sha1(stored, false, err, errlen);
    case HASH_SHA1_SALTED:
        return check_sha1(stored, true, err, errlen);
    case HASH_BCRYPT:
        rv = check_bcrypt(stored, err, errlen);
        break;
    case HASH_SHA2:
        rv = check_sha2(stored, err, errlen);
        break;
    case HASH_YESCRYPT:
        rv = has_digits_alone(stored, 0, "$") && strlen(stored) > 43
                 ? 0
                 : error_text(err, errlen, -EINVAL, "the yescrypt hash is not whole");
        break;
    case HASH_OTHER:
        return error_text(err, errlen, -EINVAL,
                          "the password is in clear text, or hashed in a way that is not known or not safe: make a "
                          "hash with \"htpasswd -B\" or \"openssl passwd -6\"");
    }
    return rv < 0 ? rv : crypt_load(err, errlen);
}

static bool verify_sha1(const char *stored, const char *password, size_t len)
{
    uint8_t bytes[SHA1_BYTES + SSHA_SALT_MAX], hash[SHA1_BYTES], text[PASSWORD_MAX + SSHA_SALT_MAX];
    ssize_t got = read_sha1(stored, bytes);
    if (got < 0) {
        return false;
    }
    size_t salt_len = (size_t)got - SHA1_BYTES;
    memcpy(text, password, len);
    memcpy(text + len, bytes + SHA1_BYTES, salt_len);
    sha1(text, len + salt_len, hash);
    explicit_bzero(text, sizeof text);
    return password_is_same(hash, bytes, sizeof hash);
}

static bool verify_md5(const char *stored, const char *password, size_t len)
{
    char text[MD5_CRYPT_TEXT + 1];
    md5_crypt(stored, password, len, text);
    return password_is_same(text, strrchr(stored, '$') + 1, MD5_CRYPT_TEXT);
}

static int verify_crypt(const char *stored, const char *password, size_t len)
{
    char text[PASSWORD_HASH_MAX], ended[PASSWORD_MAX + 1];
    memcpy(ended, password, len);
    ended[len] = '\0';
    int got = crypt_hash(stored, ended, text, sizeof text);
    explicit_bzero(ended, sizeof ended);
    if (got == -ENOMEM) {
        return got;
    }
    return got > 0 && (size_t)got == strlen(stored) && password_is_same(text, stored, (size_t)got);
}

int password_hash_verify(const char *stored, const char *password, size_t len)
{
    if (len > PASSWORD_MAX || memchr(password, '\0', len) != NULL) {
        return 0;
    }
    switch (find_hash_form(stored)) {
    case HASH_MD5:
        return verify_md5(stored, password, len);
    case HASH_SHA1:
    case HASH_SHA1_SALTED:
        return verify_sha1(stored, password, len);
    case HASH_BCRYPT:
    case HASH_SHA2:
    case HASH_YESCRYPT:
        return verify_crypt(stored, password, len);
    case HASH_OTHER:
        break;
    }
    return 0;
}

int password_hash_make(const char *password, size_t len, unsigned cost, char text[PASSWORD_HASH_MAX], char *err,
                       size_t errlen)
{
    char setting[PASSWORD_HASH_MAX], ended[PASSWORD_NEW_MAX + 1];
    unsigned char salt[16];
    assert(len <= PASSWORD_NEW_MAX && memchr(password, '\0', len) == NULL);
    int rv = crypt_load(err, errlen);
    if (rv < 0) {
        return rv;
    }
    rv = random_fill(salt, sizeof salt);
    if (rv < 0) {
        return error_text(err, errlen, -EIO, "the system gives no random bytes: %s", errno_text(-rv));
    }
    rv = crypt_make_setting(cost, salt, sizeof salt, setting, sizeof setting);
    if (rv < 0) {
        return error_text(err, errlen, -EIO,
                          "the libcrypt of this system makes no yescrypt hashes: they need libxcrypt 4.3 or later "
                          "(Debian: apt install libcrypt1)");
    }
    memcpy(ended, password, len);
    ended[len] = '\0';
    rv = crypt_hash(setting, ended, text, PASSWORD_HASH_MAX);
    explicit_bzero(ended, sizeof ended);
    if (rv < 0 && rv != -ENOMEM) {
        return error_text(err, errlen, -EIO, "libcrypt cannot hash it: %s", errno_text(-rv));
    }
    return rv;
}
