#ifndef EVSERVE_CORE_PROGRAM_PROGRAM_LOG_H
#define EVSERVE_CORE_PROGRAM_PROGRAM_LOG_H

/* The log of the program: where it goes, and its lines about the program itself. */

#include "core/program/command_line.h"
#include "core/program/log_stream.h"

#include <stddef.h>
#include <sys/types.h>

/* Have the lines of stream, which is initialised, go where the options say, and look as they say: those of a server.
 * The lines of --check, --routes and --request go to standard error; --check only asks whether the file could be
 * opened. A file that is made belongs to --user. Returns 0, or -errno with a text in err. */
int program_log_open(struct log_stream *stream, const struct command_line *options, char *err, size_t errlen);

/* Log that the server has started, and warn if it serves as root. */
void program_log_start(struct log_stream *stream, const struct command_line *options);

/* Log that a signal came, from the process sender (0: from none that we see), and what it does. */
void program_log_signal(struct log_stream *stream, const char *name, pid_t sender, const char *effect);

/* SIGUSR1: open this log and the access log again, and log how that went. */
void program_log_reopen(struct log_stream *stream, evserve *server, pid_t sender);

#endif
