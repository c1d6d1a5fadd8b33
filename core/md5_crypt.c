/* Happy path: one hash of password and salt, then a thousand more of it. Nothing can fail. */

#include "core/md5_crypt.h"

#include "core/md5.h"

#include <stdint.h>
#include <string.h>

enum { MD5_CRYPT_ROUNDS = 1000 };

static const char md5_crypt_digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* The spelling at the beginning of stored, or NULL. */
static const char *find_spelling(const char *stored)
{
    static const char *const spellings[] = {"$1$", "$apr1$"};
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        if (strncmp(stored, spellings[i], strlen(spellings[i])) == 0) {
            return spellings[i];
        }
    }
    return NULL;
}

bool md5_crypt_read(const char *stored, const char **salt, size_t *salt_len)
{
    const char *spelling = find_spelling(stored);
    if (spelling == NULL) {
        return false;
    }
    *salt = stored + strlen(spelling);
    *salt_len = strspn(*salt, md5_crypt_digits);
    const char *hash = *salt + *salt_len + 1;
    return *salt_len <= MD5_CRYPT_SALT_MAX && hash[-1] == '$' && strspn(hash, md5_crypt_digits) == MD5_CRYPT_TEXT &&
           hash[MD5_CRYPT_TEXT] == '\0';
}

static void write_hash(const uint8_t hash[MD5_BYTES], char text[MD5_CRYPT_TEXT + 1])
{
    static const uint8_t order[][3] = {{0, 6, 12}, {1, 7, 13}, {2, 8, 14}, {3, 9, 15}, {4, 10, 5}};
    char *at = text;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        uint32_t bits = (uint32_t)hash[order[i][0]] << 16 | (uint32_t)hash[order[i][1]] << 8 | hash[order[i][2]];
        for (int digits = 0; digits < 4; digits++, bits >>= 6) {
            *at++ = md5_crypt_digits[bits & 63];
        }
    }
    *at++ = md5_crypt_digits[hash[11] & 63];
    *at++ = md5_crypt_digits[hash[11] >> 6];
    *at = '\0';
}

void md5_crypt(const char *stored, const char *password, size_t len, char text[MD5_CRYPT_TEXT + 1])
{
    const char *spelling = find_spelling(stored), *salt = stored;
    size_t salt_len = 0;
    (void)md5_crypt_read(stored, &salt, &salt_len);
    uint8_t hash[MD5_BYTES];
    struct md5 md5;
    md5_begin(&md5);
    md5_add(&md5, password, len);
    md5_add(&md5, salt, salt_len);
    md5_add(&md5, password, len);
    md5_end(&md5, hash);

    md5_begin(&md5);
    md5_add(&md5, password, len);
    md5_add(&md5, spelling, strlen(spelling));
    md5_add(&md5, salt, salt_len);
    for (size_t left = len; left > 0; left -= left < MD5_BYTES ? left : MD5_BYTES) {
        md5_add(&md5, hash, left < MD5_BYTES ? left : MD5_BYTES);
    }
    for (size_t bits = len; bits > 0; bits >>= 1) {
        md5_add(&md5, (bits & 1) != 0 ? "" : password, 1); /* an oddity of the format */
    }
    md5_end(&md5, hash);

    for (unsigned i = 0; i < MD5_CRYPT_ROUNDS; i++) {
        bool is_odd = (i & 1) != 0;
        md5_begin(&md5);
        md5_add(&md5, is_odd ? (const void *)password : hash, is_odd ? len : sizeof hash);
        md5_add(&md5, salt, i % 3 != 0 ? salt_len : 0);
        md5_add(&md5, password, i % 7 != 0 ? len : 0);
        md5_add(&md5, is_odd ? (const void *)hash : password, is_odd ? sizeof hash : len);
        md5_end(&md5, hash);
    }
    write_hash(hash, text);
    explicit_bzero(&md5, sizeof md5);
}
