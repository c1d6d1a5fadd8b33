#ifndef EVSERVE_CORE_LOG_H
#define EVSERVE_CORE_LOG_H

/* Log lines go to a sink that the embedder sets; the library itself never prints. A line is formatted only when its
 * level is on, into a bounded buffer on the stack: logging cannot fail and does not allocate. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR = 1, LOG_WARN, LOG_INFO, LOG_DEBUG }; /* as in evserve.h */

enum {
    LOG_SUBJECT_MAX = 512, /* bytes of " [client ..., id ...]" */
    LOG_FIELDS_MAX = 16,   /* of one line */
    LOG_LINE_MAX = 4096,   /* bytes of a line with its NUL; a longer text is cut and ends in "..." */
};

/* Receives one line: UTF-8 text, NUL-terminated, without a newline at its end (a traceback has some inside), valid
 * during the call. Control characters and other invisible ones are escaped (core/visible.h). Called on the thread that
 * logs; must not call back into the handle it belongs to. */
typedef void (*log_sink_fn)(void *arg, int level, const char *line);

/* Something that a line says, by name, for sinks that show it apart; its text has it, too. */
struct log_field {
    const char *name; /* "status" */
    const char *text; /* "200" */
    bool is_number;   /* text is a number of JSON */
};

/* What a line is about. Texts are valid during the call. */
struct log_subject {
    const char *client;             /* address of the client, or NULL */
    const char *request_id;         /* id of the request, or NULL */
    const void *place;              /* equal for lines of the same origin; NULL: the line is never one too many */
    const struct log_field *fields; /* field_count of them */
    unsigned field_count;           /* at most LOG_FIELDS_MAX */
};

/* A line in its parts, for sinks that show them apart. Valid during the call. */
struct log_entry {
    int level;
    const char *text; /* as a sink's line, but without the client and the id */
    struct log_subject subject;
};

typedef void (*log_entry_fn)(void *arg, const struct log_entry *entry);

struct log {
    log_sink_fn sink;     /* gets whole lines: what a line is about is at the end of its first line */
    log_entry_fn take;    /* in place of sink: gets lines in parts. Both NULL: everything is dropped */
    void *arg;            /* handed to sink or take */
    enum log_level level; /* the most verbose level that is written */
};

static inline bool log_is_on(const struct log *log, enum log_level level)
{
    return log != NULL && (log->sink != NULL || log->take != NULL) && level <= log->level;
}

/* Format one line and pass it to the sink. log may be NULL. Its place is the format: log_write_about() has others. */
void log_write(const struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a line about a client or a request. */
void log_write_about(const struct log *log, enum log_level level, const struct log_subject *subject, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
void log_write_args(const struct log *log, enum log_level level, const struct log_subject *subject, const char *format,
                    va_list args) __attribute__((format(printf, 4, 0)));

/* Put an entry together: its text, with " [client ..., id ...]" at the end of the first line. A text that does not
 * leave room for that is cut. */
void log_whole_line(char line[LOG_LINE_MAX], const struct log_entry *entry);

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
