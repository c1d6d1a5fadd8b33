/* Formatting for log lines and error texts. */

#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Whether a byte of UTF-8 belongs to the character before it. */
static bool is_inside_character(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

void log_write(const struct log *log, enum log_level level, const char *format, ...)
{
    if (!log_is_on(log, level)) {
        return;
    }
    char line[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len < 0) {
        return;
    }
    if ((size_t)len >= sizeof line) {
        static const char cut[] = "...";
        size_t at = sizeof line - sizeof cut;
        for (int i = 0; i < 3 && is_inside_character(line[at]); i++) {
            at--;
        }
        memcpy(line + at, cut, sizeof cut);
    }
    log->sink(log->arg, (int)level, line);
}

const char *log_level_name(int level)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    return level < LOG_ERROR || level > LOG_DEBUG ? "unknown" : names[level - LOG_ERROR];
}

const char *errno_text(int error)
{
#if defined __GLIBC__ && __GLIBC_PREREQ(2, 32)
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
