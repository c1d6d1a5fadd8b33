/* Formatting for log lines and error texts. */

#include "core/log.h"

#include "core/visible.h"

#include <stdio.h>
#include <string.h>

#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 32) /* a line of its own: musl does not know the macro */
#define HAS_STRERRORDESC
#endif
#endif

void log_line(char line[LOG_LINE_MAX], const char *text, size_t len)
{
    static const char cut[] = "...";
    size_t taken;
    if (len < LOG_LINE_MAX && visible_span(text, len, VISIBLE_LINES) == len) {
        memcpy(line, text, len);
        line[len] = '\0';
        return;
    }
    visible_copy(line, LOG_LINE_MAX, text, len, VISIBLE_LINES, &taken);
    if (taken < len) {
        size_t used = visible_copy(line, LOG_LINE_MAX - (sizeof cut - 1), text, len, VISIBLE_LINES, &taken);
        memcpy(line + used, cut, sizeof cut);
    }
}

void log_whole_line(char line[LOG_LINE_MAX], const struct log_entry *entry)
{
    const struct log_subject *subject = &entry->subject;
    bool has_client = subject->client != NULL, has_id = subject->request_id != NULL;
    char tail[LOG_SUBJECT_MAX] = "";
    if (has_client || has_id) {
        snprintf(tail, sizeof tail, " [%s%s%s%s%s]", has_client ? "client " : "", has_client ? subject->client : "",
                 has_client && has_id ? ", " : "", has_id ? "id " : "", has_id ? subject->request_id : "");
    }
    size_t first = strcspn(entry->text, "\n"), tail_len = strlen(tail);
    size_t kept = first + tail_len < LOG_LINE_MAX ? first : LOG_LINE_MAX - 1 - tail_len;
    while (kept < first && kept > 0 && ((unsigned char)entry->text[kept] & 0xc0) == 0x80) { /* within a character */
        kept--;
    }
    snprintf(line, LOG_LINE_MAX, "%.*s%s%s", (int)kept, entry->text, tail, entry->text + first);
}

/* Formatting takes kilobytes of stack: only of those who log. */
static void pass_line(const struct log *log, enum log_level level, const struct log_subject *subject,
                      const char *format, va_list args) __attribute__((noinline, format(printf, 4, 0)));
static void pass_line(const struct log *log, enum log_level level, const struct log_subject *subject,
                      const char *format, va_list args)
{
    char text[LOG_LINE_MAX + 1]; /* one byte more than a line has shows that it is cut */
    char line[LOG_LINE_MAX];
    int len = vsnprintf(text, sizeof text, format, args);
    if (len < 0) {
        return;
    }
    log_line(line, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
    const struct log_entry entry = {.level = (int)level, .text = line, .subject = *subject};
    if (log->take != NULL) {
        log->take(log->arg, &entry);
    } else if (subject->client == NULL && subject->request_id == NULL) {
        log->sink(log->arg, (int)level, line);
    } else {
        log_whole_line(text, &entry);
        log->sink(log->arg, (int)level, text);
    }
}

void log_write_args(const struct log *log, enum log_level level, const struct log_subject *subject, const char *format,
                    va_list args)
{
    if (log_is_on(log, level)) {
        pass_line(log, level, subject, format, args);
    }
}

void log_write_about(const struct log *log, enum log_level level, const struct log_subject *subject, const char *format,
                     ...)
{
    va_list args;
    va_start(args, format);
    log_write_args(log, level, subject, format, args);
    va_end(args);
}

void log_write(const struct log *log, enum log_level level, const char *format, ...)
{
    const struct log_subject subject = {.place = format};
    va_list args;
    va_start(args, format);
    log_write_args(log, level, &subject, format, args);
    va_end(args);
}

const char *log_level_name(int level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    return level < LOG_ERROR || level > LOG_DEBUG ? "unknown" : names[level - LOG_ERROR];
}

const char *errno_text(int error)
{
#ifdef HAS_STRERRORDESC
    const char *text = strerrordesc_np(error);
    return text == NULL ? "unknown error" : text;
#else
    return strerror(error); /* other C libraries translate nothing, or do not tell */
#endif
}

int error_text(char *err, size_t errlen, int result, const char *format, ...)
{
    if (errlen > 0) {
        va_list args;
        va_start(args, format);
        if (vsnprintf(err, errlen, format, args) < 0) {
            err[0] = '\0';
        }
        va_end(args);
    }
    return result;
}
