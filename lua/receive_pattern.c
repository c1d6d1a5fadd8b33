/* The delimiter is searched as Knuth, Morris and Pratt do, so that no byte is looked at twice, whatever the delimiter
 * is and however the bytes come. */

#include "lua/receive_pattern.h"

#include <string.h>

void receive_prepare(const char *text, size_t len, uint32_t *fallback)
{
    size_t matched = 0;
    fallback[0] = 0;
    for (size_t i = 1; i < len; i++) {
        while (matched > 0 && text[i] != text[matched]) {
            matched = fallback[matched - 1];
        }
        matched += text[i] == text[matched];
        fallback[i] = (uint32_t)matched;
    }
}

/* Go on until the delimiter is complete, or the bytes end. */
static void scan_until(struct receive_pattern *pattern, const char *bytes, size_t len)
{
    const struct receive_delimiter *delimiter = pattern->delimiter;
    size_t at = pattern->scanned, matched = pattern->matched;
    while (at < len && matched < delimiter->len) {
        if (matched == 0) { /* most bytes are far from it */
            const char *first = memchr(bytes + at, delimiter->text[0], len - at);
            at = first == NULL ? len : (size_t)(first - bytes) + 1;
            matched = first == NULL ? 0 : 1;
            continue;
        }
        if (bytes[at] == delimiter->text[matched]) {
            matched++;
            at++;
        } else {
            matched = delimiter->fallback[matched - 1];
        }
    }
    pattern->scanned = at;
    pattern->matched = matched;
}

static enum receive_verdict look_until(struct receive_pattern *pattern, const char *bytes, size_t len,
                                       struct receive_cut *cut)
{
    const struct receive_delimiter *delimiter = pattern->delimiter;
    scan_until(pattern, bytes, len);
    size_t before = pattern->scanned - pattern->matched; /* bytes that are not of the delimiter, for certain */
    bool is_found = pattern->matched == delimiter->len;
    bool is_piece = pattern->count > 0 && before >= pattern->count;
    if (is_piece) {
        *cut = (struct receive_cut){.len = pattern->count, .taken = pattern->count};
        pattern->scanned -= pattern->count;
        return RECEIVE_DONE;
    }
    if (pattern->count == 0 && before > pattern->most) {
        return RECEIVE_TOO_LONG;
    }
    if (!is_found) {
        return RECEIVE_MORE;
    }
    *cut = (struct receive_cut){
        .len = before + (delimiter->is_inclusive ? delimiter->len : 0),
        .taken = pattern->scanned,
        .is_end = true,
    };
    pattern->scanned = pattern->matched = 0;
    return RECEIVE_DONE;
}

static enum receive_verdict look_for_line(struct receive_pattern *pattern, const char *bytes, size_t len,
                                          struct receive_cut *cut)
{
    size_t from = pattern->scanned;
    const char *newline = len == from ? NULL : memchr(bytes + from, '\n', len - from);
    size_t line_len = newline == NULL ? len : (size_t)(newline - bytes);
    if (line_len > pattern->most) {
        return RECEIVE_TOO_LONG;
    }
    pattern->scanned = newline == NULL ? len : 0;
    *cut = (struct receive_cut){.len = line_len, .taken = line_len + 1};
    return newline == NULL ? RECEIVE_MORE : RECEIVE_DONE;
}

enum receive_verdict receive_look(struct receive_pattern *pattern, const char *bytes, size_t len,
                                  struct receive_cut *cut)
{
    size_t taken = len < pattern->count ? len : pattern->count;
    switch (pattern->kind) {
    case RECEIVE_LINE:
        return look_for_line(pattern, bytes, len, cut);
    case RECEIVE_UNTIL:
        return look_until(pattern, bytes, len, cut);
    case RECEIVE_ALL:
        return len > pattern->most ? RECEIVE_TOO_LONG : RECEIVE_MORE;
    case RECEIVE_COUNT:
    case RECEIVE_ANY:
        break;
    }
    *cut = (struct receive_cut){.len = taken, .taken = taken};
    bool is_there = pattern->kind == RECEIVE_ANY ? len > 0 : len >= pattern->count;
    return is_there ? RECEIVE_DONE : RECEIVE_MORE;
}

void receive_give_up(struct receive_pattern *pattern, size_t len, bool is_end, struct receive_cut *cut)
{
    size_t begun = pattern->kind == RECEIVE_UNTIL && !is_end ? pattern->matched : 0;
    *cut = (struct receive_cut){.len = len - begun, .taken = len - begun};
    pattern->scanned = pattern->matched = begun;
}

size_t receive_drop_returns(char *line, size_t len)
{
    char *to = len == 0 ? NULL : memchr(line, '\r', len);
    if (to == NULL) {
        return len;
    }
    for (const char *from = to; from < line + len; from++) {
        if (*from != '\r') {
            *to++ = *from;
        }
    }
    memset(to, '\r', (size_t)(line + len - to));
    return (size_t)(to - line);
}
