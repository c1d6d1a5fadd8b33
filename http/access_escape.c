/* The slow half: byte by byte, for texts that are short or have something to escape. No failure modes: what does not
 * fit is left out. */

#include "http/access_escape.h"

#include "core/utf8.h"

enum { ESCAPE_ROOM = 6 }; /* bytes of the longest escape */

static char *put_hex(char *at, const char *prefix, unsigned char byte)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = strlen(prefix);
    memcpy(at, prefix, len);
    at[len] = hex[byte >> 4];
    at[len + 1] = hex[byte & 15];
    return at + len + 2;
}

/* An escape of JSON for a byte of ASCII. */
static char *put_json_escape(char *at, char byte)
{
    static const char plain[] = "\"\\\n\r\t", letters[] = "\"\\nrt";
    const char *found = byte == '\0' ? NULL : strchr(plain, byte);
    if (found == NULL) {
        return put_hex(at, "\\u00", (unsigned char)byte);
    }
    *at++ = '\\';
    *at++ = letters[found - plain];
    return at;
}

static bool is_plain(unsigned char byte)
{
    return byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\';
}

char *access_escape_rest(char *at, const char *end, const char *text, size_t len, bool is_json)
{
    while (len > 0) {
        unsigned char byte = (unsigned char)*text;
        size_t taken = 1;
        if (is_plain(byte)) {
            if (at == end) {
                return at;
            }
            *at++ = *text;
        } else if (end - at < ESCAPE_ROOM) {
            return at;
        } else if (!is_json) {
            at = put_hex(at, "\\x", byte);
        } else if (byte < 0x80) {
            at = put_json_escape(at, *text);
        } else if ((taken = utf8_len((const unsigned char *)text, len)) > 0) {
            memcpy(at, text, taken);
            at += taken;
        } else {
            memcpy(at, "\\uFFFD", ESCAPE_ROOM);
            at += ESCAPE_ROOM;
            taken = 1;
        }
        text += taken;
        len -= taken;
    }
    return at;
}
