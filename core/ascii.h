#ifndef EVSERVE_CORE_ASCII_H
#define EVSERVE_CORE_ASCII_H

/* Letters and digits of ASCII, independent of the locale. The functions of the C library for this (strcasecmp(3),
 * tolower(3), strtol(3) and others) follow setlocale(3), which the host or a script may call: with tr_TR, "I" and "i"
 * are two letters. So the whole tree avoids them, as tests/check_locale.sh checks. No state; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* c with 'A' to 'Z' in lower case. */
static inline char ascii_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* The same for eight bytes at once: for each byte the sums have bit 7 set from 'A' on and beyond 'Z' (no sum carries
 * into the next byte), and bit 7 moved down by two is the 0x20 between the cases. */
static inline uint64_t ascii_lower_word(const char *text)
{
    static const uint64_t ones = 0x0101010101010101;
    uint64_t word;
    memcpy(&word, text, sizeof word);
    uint64_t low = word & ones * 0x7f;
    uint64_t from_a = low + ones * (0x80 - 'A');
    uint64_t beyond_z = low + ones * (0x7f - 'Z');
    return word | ((from_a ^ beyond_z) & ~word & ones * 0x80) >> 2;
}

/* Write len bytes of text to out in lower case; the two do not overlap. */
static inline void ascii_copy_lower(char *out, const char *text, size_t len)
{
    if (len < sizeof(uint64_t)) {
        for (size_t i = 0; i < len; i++) {
            out[i] = ascii_lower(text[i]);
        }
        return;
    }
    size_t last = len - sizeof(uint64_t); /* of the last word, which may write some bytes again */
    for (size_t i = 0;; i = i + sizeof(uint64_t) < last ? i + sizeof(uint64_t) : last) {
        uint64_t word = ascii_lower_word(text + i);
        memcpy(out + i, &word, sizeof word);
        if (i == last) {
            return;
        }
    }
}

/* Whether two texts of len bytes each are equal, ignoring case. */
static inline bool ascii_equals(const char *one, const char *other, size_t len)
{
    if (len >= sizeof(uint64_t)) {
        size_t last = len - sizeof(uint64_t);
        for (size_t i = 0; i < last; i += sizeof(uint64_t)) {
            if (ascii_lower_word(one + i) != ascii_lower_word(other + i)) {
                return false;
            }
        }
        return ascii_lower_word(one + last) == ascii_lower_word(other + last);
    }
    for (size_t i = 0; i < len; i++) {
        if (ascii_lower(one[i]) != ascii_lower(other[i])) {
            return false;
        }
    }
    return true;
}

/* Whether text of len bytes equals word, ignoring case. */
static inline bool ascii_is(const char *text, size_t len, const char *word)
{
    return len == strlen(word) && ascii_equals(text, word, len);
}

/* The order of two strings, ignoring case, as strcmp(3) reports it. */
static inline int ascii_compare(const char *one, const char *other)
{
    while (*one != '\0' && ascii_lower(*one) == ascii_lower(*other)) {
        one++;
        other++;
    }
    return (unsigned char)ascii_lower(*one) - (unsigned char)ascii_lower(*other);
}

/* Read text of len bytes, all of it decimal digits, as a number of at most max. Returns whether it is one; if not,
 * number is unchanged. Signs and white space are rejected. */
static inline bool ascii_parse_number(const char *text, size_t len, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        if (digit > 9 || value > (max - digit) / 10 || digit > max) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (len == 0) {
        return false;
    }
    *number = value;
    return true;
}

#endif
