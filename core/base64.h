#ifndef EVSERVE_CORE_BASE64_H
#define EVSERVE_CORE_BASE64_H

/* Base64 (RFC 4648 section 4) and its variant for URLs and file names (section 5). No allocation; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum base64_form {
    BASE64_PADDED, /* with "=" at its end */
    BASE64_BARE,   /* without */
    BASE64_URL,    /* without, and "-" and "_" in place of "+" and "/" */
};

/* Bytes of the text for len bytes, and bytes that a text of len may stand for at most. */
static inline size_t base64_room(size_t len)
{
    return len / 3 * 4 + (len % 3 == 0 ? 0 : 4);
}

static inline size_t base64_decoded_room(size_t len)
{
    return len / 4 * 3 + len % 4;
}

/* Encode len bytes into out, which has base64_room(len) bytes. Returns the length; there is no NUL. */
size_t base64_encode(const void *bytes, size_t len, enum base64_form form, char *out);

/* Decode a text into out, which has base64_decoded_room(len) bytes. Padding may be missing in any form; bits that do
 * not make a byte are ignored. Returns the length, or -EINVAL for anything that is not base64. */
ssize_t base64_decode(const char *text, size_t len, bool is_url, void *out);

/* The same for a text as an encoder makes it, so that no two texts stand for the same bytes, except that padding may be
 * there, whole, or not: bits that do not make a byte must be zero. Returns the length, or -EINVAL with the offset of the
 * first character that is wrong in *bad: len where characters are missing at the end. */
ssize_t base64_decode_exact(const char *text, size_t len, bool is_url, void *out, size_t *bad);

#endif
