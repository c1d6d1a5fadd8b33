/* Happy path: bytes that stay are appended in one piece, up to the next that does not.
 *
 * Failure modes: none but memory. Whatever bytes come, the output consists of what the place allows. */

#include "core/escape.h"

#include "core/ascii.h"
#include "core/utf8.h"
#include "core/write_buffer.h"

#include <stdint.h>
#include <string.h>

enum { ESCAPED_MAX = 16 }; /* bytes that one byte, or U+2028, becomes, with a NUL */

/* What stays in a URL beside letters and digits (RFC 3986 section 2). */
static const char *const kept_in_url[ESCAPE_COUNT] = {
    [ESCAPE_URL] = "-._~:/?#[]@!$&'()*+,;=",
    [ESCAPE_PATH] = "-._~:/@!$&'()*+,;=",
    [ESCAPE_SEGMENT] = "-._~/@!$&'()*+,;=",
    [ESCAPE_QUERY] = "-._~",
};

static bool is_hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_ascii_word(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* How many bytes of a URL stay: 1, or 0. */
static size_t url_span(enum escape_place place, const char *text, size_t len)
{
    unsigned char c = (unsigned char)text[0];
    bool is_triplet = place == ESCAPE_URL && c == '%' && len >= 3 && is_hex_digit(text[1]) && is_hex_digit(text[2]);
    return is_ascii_word(c) || is_triplet || (c != '\0' && strchr(kept_in_url[place], c) != NULL);
}

static bool is_line_separator(const unsigned char *text, size_t sequence)
{
    return sequence == 3 && text[0] == 0xe2 && text[1] == 0x80 && (text[2] | 1) == 0xa9; /* U+2028, U+2029 */
}

/* How many bytes at the beginning of text, which is not empty, stay: a whole character, or 0. */
static size_t kept_len(enum escape_place place, const char *text, size_t len)
{
    if (kept_in_url[place] != NULL) {
        return url_span(place, text, len);
    }
    const unsigned char *bytes = (const unsigned char *)text;
    size_t sequence = utf8_len(bytes, len);
    unsigned char c = bytes[0];
    if (sequence != 1) {
        return place != ESCAPE_HTML && is_line_separator(bytes, sequence) ? 0 : sequence;
    }
    switch (place) {
    case ESCAPE_HTML:
        return c != '\0' && strchr("&<>\"'", c) == NULL;
    case ESCAPE_JSON:
        return c != '\0' && strchr("&<>/", c) == NULL;
    default:
        return c >= ' ' && c != 0x7f && strchr("\"'`\\/<>&$=", c) == NULL;
    }
}

size_t escape_span(enum escape_place place, const char *text, size_t len)
{
    size_t span = 0;
    while (span < len) {
        size_t kept = kept_len(place, text + span, len - span);
        if (kept == 0) {
            break;
        }
        span += kept;
    }
    return span;
}

static void put_code_unit(char *out, unsigned unit)
{
    static const char hex[] = "0123456789abcdef";
    const char text[] = {'\\',           'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15],
                         hex[unit & 15], '\0'};
    memcpy(out, text, sizeof text);
}

static void put_in_script(char *out, const unsigned char *text, size_t sequence)
{
    if (sequence == 3) {
        put_code_unit(out, text[2] == 0xa8 ? 0x2028 : 0x2029);
    } else if (text[0] == '/' || text[0] == '\\') { /* a short form that JSON has, too */
        out[0] = '\\';
        out[1] = (char)text[0];
        out[2] = '\0';
    } else {
        put_code_unit(out, text[0]);
    }
}

static void put_in_html(char *out, unsigned char c)
{
    const char *name = "\xef\xbf\xbd"; /* NUL, which no page may have */
    name = c == '&'    ? "&amp;"
           : c == '<'  ? "&lt;"
           : c == '>'  ? "&gt;"
           : c == '"'  ? "&quot;"
           : c == '\'' ? "&#39;"
                       : name;
    strcpy(out, name);
}

static void put_in_url(char *out, unsigned char c)
{
    static const char hex[] = "0123456789ABCDEF";
    const char text[] = {'%', hex[c >> 4], hex[c & 15], '\0'};
    memcpy(out, text, sizeof text);
}

/* Make out what text begins with, which does not stay. Returns how many bytes of it that were. */
static size_t escape_one(char out[ESCAPED_MAX], enum escape_place place, const char *text, size_t len)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t sequence = utf8_len(bytes, len);
    if (kept_in_url[place] != NULL) {
        put_in_url(out, bytes[0]);
        return 1;
    }
    if (sequence == 0) {
        strcpy(out, "\xef\xbf\xbd");
        return 1;
    }
    if (place == ESCAPE_HTML) {
        put_in_html(out, bytes[0]);
    } else {
        put_in_script(out, bytes, sequence);
    }
    return sequence;
}

int escape_append(struct write_buffer *out, enum escape_place place, const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        char piece[ESCAPED_MAX];
        size_t span = escape_span(place, text + at, len - at);
        int rv = write_buffer_append(out, text + at, span, SIZE_MAX);
        at += span;
        if (rv == 0 && at < len) {
            at += escape_one(piece, place, text + at, len - at);
            rv = write_buffer_append(out, piece, strlen(piece), SIZE_MAX);
        }
        if (rv < 0) {
            return rv;
        }
    }
    return 0;
}

bool escape_is_safe_url(const char *text, size_t len)
{
    size_t end = 0;
    while (end < len && (text[end] == '\0' || strchr(":/?#", text[end]) == NULL)) {
        end++;
    }
    if (end == len || text[end] != ':') {
        return true;
    }
    return ascii_is(text, end, "http") || ascii_is(text, end, "https") || ascii_is(text, end, "mailto");
}
