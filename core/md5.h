#ifndef EVSERVE_CORE_MD5_H
#define EVSERVE_CORE_MD5_H

/* MD5 (RFC 1321). It is not safe against forgery: use it only where a format prescribes it, as the password hashes of
 * "openssl passwd -apr1" do (core/md5_crypt.h). No allocation; any thread. */

#include <stddef.h>
#include <stdint.h>

enum { MD5_BYTES = 16, MD5_BLOCK = 64 };

/* A hash in the making. */
struct md5 {
    uint32_t words[4];
    uint64_t len;             /* bytes added so far */
    uint8_t block[MD5_BLOCK]; /* the last len % MD5_BLOCK of them */
};

void md5_begin(struct md5 *md5);
void md5_add(struct md5 *md5, const void *data, size_t len);

/* Write the hash of all that was added. */
void md5_end(struct md5 *md5, uint8_t hash[MD5_BYTES]);

#endif
