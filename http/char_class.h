#ifndef EVSERVE_HTTP_CHAR_CLASS_H
#define EVSERVE_HTTP_CHAR_CLASS_H

/* What a byte may be part of, in the grammars of RFC 9110 and RFC 3986. No locale, no state; any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum char_class {
    CLASS_TOKEN = 1,  /* method, field name, list element: tchar of RFC 9110 section 5.6.2 */
    CLASS_VALUE = 2,  /* field value: visible, SP, HTAB, obs-text (RFC 9110 section 5.5) */
    CLASS_PATH = 4,   /* request target before '?': visible ASCII without '#' and '?' */
    CLASS_QUERY = 8,  /* request target after it: visible ASCII without '#' */
    CLASS_HOST = 16,  /* reg-name without '%' (RFC 3986 section 3.2.2) */
    CLASS_PLAIN = 32, /* of CLASS_PATH, what means itself in any path: not '%', '\\' or '.' */
};

extern const uint8_t char_classes[256]; /* by byte: the classes it belongs to */

/* Whether c is of one of the classes wanted. */
static inline bool char_is(char c, enum char_class wanted)
{
    return (char_classes[(unsigned char)c] & wanted) != 0;
}

static inline bool char_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* White space within a line (OWS of RFC 9110 section 5.6.3). */
static inline bool char_is_space(char c)
{
    return (unsigned char)c <= ' ' && (c == ' ' || c == '\t');
}

/* The index of the first byte of text from at on that is no such white space, or len. */
static inline size_t char_skip_space(const char *text, size_t len, size_t at)
{
    while (at < len && char_is_space(text[at])) {
        at++;
    }
    return at;
}

/* Value of a hexadecimal digit in either case, or -1. */
static inline int char_hex_value(char c)
{
    if (char_is_digit(c)) {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
