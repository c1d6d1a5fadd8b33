#ifndef EVSERVE_CORE_SHA1_H
#define EVSERVE_CORE_SHA1_H

/* SHA-1 (FIPS 180-4 section 6.1). It is no longer safe against forgery: use it only where a protocol prescribes it, as
 * the opening handshake of WebSocket does (RFC 6455 section 4.2.2). No allocation; any thread. */

#include <stddef.h>
#include <stdint.h>

enum { SHA1_BYTES = 20 };

/* Write the hash of len bytes. */
void sha1(const void *data, size_t len, uint8_t hash[SHA1_BYTES]);

#endif
