/* Request targets: decoded once, without dot segments, inside the root.
 *
 * Happy path: url_normalise_path() copies the path segment by segment, decoding on the way; a finished segment that
 * turns out to be "." or ".." is taken back out. The output never outgrows the input.
 *
 * Failure modes: a path can be rejected, with a phrase for the client. Queries and forms are free text. */

#include "http/url.h"

#include "http/char_class.h"
#include "http/words.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* The byte that the escape at text stands for ("%41" is 'A'), or -1 if it is malformed or cut off. */
static int decode_escape(const char *text, size_t len)
{
    if (len < 3) {
        return -1;
    }
    int high = char_hex_value(text[1]);
    int low = char_hex_value(text[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* Resolve the segment of out from start to len (RFC 3986 section 5.2.4): "." goes, ".." takes its parent along, and
 * both leave the slash before them. Returns the new length, or 0 for a ".." without a parent. */
static size_t end_segment(const char *out, size_t start, size_t len)
{
    bool is_dot = len - start == 1 && out[start] == '.';
    bool is_double_dot = len - start == 2 && out[start] == '.' && out[start + 1] == '.';

    if (!is_dot && !is_double_dot) {
        return len;
    }
    if (is_dot || start == 1) {
        return is_dot ? start : 0;
    }
    start--;
    while (out[start - 1] != '/') {
        start--;
    }
    return start;
}

static ssize_t refuse_path(const char **reason, const char *why)
{
    *reason = why;
    return -400;
}

ssize_t url_normalise_path(const char *path, size_t len, char *out, size_t cap, const char **reason)
{
    assert(cap >= len && cap > 0);
    (void)cap;
    if (len > 0 && path[0] != '/') {
        return refuse_path(reason, "path does not begin with a slash");
    }
    out[0] = '/';
    size_t n = 1;       /* bytes of out */
    size_t segment = 1; /* where the current segment begins in out */
    for (size_t i = 1; i < len; i++) {
        int c = (unsigned char)path[i];
        if (c == '/') {
            size_t end = end_segment(out, segment, n);
            if (end == 0) {
                return refuse_path(reason, "path climbs above the root");
            }
            if (end == n) {
                out[end++] = '/';
            }
            segment = n = end;
            continue;
        }
        if (c == '\\' || c == '\0') {
            return refuse_path(reason, c == '\0' ? "NUL in path" : "backslash in path");
        }
        if (c == '%') {
            c = decode_escape(path + i, len - i);
            i += 2;
            if (c < 0) {
                return refuse_path(reason, "malformed percent-encoding in path");
            }
            if (c == '\0') {
                return refuse_path(reason, "encoded NUL in path");
            }
            if (c == '/') {
                return refuse_path(reason, "encoded slash in path");
            }
        }
        out[n++] = (char)c;
    }
    n = end_segment(out, segment, n);
    return n > 0 ? (ssize_t)n : refuse_path(reason, "path climbs above the root");
}

/* The dot and the slash differ in one bit. */
_Static_assert(('.' | 1) == '/', "a byte | 1 is a slash if it is one of the two");

/* Of eight bytes and of the eight that begin one further: whether a slash is followed by a slash or a dot. */
static bool has_odd_pair(uint64_t bytes, uint64_t next)
{
    return word_has_zero((bytes ^ word_of('/')) | ((next | word_of(1)) ^ word_of('/')));
}

bool url_has_odd_segment(const char *path, size_t len)
{
    size_t pairs = len > 0 ? len - 1 : 0;
    if (pairs >= sizeof(uint64_t)) {
        size_t last = pairs - sizeof(uint64_t);
        for (size_t i = 0; i < last; i += sizeof(uint64_t)) {
            if (has_odd_pair(word_at(path + i), word_at(path + i + 1))) {
                return true;
            }
        }
        return has_odd_pair(word_at(path + last), word_at(path + last + 1));
    }
    if (pairs >= sizeof(uint32_t)) {
        return has_odd_pair(word_of_halves(path, pairs), word_of_halves(path + 1, pairs));
    }
    for (size_t i = 0; i < pairs; i++) {
        if (path[i] == '/' && (path[i + 1] | 1) == '/') {
            return true;
        }
    }
    return false;
}

size_t url_decode_component(const char *text, size_t len, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        int decoded = c == '%' ? decode_escape(text + i, len - i) : -1;
        if (decoded >= 0) {
            c = (char)decoded;
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    return n;
}

bool url_next_pair(const char **query, size_t *len, struct url_pair *pair)
{
    while (*len > 0) {
        const char *start = *query;
        const char *end = memchr(start, '&', *len);
        size_t pair_len = end != NULL ? (size_t)(end - start) : *len;
        size_t taken = end != NULL ? pair_len + 1 : pair_len;
        *query += taken;
        *len -= taken;
        if (pair_len == 0) {
            continue;
        }
        const char *equals = memchr(start, '=', pair_len);
        pair->name = start;
        pair->name_len = equals != NULL ? (size_t)(equals - start) : pair_len;
        pair->value = equals != NULL ? equals + 1 : start + pair_len;
        pair->value_len = (size_t)(start + pair_len - pair->value);
        return true;
    }
    return false;
}

static bool is_unreserved(char c)
{
    char lower = (char)(c | 0x20);

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

size_t url_encode_segment(const char *text, size_t len, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (is_unreserved(text[i])) {
            out[n++] = text[i];
            continue;
        }
        unsigned c = (unsigned char)text[i];
        out[n++] = '%';
        out[n++] = digits[c >> 4];
        out[n++] = digits[c & 15];
    }
    return n;
}

size_t url_encode_path(const char *path, size_t len, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        const char *slash = memchr(path + i, '/', len - i);
        size_t segment_len = slash == NULL ? len - i : (size_t)(slash - path) - i;
        used += url_encode_segment(path + i, segment_len, out + used);
        i += segment_len;
        if (slash != NULL) {
            out[used++] = '/';
            i++;
        }
    }
    return used;
}

size_t url_encode_query(const char *query, size_t len, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        if (query[i] > ' ' && query[i] < 0x7f) {
            out[used++] = query[i];
        } else {
            used += url_encode_segment(query + i, 1, out + used);
        }
    }
    return used;
}
