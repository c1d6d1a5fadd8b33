#ifndef EVSERVE_CORE_PROGRAM_SERVE_REQUEST_H
#define EVSERVE_CORE_PROGRAM_SERVE_REQUEST_H

/* `evserve --request`: one request through the whole server, without listening. */

#include "evserve.h"

#include <stdbool.h>
#include <stdint.h>

struct command_line;
struct log_stream;

/* Read the content of --body: its text, that of a file for "@FILE", or standard input for "@-". Returns whether it
 * could be read, else errno says why. */
bool serve_request_read_body(struct command_line *options);

/* Serve the one request of the options with a server that has no threads of its own, print the response, and stop the
 * server, which then has drain_ms for what scripts still do. Returns the exit status. */
int serve_request(evserve *server, const struct command_line *options, uint32_t drain_ms, struct log_stream *log);

#endif
