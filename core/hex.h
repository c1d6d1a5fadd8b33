#ifndef EVSERVE_CORE_HEX_H
#define EVSERVE_CORE_HEX_H

/* Bytes as hexadecimal digits (RFC 4648 section 8). No allocation; any thread. */

#include <stddef.h>
#include <sys/types.h>

/* Encode len bytes into out, which has 2 * len bytes: lower-case digits, no NUL. */
void hex_encode(const void *bytes, size_t len, char *out);

/* Decode a text, of digits in either case, into out, which has len / 2 bytes. Returns the length, or -EINVAL with the
 * offset of the first character that is no digit in *bad: len where a digit is missing at the end. */
ssize_t hex_decode(const char *text, size_t len, void *out, size_t *bad);

#endif
