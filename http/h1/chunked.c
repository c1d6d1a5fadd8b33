/* Chunked bodies (RFC 9112 section 7.1): content passes through as it lies, what is around it one byte at a time,
 * trailers one line at a time.
 *
 *   SIZE [-> SPACE] [-> EXTENSION <-> QUOTED <-> ESCAPED] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *                                                               v
 *                        after the chunk of size 0:          TRAILERS -> DONE
 *
 * Happy path: parse_chunked() hands out the content of one chunk, or what there is of it, per call. Failure: 400 for
 * any byte that the grammar does not have there, a size with too many digits or too long an extension; 431 for
 * trailers beyond the limits of header fields. An extension is not interpreted, but it must not hide a line end: its
 * quoted strings are followed, and must end in their line. */

#include "http/h1/chunked.h"

#include "http/char_class.h"
#include "http/field_line.h"
#include "http/limits.h"

enum chunk_state {
    CHUNK_SIZE,      /* in the digits of the size */
    CHUNK_SPACE,     /* in white space between size and extension */
    CHUNK_EXTENSION, /* after ';' */
    CHUNK_QUOTED,    /* in a quoted string of the extension */
    CHUNK_ESCAPED,   /* after a backslash in it */
    CHUNK_SIZE_LF,   /* after the CR of the line */
    CHUNK_DATA_CR,   /* at the CRLF that ends the content */
    CHUNK_DATA_LF,   /* in it */
    CHUNK_DATA,      /* left bytes of content follow */
    CHUNK_TRAILERS,  /* in the trailers or the empty line behind them; trailer_state says where in the line */
    CHUNK_DONE,      /* the body is complete */
    CHUNK_FAILED,    /* status and reason are set */
};

/* Leading zeros included; so no size overflows 64 bits. */
enum { SIZE_DIGITS_MAX = 16 };

void chunk_parser_reset(struct chunk_parser *chunk)
{
    *chunk = (struct chunk_parser){.state = CHUNK_SIZE};
}

static void chunk_fail(struct chunk_parser *chunk, int status, const char *reason)
{
    chunk->state = CHUNK_FAILED;
    chunk->status = status;
    chunk->reason = reason;
}

/* Refuse c; a bare LF is named as such wherever it comes. */
static void chunk_fail_byte(struct chunk_parser *chunk, char c, const char *reason)
{
    chunk_fail(chunk, 400, c == '\n' ? "line feed without carriage return" : reason);
}

/* Go to state if the byte is the one that must come here. */
static void expect(struct chunk_parser *chunk, char c, char wanted, enum chunk_state state, const char *reason)
{
    if (c == wanted) {
        chunk->state = (uint8_t)state;
    } else {
        chunk_fail(chunk, 400, reason);
    }
}

static void take_size(struct chunk_parser *chunk, char c)
{
    int digit = char_hex_value(c);

    if (digit >= 0) {
        if (chunk->digits == SIZE_DIGITS_MAX) {
            chunk_fail(chunk, 400, "chunk size has too many digits");
            return;
        }
        chunk->digits++;
        chunk->left = chunk->left << 4 | (uint64_t)digit;
    } else if (chunk->digits == 0) {
        chunk_fail_byte(chunk, c, "chunk without a size");
    } else if (c == '\r') {
        chunk->state = CHUNK_SIZE_LF;
    } else if (c == ';' || char_is_space(c)) {
        chunk->state = c == ';' ? CHUNK_EXTENSION : CHUNK_SPACE;
        chunk->overhead = 1;
        chunk->excess++; /* the content of the chunk is at least as long */
    } else {
        chunk_fail_byte(chunk, c, "invalid character in chunk size");
    }
}

static void take_extension(struct chunk_parser *chunk, char c)
{
    if (c == '\r' && chunk->state == CHUNK_EXTENSION) {
        chunk->state = CHUNK_SIZE_LF;
        return;
    }
    if (!char_is(c, CLASS_VALUE)) {
        chunk_fail_byte(chunk, c,
                        c != '\r'                     ? "control character in chunk extension"
                        : chunk->state == CHUNK_SPACE ? "white space after the chunk size"
                                                      : "quoted string in chunk extension does not end");
        return;
    }
    if (chunk->overhead == CHUNK_EXTENSION_MAX) {
        chunk_fail(chunk, 400, "chunk extension too long");
        return;
    }
    if (chunk->excess >= CHUNK_EXCESS_MAX) {
        chunk_fail(chunk, 400, "chunk extensions longer than the content");
        return;
    }
    chunk->overhead++;
    chunk->excess++;
    switch (chunk->state) {
    case CHUNK_SPACE:
        if (!char_is_space(c)) {
            expect(chunk, c, ';', CHUNK_EXTENSION, "white space after the chunk size");
        }
        break;
    case CHUNK_EXTENSION:
        chunk->state = c == '"' ? CHUNK_QUOTED : CHUNK_EXTENSION;
        break;
    case CHUNK_QUOTED:
        chunk->state = c == '"' ? CHUNK_EXTENSION : c == '\\' ? CHUNK_ESCAPED : CHUNK_QUOTED;
        break;
    default:
        chunk->state = CHUNK_QUOTED;
        break;
    }
}

