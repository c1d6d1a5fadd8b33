#ifndef EVSERVE_CORE_UTF8_H
#define EVSERVE_CORE_UTF8_H

/* UTF-8, checked. No state; any thread. */

#include <stddef.h>

/* The length of the sequence that text begins with (RFC 3629 section 4), 0 when there is none. len > 0. */
static inline size_t utf8_len(const unsigned char *text, size_t len)
{
    unsigned char first = text[0];
    if (first < 0x80) {
        return 1;
    }
    size_t want = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || len < want) {
        return 0;
    }
    /* The second byte excludes overlong forms, surrogates, and what is above U+10FFFF. */
    unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < least || text[1] > most) {
        return 0;
    }
    for (size_t i = 2; i < want; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return want;
}

#endif
