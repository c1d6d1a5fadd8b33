#ifndef EVSERVE_CORE_MD5_CRYPT_H
#define EVSERVE_CORE_MD5_CRYPT_H

/* Password hashes of MD5, in the two spellings "$1$" (crypt(3)) and "$apr1$" ("openssl passwd -apr1", "htpasswd -m").
 * They are weak by now, but the second is what most password files have, and no crypt(3) knows it. No allocation; any
 * thread. */

#include <stdbool.h>
#include <stddef.h>

enum { MD5_CRYPT_TEXT = 22, MD5_CRYPT_SALT_MAX = 8 }; /* characters of the hash itself, and of the salt at most */

/* Whether a text is such a hash; *salt and *salt_len are where the salt lies in it. */
bool md5_crypt_read(const char *stored, const char **salt, size_t *salt_len);

/* The hash of a password, with NUL. stored is one that md5_crypt_read() accepts: its spelling and salt are used. */
void md5_crypt(const char *stored, const char *password, size_t len, char text[MD5_CRYPT_TEXT + 1]);

#endif
