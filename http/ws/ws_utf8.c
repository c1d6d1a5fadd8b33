/* UTF-8, checked while it arrives. ASCII is skipped a vector or a word at a time, and characters that are there as a
 * whole are looked at as a whole. Only those that are split go byte by byte: the range of the second byte of a sequence
 * excludes overlong forms, surrogates and what is above U+10FFFF. */

#include "http/ws/ws_utf8.h"

#include "core/utf8.h"

#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { WS_UTF8_MAX = 4 }; /* bytes of the longest sequence */

/* Behind the ASCII that the text begins with; perhaps before the last of it. */
static const unsigned char *ws_ascii_end(const unsigned char *at, const unsigned char *end)
{
#ifdef __x86_64__
    for (; end - at >= 32; at += 32) {
        const __m128i *vectors = (const __m128i *)(const void *)at;
        __m128i both = _mm_or_si128(_mm_loadu_si128(vectors), _mm_loadu_si128(vectors + 1));
        if (_mm_movemask_epi8(both) != 0) {
            break;
        }
    }
#endif
    for (uint64_t word; end - at >= (ptrdiff_t)sizeof word; at += sizeof word) {
        memcpy(&word, at, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
    }
    return at;
}

/* The first byte of a sequence of several bytes. */
static bool ws_utf8_begin(struct ws_utf8 *state, unsigned char first)
{
    if (first < 0xc2 || first > 0xf4) {
        return false;
    }
    state->missing = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    state->least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    state->most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return true;
}

static bool ws_utf8_byte(struct ws_utf8 *state, unsigned char byte)
{
    if (state->missing == 0) {
        return byte < 0x80 || ws_utf8_begin(state, byte);
    }
    if (byte < state->least || byte > state->most) {
        return false;
    }
    state->missing--;
    state->least = 0x80;
    state->most = 0xbf;
    return true;
}

bool ws_utf8_check(struct ws_utf8 *state, const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *end = at + len;

    for (; state->missing > 0 && at < end; at++) {
        if (!ws_utf8_byte(state, *at)) {
            return false;
        }
    }
    while (end - at >= WS_UTF8_MAX) {
        if (*at < 0x80) {
            const unsigned char *behind = ws_ascii_end(at, end);
            at = behind > at ? behind : at + 1;
            continue;
        }
        size_t sequence = utf8_len(at, WS_UTF8_MAX);
        if (sequence == 0) {
            return false;
        }
        at += sequence;
    }
    for (; at < end; at++) {
        if (!ws_utf8_byte(state, *at)) {
            return false;
        }
    }
    return true;
}
