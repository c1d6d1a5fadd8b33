/* Happy path: the line in one of three formats. No failure modes: what does not fit is cut. */

#include "core/program/log_text.h"

#include "core/sys.h"
#include "http/access_escape.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const format_names[] = {
    [LOG_FORMAT_TEXT] = "text",
    [LOG_FORMAT_JSON] = "json",
    [LOG_FORMAT_JOURNAL] = "journal",
};

enum { WHEN_MAX = 80 }; /* bytes of a time, with its NUL */

static void write_when(char when[WHEN_MAX], int64_t now_ms)
{
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;
    when[0] = '\0';
    if (gmtime_r(&now, &tm) != NULL) {
        snprintf(when, WHEN_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                 tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(now_ms % 1000));
    }
}

static char *put_raw_text(char *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len);
    return at + len;
}

/* ,"name":"value" */
static char *put_member(char *at, const char *end, const char *name, const char *value)
{
    at = put_raw_text(put_raw_text(put_raw_text(at, ",\""), name), "\":\"");
    at = access_escape(at, end, value, strlen(value), true);
    *at++ = '"';
    return at;
}

/* The fields of a line, in half of the room at most; what does not fit is cut, or left out. */
static char *put_fields(char *at, const char *text, const struct log_subject *subject)
{
    enum { SYNTAX_MAX = 8 }; /* bytes around a name and a value */
    const char *end = text + LOG_TEXT_MAX / 2;
    for (unsigned i = 0; i < subject->field_count; i++) {
        const struct log_field *field = &subject->fields[i];
        size_t needs = strlen(field->name) + SYNTAX_MAX + (field->is_number ? strlen(field->text) : 0);
        if (needs > (size_t)(end - at)) {
            break;
        }
        if (field->is_number) {
            at = put_raw_text(put_raw_text(put_raw_text(at, ",\""), field->name), "\":");
            at = put_raw_text(at, field->text);
        } else {
            at = put_member(at, end - 1, field->name, field->text);
        }
    }
    return at;
}

/* The client, the id and the fields come before the message, whose end may be cut; their lengths are limited. */
static size_t write_json(char text[LOG_TEXT_MAX], const struct log_entry *entry, const char *when)
{
    char *at = text;
    const char *end = text + LOG_TEXT_MAX - LOG_SUBJECT_MAX;
    at = put_raw_text(put_raw_text(put_raw_text(at, "{\"time\":\""), when), "\"");
    at = put_member(at, end, "level", log_level_name(entry->level));
    if (entry->subject.client != NULL) {
        at = put_member(at, end, "client", entry->subject.client);
    }
    if (entry->subject.request_id != NULL) {
        at = put_member(at, end, "request_id", entry->subject.request_id);
    }
    at = put_fields(at, text, &entry->subject);
    at = put_raw_text(put_member(at, end, "message", entry->text), "}\n");
    *at = '\0';
    return (size_t)(at - text);
}

/* journald makes an entry of each line, so a traceback becomes one line: " | " stands for its newlines. */
static size_t write_joined(char text[LOG_TEXT_MAX], int level, const char *line)
{
    static const char priorities[] = {[LOG_ERROR] = '3', [LOG_WARN] = '4', [LOG_INFO] = '6', [LOG_DEBUG] = '7'};
    char *at = text, *end = text + LOG_TEXT_MAX - 8;
    *at++ = '<';
    *at++ = level < LOG_ERROR || level > LOG_DEBUG ? '6' : priorities[level];
    *at++ = '>';
    while (*line != '\0' && at < end) {
        if (*line == '\n') {
            at = put_raw_text(at, " | ");
            line += 1 + strspn(line + 1, "\t ");
        } else {
            *at++ = *line++;
        }
    }
    *at++ = '\n';
    *at = '\0';
    return (size_t)(at - text);
}

size_t log_text_write(char text[LOG_TEXT_MAX], enum log_format format, const struct log_entry *entry, int64_t now_ms)
{
    char line[LOG_LINE_MAX], when[WHEN_MAX];
    if (format == LOG_FORMAT_JOURNAL) {
        log_whole_line(line, entry);
        return write_joined(text, entry->level, line);
    }
    write_when(when, now_ms);
    if (format == LOG_FORMAT_JSON) {
        return write_json(text, entry, when);
    }
    log_whole_line(line, entry);
    return (size_t)snprintf(text, LOG_TEXT_MAX, "%s %s %s\n", when, log_level_name(entry->level), line);
}

bool log_text_find_format(const char *name, enum log_format *format)
{
    for (size_t i = 0; i < sizeof format_names / sizeof format_names[0]; i++) {
        if (strcmp(name, format_names[i]) == 0) {
            *format = (enum log_format)i;
            return true;
        }
    }
    return false;
}

bool log_text_find_level(const char *name, int *level)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(name, log_level_name(i)) == 0) {
            *level = i;
            return true;
        }
    }
    return false;
}

bool log_text_is_journal(const char *journal_stream, int fd)
{
    struct stat st;
    char own[64];
    if (journal_stream == NULL || sys_stat(fd, &st) < 0) {
        return false;
    }
    snprintf(own, sizeof own, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    return strcmp(own, journal_stream) == 0;
}
