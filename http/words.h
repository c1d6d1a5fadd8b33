#ifndef EVSERVE_HTTP_WORDS_H
#define EVSERVE_HTTP_WORDS_H

/* Short texts, such as paths, looked at a machine word at a time: a call of memcmp(3) or memchr(3) takes longer than
 * the few bytes are worth. Nothing outside of a text is read: its last word overlaps the one before. No state; any
 * thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t word_at(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint32_t half_word_at(const char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* The first and the last four of len bytes, 4 to 8, as one word. */
static inline uint64_t word_of_halves(const char *bytes, size_t len)
{
    return half_word_at(bytes) | (uint64_t)half_word_at(bytes + len - sizeof(uint32_t)) << 32;
}

/* A word with the same byte at all places. */
static inline uint64_t word_of(char byte)
{
    return UINT64_C(0x0101010101010101) * (unsigned char)byte;
}

/* Whether one of the bytes is zero. */
static inline bool word_has_zero(uint64_t word)
{
    return ((word - word_of(1)) & ~word & word_of((char)0x80)) != 0;
}

/* Stir a word into a hash: a bijection of the hash, and of the word. */
static inline uint64_t word_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

/* Whether two texts of len bytes each are the same. */
static inline bool words_equal(const char *one, const char *other, size_t len)
{
    if (len >= sizeof(uint64_t)) {
        size_t last = len - sizeof(uint64_t);
        for (size_t i = 0; i < last; i += sizeof(uint64_t)) {
            if (word_at(one + i) != word_at(other + i)) {
                return false;
            }
        }
        return word_at(one + last) == word_at(other + last);
    }
    if (len >= sizeof(uint32_t)) {
        return word_of_halves(one, len) == word_of_halves(other, len);
    }
    for (size_t i = 0; i < len; i++) {
        if (one[i] != other[i]) {
            return false;
        }
    }
    return true;
}

/* Copy a text, which does not overlap its copy. */
static inline void words_copy(char *copy, const char *text, size_t len)
{
    enum { LEAST = sizeof(uint64_t), MOST = 4 * sizeof(uint64_t) };
    if (len < LEAST || len > MOST) {
        memcpy(copy, text, len);
        return;
    }
    size_t last = len - sizeof(uint64_t);
    uint64_t word;
    for (size_t i = 0; i < last; i += sizeof(uint64_t)) {
        word = word_at(text + i);
        memcpy(copy + i, &word, sizeof word);
    }
    word = word_at(text + last);
    memcpy(copy + last, &word, sizeof word);
}

/* A hash of a text, stirred into another one; for tables in memory, not to be kept. */
static inline uint64_t words_hash(uint64_t hash, const char *text, size_t len)
{
    hash ^= len; /* a text may end in the bytes of a shorter one's last word */
    if (len >= sizeof(uint64_t)) {
        size_t last = len - sizeof(uint64_t);
        for (size_t i = 0; i < last; i += sizeof(uint64_t)) {
            hash = word_mix(hash, word_at(text + i));
        }
        return word_mix(hash, word_at(text + last));
    }
    if (len >= sizeof(uint32_t)) {
        return word_mix(hash, word_of_halves(text, len));
    }
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        word = word << 8 | (unsigned char)text[i];
    }
    return word_mix(hash, word);
}

#endif
