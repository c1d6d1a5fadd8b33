#ifndef EVSERVE_HTTP_PARSER_INNER_H
#define EVSERVE_HTTP_PARSER_INNER_H

/* What the files of the parser share, and nobody else includes.
 *
 *   parser.c        what a request line and the fields mean, methods, the choice of a variant
 *   parser_head.h   the state machine of a head: a template, compiled once for each variant
 *   parser_scalar.c, parser_sse42.c, parser_avx2.c   the variants: how to find the end of a name, a value, a target
 *   parser_block.h  what the two SIMD variants have in common
 *   chunked.c       chunked bodies */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http/char_class.h"
#include "http/h1/parser.h"
#include "http/limits.h"

/* Where a head can be interrupted, in the order of its bytes. */
enum head_state {
    STATE_START,    /* at an empty line or the first byte of the request line */
    STATE_START_LF, /* after the CR of an empty line */
    STATE_METHOD,   /* in the method */
    STATE_PATH,     /* in the target, before any '?' */
    STATE_QUERY,    /* in the target, after '?' */
    STATE_VERSION,  /* in the version or the CRLF after it */
    STATE_FIELD,    /* at the first byte of a field line, or of the empty line */
    STATE_NAME,     /* in a field name */
    STATE_SPACE,    /* in the white space before a field value */
    STATE_VALUE,    /* in a field value or the white space after it */
    STATE_VALUE_LF, /* after the CR of a field line */
    STATE_END_LF,   /* after the CR of the empty line */
    STATE_FAILED,   /* status and reason are set */
};

/* Refuse the message. Returns false, for the caller to return. */
__attribute__((cold)) bool parser_fail(struct parser *parser, int status, const char *reason);

/* Refuse it for a byte that does not belong where it is. is_first: the element would begin with it; is_first_line: it
 * comes before any field. */
__attribute__((cold)) bool parser_fail_byte(struct parser *parser, enum head_state state, const char *byte,
                                            bool is_first, bool is_first_line);

/* Interpret a request line whose bytes are in order; version is where its "HTTP/1.1" is. false: refused. */
bool parser_end_request_line(struct parser *parser, struct head *head, const char *data, const char *version);

/* Interpret the latest field, whose name is known and at most LAST_INTERPRETED_FIELD. false: refused. */
#define LAST_INTERPRETED_FIELD FIELD_EXPECT
bool parser_take_field(struct parser *parser, struct head *head, const char *data, enum known_field known);

/* Interpret the fields as a whole. false: refused. */
bool parser_end_fields(struct parser *parser, struct head *head);

/* The variants beyond parse_head_scalar(); they exist on x86-64 only. */
enum parse_verdict parse_head_sse42(struct parser *parser, struct head *head, const struct limits *limits,
                                    const char *data, size_t len);
enum parse_verdict parse_head_avx2(struct parser *parser, struct head *head, const struct limits *limits,
                                   const char *data, size_t len);

static inline uint32_t load_32(const char *bytes)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof word);
    return word;
}

static inline uint64_t load_64(const char *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Whether text is the word lower (lower-case letters, digits, '-') without regard to case; both have len bytes, at
 * least four. Bit 0x20 tells the cases of a letter apart; other bytes that differ from one of the word's in that bit
 * alone are control characters, which neither a token nor a value holds. A word of memory at a time, the last one
 * overlapping: with a constant len, the compiler leaves only comparisons. */
__attribute__((always_inline)) static inline bool equals_lower(const char *text, const char *lower, size_t len)
{
    const uint64_t mask = ~(uint64_t)0x2020202020202020;
    uint64_t difference = 0;

    if (len < 8) {
        uint32_t first = load_32(text) ^ load_32(lower);
        uint32_t last = load_32(text + len - 4) ^ load_32(lower + len - 4);
        return ((first | last) & (uint32_t)mask) == 0;
    }
    for (size_t i = 0; i + 8 <= len; i += 8) {
        difference |= load_64(text + i) ^ load_64(lower + i);
    }
    difference |= load_64(text + len - 8) ^ load_64(lower + len - 8);
    return (difference & mask) == 0;
}

/* The first byte of data from pos on that is not CLASS_PATH, or end. *is_plain becomes false at a byte that may make a
 * path differ from its normal form (url_normalise_path()): '%', '\\', or a '.' behind a slash; data[pos - 1] is read to
 * see the slash. */
__attribute__((always_inline)) static inline size_t find_rest_of_path(const char *data, size_t pos, size_t end,
                                                                      bool *is_plain)
{
    for (; pos < end; pos++) {
        if (char_is(data[pos], CLASS_PLAIN)) {
            continue;
        }
        if (!char_is(data[pos], CLASS_PATH)) {
            break;
        }
        *is_plain &= data[pos] == '.' && data[pos - 1] != '/';
    }
    return pos;
}

/* The known field called name (a token), or FIELD_KNOWN_COUNT. */
__attribute__((always_inline)) static inline enum known_field find_known_field(const char *name, size_t len)
{
#define IS(word, field)                                                                                                \
    if (equals_lower(name, word, sizeof(word) - 1)) {                                                                  \
        return field;                                                                                                  \
    }
    switch (len) {
    case 4:
        IS("host", FIELD_HOST)
        break;
    case 5:
        IS("range", FIELD_RANGE)
        break;
    case 6:
        IS("cookie", FIELD_COOKIE)
        IS("expect", FIELD_EXPECT)
        break;
    case 8:
        IS("if-match", FIELD_IF_MATCH)
        IS("if-range", FIELD_IF_RANGE)
        break;
    case 10:
        IS("connection", FIELD_CONNECTION)
        break;
    case 12:
        IS("content-type", FIELD_CONTENT_TYPE)
        break;
    case 13:
        IS("if-none-match", FIELD_IF_NONE_MATCH)
        break;
    case 14:
        IS("content-length", FIELD_CONTENT_LENGTH)
        break;
    case 15:
        IS("accept-encoding", FIELD_ACCEPT_ENCODING)
        break;
    case 17:
        IS("if-modified-since", FIELD_IF_MODIFIED_SINCE)
        IS("transfer-encoding", FIELD_TRANSFER_ENCODING)
        break;
    case 19:
        IS("if-unmodified-since", FIELD_IF_UNMODIFIED_SINCE)
        break;
    default:
        break;
    }
#undef IS
    return FIELD_KNOWN_COUNT;
}

#endif