/* The LF of the size line: content follows, or the trailers. */
static void end_size_line(struct chunk_parser *chunk, char c)
{
    expect(chunk, c, '\n', chunk->left > 0 ? CHUNK_DATA : CHUNK_TRAILERS, "carriage return without line feed");
    chunk->overhead = 0;
}

static void end_data(struct chunk_parser *chunk, char c)
{
    expect(chunk, c, '\n', CHUNK_SIZE, "chunk does not end after its size");
    chunk->digits = 0;
}

/* c may not come where line stands. */
static void fail_trailer(struct chunk_parser *chunk, const struct field_line *line, char c)
{
    switch ((enum field_line_state)line->state) {
    case FIELD_LINE_BEGIN:
        chunk_fail_byte(chunk, c, "trailer line does not begin with a field name");
        break;
    case FIELD_LINE_NAME:
        chunk_fail(chunk, 400, "invalid character in trailer name");
        break;
    case FIELD_LINE_SPACE:
    case FIELD_LINE_VALUE:
        chunk_fail_byte(chunk, c, "control character in trailer value");
        break;
    case FIELD_LINE_LF:
    case FIELD_LINE_END_LF:
        chunk_fail(chunk, 400, "carriage return without line feed");
        break;
    }
}

/* Bytes of trailers: one line, or what there is of it. The empty line at their end does not count against the limit; so
 * the line may reach one byte beyond what is left of it, to see whether that byte is wrong, too much, or the empty
 * line. Returns the number of bytes taken. */
static size_t take_trailer(struct chunk_parser *chunk, const struct limits *limits, const char *data, size_t len)
{
    struct field_line line = {.state = chunk->trailer_state};
    uint64_t most = limits->max_header_bytes_bytes;
    uint64_t left = most > chunk->overhead ? most - chunk->overhead : 0;

    bool is_empty = line.state == FIELD_LINE_END_LF || (line.state == FIELD_LINE_BEGIN && data[0] == '\r');

    if (line.state == FIELD_LINE_BEGIN && !is_empty && chunk->trailers >= limits->max_fields) {
        chunk_fail(chunk, 431, "too many trailer fields");
        return 1;
    }
    if (!is_empty && len > left) {
        len = (size_t)left + 1;
    }
    enum field_line_verdict verdict = field_line_scan(&line, data, len, NULL);
    chunk->trailer_state = line.state;
    if (verdict == FIELD_LINE_WRONG) {
        fail_trailer(chunk, &line, data[line.pos]);
        return line.pos + 1;
    }
    if (verdict == FIELD_LINE_EMPTY) {
        chunk->state = CHUNK_DONE;
    } else if (!is_empty) {
        chunk->overhead += line.pos;
        chunk->trailers = (uint16_t)(chunk->trailers + (verdict == FIELD_LINE_WHOLE));
        if (chunk->overhead > most) {
            chunk_fail(chunk, 431, "trailer fields too long");
        }
    }
    return line.pos;
}

/* One byte of a size line, or of the CRLF that ends the content. */
static void take_byte(struct chunk_parser *chunk, char c)
{
    switch (chunk->state) {
    case CHUNK_SIZE:
        take_size(chunk, c);
        break;
    case CHUNK_SPACE:
    case CHUNK_EXTENSION:
    case CHUNK_QUOTED:
    case CHUNK_ESCAPED:
        take_extension(chunk, c);
        break;
    case CHUNK_SIZE_LF:
        end_size_line(chunk, c);
        break;
    case CHUNK_DATA_CR:
        expect(chunk, c, '\r', CHUNK_DATA_LF, "chunk does not end after its size");
        break;
    default:
        end_data(chunk, c);
        break;
    }
}

enum parse_verdict parse_chunked(struct chunk_parser *chunk, const struct limits *limits, const char *data, size_t len,
                                 size_t *used, struct slice *piece)
{
    size_t i = 0;

    *piece = (struct slice){0, 0};
    while (i < len && chunk->state < CHUNK_DATA) {
        take_byte(chunk, data[i++]);
    }
    while (i < len && chunk->state == CHUNK_TRAILERS) {
        i += take_trailer(chunk, limits, data + i, len - i);
    }
    if (chunk->state == CHUNK_DATA && i < len) {
        size_t there = len - i < UINT32_MAX ? len - i : UINT32_MAX;
        *piece = (struct slice){(uint32_t)i, (uint32_t)(there < chunk->left ? there : chunk->left)};
        i += piece->len;
        chunk->left -= piece->len;
        chunk->excess -= piece->len < chunk->excess ? piece->len : chunk->excess;
        chunk->state = chunk->left > 0 ? CHUNK_DATA : CHUNK_DATA_CR;
    }
    *used = i;
    if (chunk->state == CHUNK_FAILED) {
        return PARSE_ERROR;
    }
    return chunk->state == CHUNK_DONE ? PARSE_COMPLETE : PARSE_INCOMPLETE;
}
