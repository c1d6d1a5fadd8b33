#ifndef EVSERVE_CORE_PROGRAM_SUPERVISE_H
#define EVSERVE_CORE_PROGRAM_SUPERVISE_H

/* --supervise: a parent process that only starts the server again when it has crashed, and keeps its listening sockets
 * meanwhile, so that clients wait instead of being refused. Process 1 of a container has such a parent even without the
 * option: it starts nothing again, but processes that have lost their own parents become its children, and it reaps
 * them, which the server could not do beside the children of scripts. For programs: it forks, so it comes before any
 * thread. */

#include "core/program/upgraded.h"
#include "evserve.h"

#include <stdbool.h>
#include <stdint.h>

struct command_line;

enum {
    SUPERVISE_DELAY_MS = 100,       /* before the first start anew; twice as long before each further one, */
    SUPERVISE_DELAY_MAX_MS = 30000, /* up to this, */
    SUPERVISE_CALM_MS = 60000,      /* until the server has lived for so long */
};

/* Whether to call supervise(). */
bool supervise_is_wanted(const struct command_line *options);

/* Fork. Returns -1 in the child, which goes on to serve, with the kept sockets in upgraded. In the parent it returns
 * the exit status once the server has ended in order, has been told to stop, or could not start the first time (where a
 * crash counts, too, if another program serves and waits for this one to take its place). SIGTERM, SIGINT, SIGQUIT,
 * SIGHUP, SIGUSR1 and SIGUSR2 are passed on to it, the last three once it serves. If it ends by itself with a failure,
 * it is started again, too, and continues with the sockets that it has not shut down. Lines of the parent go where
 * options want the log, which are borrowed until it returns in the parent. */
int supervise(struct upgraded *upgraded, const struct command_line *options);

/* The wait before the next start, after one of delay_ms (0: there was none) and a server that served for served_ms. */
int64_t supervise_delay_ms(int64_t delay_ms, int64_t served_ms);

/* In the child, with --supervise or without: the server listens, or a reload may have changed where. Its sockets go to
 * the parent, in place of those before. */
void supervise_keep_sockets(evserve *server);

/* In the child, with --supervise or without: another program has taken over. However this one ends, it is not started
 * again. */
void supervise_say_replaced(void);

/* In the child: end by SIGTERM when the parent has gone. To be called again after the user has changed. */
void supervise_end_with_parent(void);

/* Whether this process, or the parent of --supervise, is process 1: a container ends with it. */
bool supervise_is_init(void);

#endif
