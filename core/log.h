#ifndef EVSERVE_CORE_LOG_H
#define EVSERVE_CORE_LOG_H

/* Log lines go to a sink that the embedder sets; the library itself never prints. A line is formatted only when its
 * level is on, into a bounded buffer on the stack: logging cannot fail and does not allocate. */

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG }; /* as in evserve.h */

enum { LOG_LINE_MAX = 4096 }; /* bytes of a line with its NUL; a longer text is cut and ends in "..." */

/* Receives one line: UTF-8 text, NUL-terminated, without a newline at its end (a traceback has some inside), valid
 * during the call. Control characters and other invisible ones are escaped (core/visible.h). Called on the thread that
 * logs; must not call back into the handle it belongs to. */
typedef void (*log_sink_fn)(void *arg, int level, const char *line);

struct log {
    log_sink_fn sink;     /* NULL drops everything */
    void *arg;            /* handed to sink */
    enum log_level level; /* the most verbose level that is written */
};

static inline bool log_is_on(const struct log *log, enum log_level level)
{
    return log != NULL && log->sink != NULL && level <= log->level;
}

/* Format one line and pass it to the sink. log may be NULL. */
void log_write(const struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Turn a text of len bytes into a line: invisible characters are escaped, and a text that does not fit is cut. Newlines
 * are kept, since a client's text has none left at this point (VISIBLE_LINE). */
void log_line(char line[LOG_LINE_MAX], const char *text, size_t len);

/* "error", "warn", "info" or "debug". */
const char *log_level_name(int level);

/* The meaning of a system's error number, in English whatever the locale (strerror(3) translates it, and into the
 * host's character set). Static text; any thread. */
const char *errno_text(int error);

/* Format into an error buffer, which is always NUL-terminated; a text that does not fit is cut. err may be NULL if
 * errlen is 0. Returns result, so that a failing path reads: return error_text(err, errlen, -EINVAL, "...", ...). */
int error_text(char *err, size_t errlen, int result, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
