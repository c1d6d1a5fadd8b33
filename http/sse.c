/* The text of an event: one field a line, an empty line behind the last. A client ends a line at CR, LF or CRLF, so
 * text of several lines is written as several fields. Its reader takes one space behind the colon away; it is always
 * written, so that text which begins with a space keeps it.
 *
 * Failure modes: an id or a type with a line break would be read as another field, and an id with a NUL is ignored by
 * clients, who would then ask for events that they have had. Both are refused. */

#include "http/sse.h"

#include "http/head_text.h"

#include <stdbool.h>
#include <string.h>

/* The lines of a text. The place of the next line feed is kept, so that a text of carriage returns takes one pass. */
struct sse_lines {
    const char *at;        /* where the next line begins */
    const char *end;       /* of the text */
    const char *line_feed; /* the first one from at on, or end */
    bool is_over;          /* there is no next line */
};

static const char *find_or_end(const char *at, const char *end, char byte)
{
    const char *found = memchr(at, byte, (size_t)(end - at));
    return found == NULL ? end : found;
}

static struct sse_lines lines_of(const char *text, size_t len)
{
    const char *end = text + len;
    return (struct sse_lines){.at = text, .end = end, .line_feed = find_or_end(text, end, '\n')};
}

/* The next line, without its end. Behind a line break there always is another line, perhaps an empty one. */
static bool next_sse_line(struct sse_lines *lines, const char **line, size_t *len)
{
    if (lines->is_over) {
        return false;
    }
    const char *stop = find_or_end(lines->at, lines->line_feed, '\r');
    *line = lines->at;
    *len = (size_t)(stop - lines->at);
    if (stop == lines->end) {
        lines->is_over = true;
        return true;
    }
    bool is_pair = *stop == '\r' && stop + 1 == lines->line_feed && lines->line_feed != lines->end;
    lines->at = stop + (is_pair ? 2 : 1);
    if (lines->at > lines->line_feed) {
        lines->line_feed = find_or_end(lines->at, lines->end, '\n');
    }
    return true;
}

/* Each line of text as a field with this name. */
static size_t lines_length(size_t name_len, const char *text, size_t len)
{
    struct sse_lines lines = lines_of(text, len);
    const char *line;
    size_t line_len, total = 0;
    while (next_sse_line(&lines, &line, &line_len)) {
        total += name_len + line_len + 1;
    }
    return total;
}

static char *put_sse_lines(char *at, const char *name, const char *text, size_t len)
{
    size_t name_len = strlen(name);
    struct sse_lines lines = lines_of(text, len);
    const char *line;
    size_t line_len;
    while (next_sse_line(&lines, &line, &line_len)) {
        at = put(at, name, name_len);
        at = put(at, line, line_len);
        *at++ = '\n';
    }
    return at;
}

static const char id_name[] = "id: ", event_name[] = "event: ", data_name[] = "data: ", retry_name[] = "retry: ",
                  comment_name[] = ": ";

static size_t number_length(uint64_t number)
{
    size_t digits = 1;
    for (; number >= 10; number /= 10) {
        digits++;
    }
    return digits;
}

static bool breaks_line(const char *text, size_t len)
{
    return text != NULL && len > 0 && (memchr(text, '\n', len) != NULL || memchr(text, '\r', len) != NULL);
}

const char *sse_check(const struct sse_event *event)
{
    if (breaks_line(event->id, event->id_len)) {
        return "id: it must not contain a line break";
    }
    if (event->id != NULL && event->id_len > 0 && memchr(event->id, '\0', event->id_len) != NULL) {
        return "id: it must not contain a NUL byte";
    }
    if (breaks_line(event->event, event->event_len)) {
        return "event: it must not contain a line break";
    }
    return NULL;
}

static size_t field_length(size_t name_size, const char *text, size_t len)
{
    return text == NULL ? 0 : name_size - 1 + len + 1;
}

size_t sse_length(const struct sse_event *event)
{
    size_t len = field_length(sizeof id_name, event->id, event->id_len) +
                 field_length(sizeof event_name, event->event, event->event_len);
    if (event->retry_ms >= 0) {
        len += sizeof retry_name - 1 + number_length((uint64_t)event->retry_ms) + 1;
    }
    if (event->data != NULL) {
        len += lines_length(sizeof data_name - 1, event->data, event->data_len);
    }
    return len + 1;
}

static char *put_sse_field(char *at, const char *name, const char *text, size_t len)
{
    at = put(put_text(at, name), text, len);
    *at++ = '\n';
    return at;
}

char *sse_put(char *at, const struct sse_event *event)
{
    if (event->id != NULL) {
        at = put_sse_field(at, id_name, event->id, event->id_len);
    }
    if (event->event != NULL) {
        at = put_sse_field(at, event_name, event->event, event->event_len);
    }
    if (event->retry_ms >= 0) {
        at = put_number(put_text(at, retry_name), (uint64_t)event->retry_ms);
        *at++ = '\n';
    }
    if (event->data != NULL) {
        at = put_sse_lines(at, data_name, event->data, event->data_len);
    }
    *at++ = '\n';
    return at;
}

size_t sse_comment_length(const char *text, size_t len)
{
    return lines_length(sizeof comment_name - 1, text, len) + 1;
}

char *sse_put_comment(char *at, const char *text, size_t len)
{
    at = put_sse_lines(at, comment_name, text, len);
    *at++ = '\n';
    return at;
}
