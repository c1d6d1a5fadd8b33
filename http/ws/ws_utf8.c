/* UTF-8, checked while it arrives. ASCII is skipped a word at a time; for other bytes the range of the second one of a
 * sequence excludes overlong forms, surrogates and what is above U+10FFFF. */

#include "http/ws/ws_utf8.h"

#include <string.h>

/* How many bytes at the beginning are ASCII, perhaps less than there are. */
static size_t ws_ascii_span(const char *text, size_t len)
{
    size_t at = 0;
    uint64_t word;

    for (; len - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text + at, sizeof word);
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

bool ws_utf8_check(struct ws_utf8 *state, const char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        if (state->missing == 0) {
            at += ws_ascii_span(text + at, len - at);
            while (at < len && (text[at] & 0x80) == 0) {
                at++;
            }
            if (at == len) {
                break;
            }
            if (!ws_utf8_begin(state, (unsigned char)text[at])) {
                return false;
            }
        } else {
            unsigned char byte = (unsigned char)text[at];
            if (byte < state->least || byte > state->most) {
                return false;
            }
            state->missing--;
            state->least = 0x80;
            state->most = 0xbf;
        }
        at++;
    }
    return true;
}
