#ifndef EVSERVE_CORE_PROGRAM_PROGRAM_CONFIG_H
#define EVSERVE_CORE_PROGRAM_PROGRAM_CONFIG_H

/* What the command line asks of the server. For programs. */

#include "core/program/command_line.h"
#include "evserve.h"

struct log_stream;

/* Fill in the config of the server that the options describe, all of it but callbacks and sockets. Its texts are those
 * of options, and certificates belongs to it: both must last as long as it is used. */
void program_config_fill(struct evserve_config *config, struct evs_certificate certificates[TLS_PAIRS_MAX + 1],
                         const struct command_line *options);

/* Warn of options that have no effect together: a script that can be read only once cannot be watched. */
void program_config_warn(const struct command_line *options, struct log_stream *log);

#endif
