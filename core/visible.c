/* These must not be shown as they are. C0 controls and DEL move cursors, and so do the C1 controls U+0080 to U+009F in
 * terminals that know them. U+2028 and U+2029 end lines in viewers that follow Unicode. The marks, embeddings,
 * overrides and isolates of bidirectional text change the order in which a line is read. U+FEFF is invisible. */

#include "core/visible.h"

#include "core/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Decode the character at text. Returns its length, or 0 if it is not UTF-8. */
static size_t decode(const char *text, size_t len, uint32_t *code)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t size = utf8_len(bytes, len);
    uint32_t value = size < 2 ? bytes[0] : bytes[0] & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        value = value << 6 | (bytes[i] & 0x3Fu);
    }
    *code = value;
    return size;
}

static bool is_invisible(uint32_t code)
{
    return (code >= 0x80 && code <= 0x9F) || code == 0x061C || code == 0x200E || code == 0x200F ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) || code == 0xFEFF;
}

static bool is_plain_ascii(unsigned char byte, enum visible_manner manner)
{
    if (byte == '\n') {
        return manner == VISIBLE_LINES;
    }
    if (byte == '"' || byte == '\\') {
        return manner != VISIBLE_QUOTED;
    }
    return byte == '\t' || (byte >= ' ' && byte < 0x7F);
}

size_t visible_span(const char *text, size_t len, enum visible_manner manner)
{
    size_t at = 0;
    while (at < len) {
        unsigned char byte = (unsigned char)text[at];
        if (byte < 0x80) {
            if (!is_plain_ascii(byte, manner)) {
                break;
            }
            at++;
            continue;
        }
        uint32_t code;
        size_t size = decode(text + at, len - at, &code);
        if (size == 0 || is_invisible(code)) {
            break;
        }
        at += size;
    }
    return at;
}

size_t visible_escape(const char *text, size_t len, char piece[VISIBLE_PIECE_MAX])
{
    uint32_t code = 0;
    size_t size = decode(text, len, &code);
    if (text[0] == '\n') {
        snprintf(piece, VISIBLE_PIECE_MAX, "\\n");
    } else if (text[0] == '"' || text[0] == '\\') {
        snprintf(piece, VISIBLE_PIECE_MAX, "\\%c", text[0]);
    } else if (size < 2) {
        snprintf(piece, VISIBLE_PIECE_MAX, "\\x%02x", (unsigned char)text[0]);
    } else {
        snprintf(piece, VISIBLE_PIECE_MAX, "\\u%04x", (unsigned)(code & 0xFFFF)); /* none that is hidden is larger */
    }
    return size == 0 ? 1 : size;
}

size_t visible_copy(char *out, size_t outlen, const char *text, size_t len, enum visible_manner manner, size_t *taken)
{
    size_t used = 0, at = 0, room = outlen - 1;
    while (at < len) {
        size_t most = len - at < room - used ? len - at : room - used;
        size_t span = visible_span(text + at, most, manner); /* a character that does not fit whole ends it, too */
        memcpy(out + used, text + at, span);
        used += span;
        at += span;
        if (span == most) {
            break;
        }
        char piece[VISIBLE_PIECE_MAX];
        size_t size = visible_escape(text + at, len - at, piece);
        size_t piece_len = strlen(piece);
        if (piece_len > room - used) { /* an escape is longer than any character */
            break;
        }
        memcpy(out + used, piece, piece_len);
        used += piece_len;
        at += size;
    }
    out[used] = '\0';
    *taken = at;
    return used;
}
