#ifndef EVSERVE_HTTP_ACCESS_ESCAPE_H
#define EVSERVE_HTTP_ACCESS_ESCAPE_H

/* What clients send, made safe for a line of the access log: no client can end a line, close a quote, or write what a
 * terminal obeys. Nearly all texts have nothing to escape, so they are copied while they are looked at, 16 bytes at a
 * time where the CPU has vectors. No state; any thread. */

#include "http/words.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Copy text from its first byte that may have to be escaped: control characters, DEL, '"', '\' and all that is not
 * ASCII. end: the copy must not go beyond it, and is cut between characters. is_json: for a string of JSON (RFC 8259),
 * in which valid UTF-8 stays and what is not becomes U+FFFD; otherwise each of these bytes becomes \xHH, as in nginx.
 * Returns the end of the copy. */
char *access_escape_rest(char *at, const char *end, const char *text, size_t len, bool is_json);

/* Whether one of eight bytes may have to be escaped. */
static inline bool access_has_special(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t low = (word - ones * 0x20) | (word + ones); /* below ' ', or DEL: bit 7, if the byte is ASCII */
    return ((low | word) & ones * 0x80) != 0 || word_has_zero(word ^ ones * '"') || word_has_zero(word ^ ones * '\\');
}

/* Copy len bytes in blocks that may overlap, while they have nothing special. Returns how many bytes were copied: len,
 * or where a special byte may come within the next block. */
static inline size_t access_copy_plain(char *copy, const char *text, size_t len)
{
    size_t done = 0;
#ifdef __SSE2__
    while (len >= 16 && done < len) {
        done = len - done < 16 ? len - 16 : done;
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + done));
        __m128i is_low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(' ')); /* signed: all that is not ASCII, too */
        __m128i is_del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
        __m128i is_quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i is_slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        __m128i special = _mm_or_si128(_mm_or_si128(is_low, is_del), _mm_or_si128(is_quote, is_slash));
        if (_mm_movemask_epi8(special) != 0) {
            return done;
        }
        _mm_storeu_si128((__m128i *)(void *)(copy + done), bytes);
        done += 16;
    }
#endif
    while (len >= 8 && done < len) {
        done = len - done < 8 ? len - 8 : done;
        uint64_t word = word_at(text + done);
        if (access_has_special(word)) {
            return done;
        }
        memcpy(copy + done, &word, sizeof word);
        done += 8;
    }
    return done;
}

#ifdef __SSE2__
/* Of 16 bytes that the parser has let into a head, DEL excluded: bit 7 of those that may have to be escaped. */
static inline __m128i access_special(__m128i bytes)
{
    __m128i is_quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i is_slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i is_low = _mm_sub_epi8(bytes, _mm_set1_epi8(' ')); /* or beyond ASCII, which its own bit 7 says, too */
    return _mm_or_si128(_mm_or_si128(is_quote, is_slash), _mm_or_si128(is_low, bytes));
}
#endif

/* Copy a text of a head, which has no DEL. Returns whether it has nothing to escape: only then the copy is of use. */
static inline bool access_copy_usual(char *copy, const char *text, size_t len)
{
#ifdef __SSE2__
    if (len >= 16) {
        size_t last = len - 16;
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + last));
        __m128i special = access_special(bytes);
        _mm_storeu_si128((__m128i *)(void *)(copy + last), bytes);
        size_t at = 0;
        do {
            bytes = _mm_loadu_si128((const __m128i *)(const void *)(text + at));
            _mm_storeu_si128((__m128i *)(void *)(copy + at), bytes);
            special = _mm_or_si128(special, access_special(bytes));
            at += 16;
        } while (at < last);
        return _mm_movemask_epi8(special) == 0;
    }
#endif
    if (len >= 8) {
        return access_copy_plain(copy, text, len) == len;
    }
    bool is_plain = true;
    for (size_t i = 0; i < len; i++) {
        copy[i] = text[i];
        is_plain = is_plain && text[i] >= ' ' && text[i] != '"' && text[i] != '\\';
    }
    return is_plain;
}

/* Copy text, escaped as access_escape_rest() says. */
static inline char *access_escape(char *at, const char *end, const char *text, size_t len, bool is_json)
{
    size_t room = (size_t)(end - at);
    size_t plain = len <= room ? access_copy_plain(at, text, len) : 0;
    return plain == len ? at + len : access_escape_rest(at + plain, end, text + plain, len - plain, is_json);
}

#endif
