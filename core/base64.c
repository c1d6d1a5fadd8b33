/* Happy path: three bytes are four letters. A text is decoded letter by letter, six bits each.
 *
 * Failure modes: a letter of another alphabet, a text that no encoder makes (one letter alone has too few bits for a
 * byte), or something behind the padding. */

#include "core/base64.h"

#include <errno.h>
#include <stdint.h>

static const char letters[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t base64_encode(const void *bytes, size_t len, enum base64_form form, char *out)
{
    const char *alphabet = letters[form == BASE64_URL];
    const uint8_t *in = bytes;
    char *at = out;
    size_t i = 0;
    for (; i + 2 < len; i += 3) {
        uint32_t group = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *at++ = alphabet[group >> 18];
        *at++ = alphabet[group >> 12 & 63];
        *at++ = alphabet[group >> 6 & 63];
        *at++ = alphabet[group & 63];
    }
    if (i < len) {
        uint32_t group = (uint32_t)in[i] << 16 | (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0);
        *at++ = alphabet[group >> 18];
        *at++ = alphabet[group >> 12 & 63];
        if (i + 1 < len) {
            *at++ = alphabet[group >> 6 & 63];
        } else if (form == BASE64_PADDED) {
            *at++ = '=';
        }
        if (form == BASE64_PADDED) {
            *at++ = '=';
        }
    }
    return (size_t)(at - out);
}

/* The six bits of a letter, or -1. */
static int base64_bits(char letter, bool is_url)
{
    if (letter >= 'A' && letter <= 'Z') {
        return letter - 'A';
    }
    if (letter >= 'a' && letter <= 'z') {
        return letter - 'a' + 26;
    }
    if (letter >= '0' && letter <= '9') {
        return letter - '0' + 52;
    }
    if (letter == (is_url ? '-' : '+')) {
        return 62;
    }
    return letter == (is_url ? '_' : '/') ? 63 : -1;
}

ssize_t base64_decode(const char *text, size_t len, bool is_url, void *out)
{
    uint8_t *at = out;
    uint32_t group = 0;
    size_t count = len;
    while (count > 0 && len - count < 2 && text[count - 1] == '=') {
        count--;
    }
    if (count % 4 == 1) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        int bits = base64_bits(text[i], is_url);
        if (bits < 0) {
            return -EINVAL;
        }
        group = group << 6 | (uint32_t)bits;
        if (i % 4 != 0) {
            *at++ = (uint8_t)(group >> (6 - i % 4 * 2));
        }
    }
    return at - (uint8_t *)out;
}

ssize_t base64_decode_exact(const char *text, size_t len, bool is_url, void *out, size_t *bad)
{
    size_t count = len;
    while (count > 0 && len - count < 2 && text[count - 1] == '=') {
        count--;
    }
    for (size_t i = 0; i < count; i++) {
        if (base64_bits(text[i], is_url) < 0) {
            *bad = i;
            return -EINVAL;
        }
    }
    if (count % 4 == 1 || (count < len && len % 4 != 0)) { /* half a byte, or padding that is not whole */
        *bad = len;
        return -EINVAL;
    }
    static const int spare_bits[] = {0, 0, 15, 3}; /* of the last character, by count % 4 */
    if (count > 0 && (base64_bits(text[count - 1], is_url) & spare_bits[count % 4]) != 0) {
        *bad = count - 1;
        return -EINVAL;
    }
    return base64_decode(text, count, is_url, out);
}
