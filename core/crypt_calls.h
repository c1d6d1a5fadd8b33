#ifndef EVSERVE_CORE_CRYPT_CALLS_H
#define EVSERVE_CORE_CRYPT_CALLS_H

/* crypt(3) of libcrypt, which is loaded when the first password file needs it, as zlib is. Where the C library has the
 * function itself, as musl does, that one is used. */

#include <stdbool.h>
#include <stddef.h>

/* Load the library, unless an earlier call did. Returns 0, or -ELIBACC with a text in err that says what to install.
 * The first call has to come before the sandbox, where nothing can be loaded any more. Any thread. */
int crypt_load(char *err, size_t errlen);

/* The length of the hash that crypt(3) makes of a password with the setting at the beginning of stored, copied to text
 * with NUL; or -errno: -EINVAL for a setting that the library does not know, -ENOBUFS, -ENOMEM, -ELIBACC. This takes
 * as long as the hash demands, so call it on a thread that may wait. */
int crypt_hash(const char *stored, const char *password, char *text, size_t size);

/* The setting with which crypt_hash() makes a yescrypt hash, from len random bytes, copied to text with NUL. cost is from 1
 * to 11: each step takes twice as long and as much memory as the one before. Returns its length, -ELIBACC without the
 * library, -ENOTSUP if the library cannot make one (libxcrypt can, musl cannot), or another -errno. */
int crypt_make_setting(unsigned cost, const void *random, size_t len, char *text, size_t size);

#endif
