#ifndef EVSERVE_HTTP_PARSER_INNER_H
#define EVSERVE_HTTP_PARSER_INNER_H

/* What the files of the parser share, and nobody else includes. Each calls only those below it:
 *
 *   parser_variants.c   the choice of a variant
 *   parser_scalar.c, parser_sse42.c, parser_avx2.c   the variants: the template parser_whole.h, for lines that are there
 *                    as a whole, as nearly all are; how the last two find the ends of elements is in parser_block.h
 *   parser_steps.c   the state machine, which reads all other lines
 *   parser_rules.c   what a request line and the fields mean
 *   parser.c         what can be asked of a parser */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http/char_class.h"
#include "http/field_line.h"
#include "http/h1/parser.h"
#include "http/limits.h"

/* Bits of parser.seen. */
enum {
    SEEN_CLOSE = 1,              /* Connection: close */
    SEEN_KEEP_ALIVE = 2,         /* Connection: keep-alive */
    SEEN_CODING = 4,             /* Transfer-Encoding */
    SEEN_OTHER_CODING = 8,       /* a transfer coding other than chunked */
    SEEN_OTHER_EXPECTATION = 16, /* an expectation other than 100-continue */
};

enum { SPACES_MAX = 4 }; /* before a value; with more of them, a variant leaves a line to parser_step() */

/* A head that is being read, in one call.
 *
 * Limits: end is where the bytes end, or what the limit in force allows if that comes first. What is incomplete there
 * is too long if the limit set that end: the verdict does not depend on how the bytes arrived. */
struct scan {
    struct parser *parser;       /* outlives this call */
    struct head *head;           /* the result */
    const struct limits *limits; /* in force */
    const char *data;            /* the message from its first byte */
    size_t len;                  /* bytes of data */
    size_t pos;                  /* next byte to look at */
    size_t start;                /* of the element being read */
    size_t end;                  /* first byte not to look at */
    size_t limit;                /* what is incomplete at this offset is too long */
    struct field *field;         /* of the line being read */
    struct field *last_field;    /* behind the last one allowed */
    enum head_state state;       /* of the line at pos */
    enum parse_verdict verdict;  /* why reading ended */
};

#define ALWAYS_INLINE __attribute__((always_inline)) static inline

/* From now on nothing may reach beyond limit, which fits 32 bits as all offsets do. It is never behind pos: not even if
 * somebody lowered the limit while the message arrived. */
ALWAYS_INLINE void set_limit(struct scan *s, uint64_t limit)
{
    s->limit = limit > s->pos ? (size_t)limit : s->pos;
    s->end = s->len < s->limit ? s->len : s->limit;
}

/* Begin with what parser and head hold from the call before; for a message that begins, head is clear. No limit is set.
 * false: the message was refused then. */
ALWAYS_INLINE bool begin_scan(struct scan *s, struct parser *parser, struct head *head, const struct limits *limits,
                              const char *data, size_t len)
{
    enum head_state state = (enum head_state)parser->state;

    *s = (struct scan){.parser = parser,
                       .head = head,
                       .limits = limits,
                       .data = data,
                       .len = len,
                       .pos = parser->pos,
                       .start = parser->mark,
                       .state = state,
                       .verdict = PARSE_ERROR};
    assert(head->field_capacity >= limits->max_fields && len >= s->pos);
    if (state == STATE_FAILED) {
        return false;
    }
    s->field = head->fields + head->field_count;
    s->last_field = head->fields + limits->max_fields;
    return true;
}

/* Set the limit that is in force where parser stands. */
ALWAYS_INLINE void resume_limit(struct scan *s)
{
    set_limit(s, s->state < STATE_METHOD   ? UINT32_MAX
                 : s->state < STATE_FIELDS ? s->parser->section_at + s->limits->max_request_line_bytes
                                           : s->parser->section_at + s->limits->max_header_bytes_bytes + 2);
}

/* Note a field whose name is known, for those who look for it; it is the latest. */
ALWAYS_INLINE void note_field(struct head *head, const struct field *field, enum known_field known)
{
    head->field_count = (uint16_t)(field - head->fields + 1);
    if (head->first[known] == 0) {
        head->first[known] = head->field_count;
    }
}

/* The request line is read, and ends at pos. */
ALWAYS_INLINE void begin_fields(struct scan *s)
{
    s->state = STATE_FIELDS;
    s->parser->section_at = (uint32_t)s->pos;
    s->limit = s->pos + (size_t)s->limits->max_header_bytes_bytes + 2; /* the empty line does not count */
    s->end = s->len < s->limit ? s->len : s->limit;
}

static inline uint16_t load_16(const char *bytes)
{
    uint16_t word;

    memcpy(&word, bytes, sizeof word);
    return word;
}

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
ALWAYS_INLINE size_t find_rest_of_path(const char *data, size_t pos, size_t end, bool *is_plain)
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

ALWAYS_INLINE size_t find_rest_of_query(const char *data, size_t pos, size_t end)
{
    while (pos < end && char_is(data[pos], CLASS_QUERY)) {
        pos++;
    }
    return pos;
}

/* Whether a name of len bytes that begins with first may be that of a known field, by bits for the lengths of the known
 * names with such a letter; that tells most others. A name of no bytes may be one, too: it needs a closer look. */
ALWAYS_INLINE bool may_be_known(size_t len, char first)
{
#define LENS(a, b, c, d) (uint32_t)(1 | 1 << (a) | 1 << (b) | 1 << (c) | 1 << (d))
#define NONE             1
    static const uint32_t lens[32] = {/* by the low five bits of a letter in either case: '@' and '`', 'a', 'b' ... */
                                      NONE,
                                      LENS(15, 0, 0, 0),
                                      NONE,
                                      LENS(6, 10, 12, 14),
                                      NONE,
                                      LENS(6, 0, 0, 0),
                                      NONE,
                                      NONE,
                                      LENS(4, 0, 0, 0),
                                      LENS(8, 13, 17, 19),
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      LENS(5, 0, 0, 0),
                                      NONE,
                                      LENS(17, 0, 0, 0),
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE,
                                      NONE};
#undef LENS
#undef NONE

    return (lens[first & 31] >> (len & 31) & 1) != 0;
}

/* The known field called name (a token), or FIELD_KNOWN_COUNT. */
ALWAYS_INLINE enum known_field find_known_field(const char *name, size_t len)
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
