/* Formatting for log lines and error texts. */

#include "core/log.h"

#include "core/visible.h"

#include <stdarg.h>
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

void log_write(const struct log *log, enum log_level level, const char *format, ...)
{
    if (!log_is_on(log, level)) {
        return;
    }
    char text[LOG_LINE_MAX + 1]; /* one byte more than a line has shows that it is cut */
    char line[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0) {
        return;
    }
    log_line(line, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
    log->sink(log->arg, (int)level, line);
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
