/* Parameters of field values.
 *
 * Failure mode: what is malformed is as if it were not there; the caller decides whether that is an error. */

#include "http/parameter.h"

#include "core/ascii.h"
#include "core/utf8.h"
#include "http/char_class.h"

#include <stdint.h>
#include <string.h>

/* The value of a parameter that begins at text[at]: a token or a quoted string, written to out, which has room for len
 * bytes. Returns where it ends, or SIZE_MAX when it is malformed. */
static size_t take_value(const char *text, size_t len, size_t at, char *out, size_t *out_len)
{
    size_t count = 0;
    if (at == len || text[at] != '"') {
        while (at < len && text[at] != ';' && !char_is_space(text[at])) {
            out[count++] = text[at++];
        }
        *out_len = count;
        return at;
    }
    for (at++; at < len && text[at] != '"'; at++) {
        bool is_escaped = text[at] == '\\' && at + 1 < len && (text[at + 1] == '"' || text[at + 1] == '\\');
        at += is_escaped ? 1 : 0;
        out[count++] = text[at];
    }
    *out_len = count;
    return at == len ? SIZE_MAX : at + 1;
}

int parameter_find(const char *text, size_t len, const char *name, char *out)
{
    const char *semicolon = memchr(text, ';', len);
    size_t at = semicolon == NULL ? len : (size_t)(semicolon - text);
    while (at < len && text[at] == ';') {
        at = char_skip_space(text, len, at + 1);
        size_t start = at;
        while (at < len && char_is(text[at], CLASS_TOKEN)) {
            at++;
        }
        size_t name_len = at - start;
        if (name_len == 0 || at == len || text[at] != '=') {
            if (name_len == 0 && at < len && text[at] == ';') {
                continue; /* an empty parameter */
            }
            return -1;
        }
        size_t value_len;
        at = take_value(text, len, at + 1, out, &value_len);
        if (at == SIZE_MAX) {
            return -1;
        }
        if (ascii_is(text + start, name_len, name)) {
            return (int)value_len;
        }
        at = char_skip_space(text, len, at);
    }
    return -1;
}

bool parameter_value_is(const char *text, size_t len, const char *value)
{
    const char *semicolon = memchr(text, ';', len);
    size_t end = semicolon == NULL ? len : (size_t)(semicolon - text);
    while (end > 0 && char_is_space(text[end - 1])) {
        end--;
    }
    return ascii_is(text, end, value);
}

/* The byte that text[*at] stands for: itself, or %XX. Moves *at behind it. Returns -1 for none that may stand there. */
static int decode_byte(const char *text, size_t len, size_t *at)
{
    unsigned char byte = (unsigned char)text[(*at)++];
    if (byte == '%') {
        int high = len - *at < 2 ? -1 : char_hex_value(text[*at]);
        int low = high < 0 ? -1 : char_hex_value(text[*at + 1]);
        if (low < 0) {
            return -1;
        }
        *at += 2;
        byte = (unsigned char)(high * 16 + low);
    } else if (byte > '~') {
        return -1; /* other bytes are encoded */
    }
    return byte < ' ' || byte == 0x7f ? -1 : byte;
}

static bool is_utf8(const char *text, size_t len)
{
    for (size_t at = 0, step; at < len; at += step) {
        step = utf8_len((const unsigned char *)text + at, len - at);
        if (step == 0) {
            return false;
        }
    }
    return true;
}

int parameter_decode_extended(char *text, size_t len)
{
    const char *charset_end = memchr(text, '\'', len);
    if (charset_end == NULL) {
        return -1;
    }
    size_t charset_len = (size_t)(charset_end - text);
    const char *language_end = memchr(charset_end + 1, '\'', len - charset_len - 1);
    bool is_latin = ascii_is(text, charset_len, "ISO-8859-1");
    if (language_end == NULL || (!is_latin && !ascii_is(text, charset_len, "UTF-8"))) {
        return -1;
    }
    size_t count = 0;
    for (size_t at = (size_t)(language_end - text) + 1; at < len;) {
        int byte = decode_byte(text, len, &at);
        if (byte < 0 || (is_latin && byte >= 0x80 && byte < 0xa0)) {
            return -1;
        }
        if (is_latin && byte >= 0x80) { /* three bytes of text become two */
            text[count++] = (char)(0xc0 | byte >> 6);
            byte = 0x80 | (byte & 0x3f);
        }
        text[count++] = (char)byte;
    }
    return is_utf8(text, count) ? (int)count : -1;
}
