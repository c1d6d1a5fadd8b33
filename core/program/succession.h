#ifndef EVSERVE_CORE_PROGRAM_SUCCESSION_H
#define EVSERVE_CORE_PROGRAM_SUCCESSION_H

/* What the program does about an upgrade of itself (upgrade.h): when it starts one, what the log, systemd and the PID
 * file say about it, and how it gives way. For programs; the main thread calls all of it. */

#include "core/program/pid_file.h"
#include "core/program/upgrade.h"

#include <stdbool.h>

struct command_line;
struct log_stream;
struct systemd_notifier;

struct succession {
    const struct command_line *options; /* borrowed, as the next two */
    struct log_stream *log;
    struct systemd_notifier *notifier;
    struct pid_file pid_file;
    struct upgrade upgrade;
    bool is_replaced; /* another program serves, and this one stops */
};

/* SIGUSR2 has come. is_stopping: a stop has begun. */
void succession_begin(struct succession *succession, evserve *server, bool is_stopping);

/* Time to look, while upgrade_is_under_way(). */
void succession_look(struct succession *succession, evserve *server);

#endif
