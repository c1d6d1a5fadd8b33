#include "core/hex.h"

#include <errno.h>

void hex_encode(const void *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[in[i] >> 4];
        *out++ = digits[in[i] & 15];
    }
}

/* The value of a digit, or -1. */
static int hex_digit_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

ssize_t hex_decode(const char *text, size_t len, void *out, size_t *bad)
{
    unsigned char *at = out;
    for (size_t i = 0; i < len; i++) {
        int value = hex_digit_value(text[i]);
        if (value < 0) {
            *bad = i;
            return -EINVAL;
        }
        if (i + 1 == len && len % 2 != 0) {
            break;
        }
        if (i % 2 == 0) {
            *at = (unsigned char)(value << 4);
        } else {
            *at = (unsigned char)(*at | value);
            at++;
        }
    }
    if (len % 2 != 0) {
        *bad = len;
        return -EINVAL;
    }
    return (ssize_t)(len / 2);
}
