#ifndef EVSERVE_CORE_PROGRAM_LOG_TEXT_H
#define EVSERVE_CORE_PROGRAM_LOG_TEXT_H

/* How a line of the program's log looks. */

#include "core/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_format {
    LOG_FORMAT_TEXT,    /* 2026-11-30T09:17:56.123Z error route at ...; a traceback goes on in further lines */
    LOG_FORMAT_JSON,    /* {"time":"2026-11-30T09:17:56.123Z","level":"error","message":"...", ...} */
    LOG_FORMAT_JOURNAL, /* <3>route at ...: the priority for journald, which knows the time; always one line */
};

enum { LOG_TEXT_MAX = 3 * LOG_LINE_MAX }; /* bytes of a line in any format, with its newline and a NUL */

/* Write a line with its newline and a NUL. now_ms: the time since the epoch. Returns its length. A message that is too
 * long for its quotes and line ends to be escaped is cut. */
size_t log_text_write(char text[LOG_TEXT_MAX], enum log_format format, const struct log_entry *entry, int64_t now_ms);

/* The format called name ("text", "json", "journal"), the level called name. Return whether there is one. */
bool log_text_find_format(const char *name, enum log_format *format);
bool log_text_find_level(const char *name, int *level);

/* Whether fd is the stream to journald that systemd has named in JOURNAL_STREAM: "8:12345", its device and inode. */
bool log_text_is_journal(const char *journal_stream, int fd);

#endif
