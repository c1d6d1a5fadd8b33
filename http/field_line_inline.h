#ifndef EVSERVE_HTTP_FIELD_LINE_INLINE_H
#define EVSERVE_HTTP_FIELD_LINE_INLINE_H

/* field_line_scan() as a function that the compiler can put where it is needed: for http/field_line.c, which makes it
 * callable, and the parser of request heads, where a call for each byte that arrives alone would show. All others call.
 *
 * Happy path: it goes through the states of a line one after the other and returns at its end. Failure: it stops at the
 * byte that is wrong and leaves the words to the caller. */

#include "http/field_line.h"

#include "http/char_class.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SCANNER __attribute__((always_inline)) static inline

SCANNER size_t skip_name(const char *data, size_t pos, size_t len)
{
    while (pos < len && char_is(data[pos], CLASS_TOKEN)) {
        pos++;
    }
    return pos;
}

/* A line may have thousands of spaces. */
SCANNER size_t skip_value_space(const char *data, size_t pos, size_t len)
{
#ifdef __SSE2__
    for (; len - pos >= 16; pos += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(data + pos));
        __m128i is_space = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(' '));
        __m128i is_tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
        unsigned others = ~(unsigned)_mm_movemask_epi8(_mm_or_si128(is_space, is_tab)) & 0xffff;
        if (others != 0) {
            return pos + (size_t)__builtin_ctz(others);
        }
    }
#endif
    return char_skip_space(data, len, pos);
}

/* Values can be long, and arrive in many pieces: where the CPU can be trusted to have vectors, 16 bytes at a time. */
SCANNER size_t skip_value(const char *data, size_t pos, size_t len)
{
#ifdef __SSE2__
    for (; len - pos >= 16; pos += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(data + pos));
        __m128i is_low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        __m128i is_tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
        __m128i is_del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
        int ends = _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(is_tab, is_low), is_del));
        if (ends != 0) {
            return pos + (size_t)__builtin_ctz((unsigned)ends);
        }
    }
#endif
    while (pos < len && char_is(data[pos], CLASS_VALUE)) {
        pos++;
    }
    return pos;
}

SCANNER size_t trim_end(const char *data, size_t start, size_t end)
{
    while (end > start && char_is_space(data[end - 1])) {
        end--;
    }
    return end;
}

SCANNER struct slice slice_between(size_t start, size_t end)
{
    return (struct slice){(uint32_t)start, (uint32_t)(end - start)};
}

SCANNER enum field_line_verdict stop_scan(struct field_line *line, enum field_line_state state, size_t pos, size_t len)
{
    line->state = (uint8_t)state;
    line->pos = (uint32_t)pos;
    return pos == len ? FIELD_LINE_INCOMPLETE : FIELD_LINE_WRONG;
}

/* The LF of a line, which ends it. */
SCANNER enum field_line_verdict end_scanned_line(struct field_line *line, const char *data, size_t pos, size_t len)
{
    bool is_empty = line->state == FIELD_LINE_END_LF;

    if (pos == len || data[pos] != '\n') {
        return stop_scan(line, line->state, pos, len);
    }
    line->state = FIELD_LINE_BEGIN;
    line->pos = (uint32_t)pos + 1;
    return is_empty ? FIELD_LINE_EMPTY : FIELD_LINE_WHOLE;
}

SCANNER enum field_line_verdict scan_field_line(struct field_line *line, const char *data, size_t len,
                                                struct field *field)
{
    size_t pos = line->pos;

    switch ((enum field_line_state)line->state) {
    case FIELD_LINE_BEGIN:
        if (pos < len && data[pos] == '\r') {
            line->state = FIELD_LINE_END_LF;
            return end_scanned_line(line, data, pos + 1, len);
        }
        if (pos == len || !char_is(data[pos], CLASS_TOKEN)) {
            return stop_scan(line, FIELD_LINE_BEGIN, pos, len);
        }
        line->mark = (uint32_t)pos;
        __attribute__((fallthrough));
    case FIELD_LINE_NAME:
        pos = skip_name(data, pos, len);
        if (pos == len || data[pos] != ':') {
            return stop_scan(line, FIELD_LINE_NAME, pos, len);
        }
        if (field != NULL) {
            field->name = slice_between(line->mark, pos);
        }
        pos++;
        __attribute__((fallthrough));
    case FIELD_LINE_SPACE:
        pos = skip_value_space(data, pos, len);
        if (pos == len) {
            return stop_scan(line, FIELD_LINE_SPACE, pos, len);
        }
        line->mark = (uint32_t)pos;
        __attribute__((fallthrough));
    case FIELD_LINE_VALUE:
        pos = skip_value(data, pos, len);
        if (pos == len || data[pos] != '\r') {
            return stop_scan(line, FIELD_LINE_VALUE, pos, len);
        }
        if (field != NULL) {
            field->value = slice_between(line->mark, trim_end(data, line->mark, pos));
        }
        pos++;
        __attribute__((fallthrough));
    case FIELD_LINE_LF:
        line->state = FIELD_LINE_LF;
        return end_scanned_line(line, data, pos, len);
    case FIELD_LINE_END_LF:
        break;
    }
    return end_scanned_line(line, data, pos, len);
}

#undef SCANNER

#endif
