/* Reads answers as a strict client would (RFC 9112 sections 4 to 7), and finds fault with what it may. */

#include "tests/wire/wire_answers.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct cursor {
    struct answers *answers;
    const char *at, *end;
};

static bool fault(struct cursor *cursor, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fault(struct cursor *cursor, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(cursor->answers->error, sizeof cursor->answers->error, format, args);
    va_end(args);
    return false;
}

/* The next line without its CRLF; NULL when there is none or it has a bare CR or LF in it. */
static const char *next_line(struct cursor *cursor, size_t *len)
{
    const char *start = cursor->at;
    const char *lf = memchr(start, '\n', (size_t)(cursor->end - start));
    if (lf == NULL || lf == start || lf[-1] != '\r') {
        return NULL;
    }
    *len = (size_t)(lf - start) - 1;
    cursor->at = lf + 1;
    return memchr(start, '\r', *len) == NULL ? start : NULL;
}

struct framing {
    int64_t length; /* of Content-Length, -1 without one */
    bool chunked;
    bool closes; /* Connection: close */
    int dates;
};

static bool is_field(const char *line, size_t len, const char *name, const char **value, size_t *value_len)
{
    size_t name_len = strlen(name);
    if (len < name_len + 2 || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':') {
        return false;
    }
    *value = line + name_len + 2;
    *value_len = len - name_len - 2;
    return true;
}

static bool read_field(struct cursor *cursor, const char *line, size_t len, struct framing *framing)
{
    const char *colon = memchr(line, ':', len);
    if (colon == NULL || colon == line || colon[1] != ' ') {
        return fault(cursor, "field line \"%.*s\"", (int)len, line);
    }
    for (const char *c = line; c < colon; c++) {
        if (*c == '\0' ||
            (!isalnum((unsigned char)*c) && strchr("!#$%&'*+-.^_`|~", *c) == NULL)) { /* RFC 9110 section 5.6.2 */
            return fault(cursor, "field name in \"%.*s\"", (int)len, line);
        }
    }
    const char *value;
    size_t value_len;
    if (is_field(line, len, "Content-Length", &value, &value_len)) {
        if (framing->length >= 0) {
            return fault(cursor, "Content-Length twice");
        }
        framing->length = strtoll(value, NULL, 10);
    } else if (is_field(line, len, "Transfer-Encoding", &value, &value_len)) {
        framing->chunked = true;
    } else if (is_field(line, len, "Connection", &value, &value_len) && value_len == 5 &&
               strncasecmp(value, "close", 5) == 0) {
        framing->closes = true;
    } else if (is_field(line, len, "Date", &value, &value_len)) {
        framing->dates++;
    }
    return true;
}

static bool read_head(struct cursor *cursor, struct answer *answer, struct framing *framing)
{
    size_t len;
    answer->head = cursor->at;
    const char *line = next_line(cursor, &len);
    if (line == NULL || len < 13 || strncmp(line, "HTTP/1.1 ", 9) != 0 || line[12] != ' ') {
        return fault(cursor, "status line \"%.40s\"",
                     cursor->answers->count == 0 ? answer->head
                     : line == NULL              ? ""
                                                 : line);
    }
    answer->status = atoi(line + 9);
    for (;;) {
        line = next_line(cursor, &len);
        if (line == NULL) {
            return fault(cursor, "a head that does not end, or has a bare CR or LF");
        }
        answer->head_len = (size_t)(line - answer->head);
        if (len == 0) {
            return true;
        }
        if (!read_field(cursor, line, len, framing)) {
            return false;
        }
    }
}

static bool add_body(struct cursor *cursor, struct answer *answer, size_t len)
{
    if ((size_t)(cursor->end - cursor->at) < len) {
        cursor->answers->is_cut = true;
        return fault(cursor, "content is cut: %zu of %zu bytes", (size_t)(cursor->end - cursor->at), len);
    }
    char *body = realloc(answer->body, answer->body_len + len + 1);
    if (body == NULL) {
        return fault(cursor, "out of memory");
    }
    memcpy(body + answer->body_len, cursor->at, len);
    answer->body = body;
    answer->body_len += len;
    body[answer->body_len] = '\0';
    cursor->at += len;
    return true;
}

static bool read_chunks(struct cursor *cursor, struct answer *answer)
{
    for (;;) {
        size_t len;
        if (cursor->at == cursor->end) {
            cursor->answers->is_cut = true;
            return fault(cursor, "content is cut: no last chunk");
        }
        const char *line = next_line(cursor, &len);
        if (line == NULL || len == 0 || len > 8) {
            return fault(cursor, "chunk size line");
        }
        char *end;
        unsigned long size = strtoul(line, &end, 16);
        if (end != line + len) {
            return fault(cursor, "chunk size \"%.*s\"", (int)len, line);
        }
        if (size > 0 && !add_body(cursor, answer, size)) {
            return false;
        }
        line = next_line(cursor, &len);
        if (line == NULL || len != 0) {
            return fault(cursor, "no CRLF behind a chunk");
        }
        if (size == 0) {
            return true;
        }
    }
}

static bool read_content(struct cursor *cursor, struct answer *answer, const struct framing *framing, bool is_head,
                         bool is_closed)
{
    bool has_none = answer->status < 200 || answer->status == 204 || answer->status == 304;
    if (framing->chunked && framing->length >= 0) {
        return fault(cursor, "Content-Length with Transfer-Encoding");
    }
    if ((answer->status < 200 || answer->status == 204) && (framing->length >= 0 || framing->chunked)) {
        return fault(cursor, "framing fields in a %d", answer->status);
    }
    if (has_none || is_head) {
        return true;
    }
    if (framing->chunked) {
        return read_chunks(cursor, answer);
    }
    if (framing->length < 0 && !is_closed) {
        return fault(cursor, framing->closes ? "content is cut: it ends with the connection, which is open"
                                             : "no framing, and the connection stays open");
    }
    return add_body(cursor, answer, framing->length < 0 ? (size_t)(cursor->end - cursor->at) : (size_t)framing->length);
}

static bool read_one(struct cursor *cursor, const bool *is_head, bool is_closed)
{
    struct answers *answers = cursor->answers;
    struct framing framing = {.length = -1};
    if (answers->count == ANSWERS_MAX) {
        return fault(cursor, "more than %d answers", ANSWERS_MAX);
    }
    struct answer *answer = &answers->list[answers->count];
    *answer = (struct answer){0};
    if (!read_head(cursor, answer, &framing)) {
        return false;
    }
    bool is_interim = answer->status < 200;
    if (!is_interim && framing.dates != 1) {
        return fault(cursor, "%d Date fields in a %d", framing.dates, answer->status);
    }
    bool head = !is_interim && is_head[answers->count];
    answers->count += is_interim ? 0 : 1;
    answers->interim += is_interim ? 1 : 0;
    return read_content(cursor, answer, &framing, head, is_closed);
}

void answers_read(struct answers *answers, const char *output, size_t len, const bool *is_head, bool is_closed)
{
    *answers = (struct answers){0};
    struct cursor cursor = {.answers = answers, .at = output, .end = output + len};
    while (cursor.at < cursor.end && read_one(&cursor, is_head, is_closed)) {
    }
}

void answers_done(struct answers *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        free(answers->list[i].body);
    }
}

bool answer_has(const struct answer *answer, const char *line, size_t len)
{
    const char *at = answer->head, *end = answer->head + answer->head_len;
    while (at < end) {
        const char *crlf = memchr(at, '\r', (size_t)(end - at));
        size_t line_len = (size_t)((crlf == NULL ? end : crlf) - at);
        if (line_len == len && memcmp(at, line, len) == 0) {
            return true;
        }
        at += line_len + 2;
    }
    return false;
}

bool answers_lack_their_end(const char *error)
{
    static const char *const cuts[] = {"content is cut", "a head that does not end", "status line", "chunk size line",
                                       "no CRLF behind a chunk"};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        if (strncmp(error, cuts[i], strlen(cuts[i])) == 0) {
            return true;
        }
    }
    return false;
}
