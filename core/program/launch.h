#ifndef EVSERVE_CORE_PROGRAM_LAUNCH_H
#define EVSERVE_CORE_PROGRAM_LAUNCH_H

/* Starting a program that takes over the listening sockets of this one. It gets them as systemd would pass them
 * (passed.h), and the end of a pipe to say on that it serves, or why it cannot (LAUNCH_READY_VARIABLE). For programs:
 * it forks, so the main thread calls it, and no sandbox may be in force. */

#include "core/program/passed.h"

#include <stddef.h>
#include <sys/types.h>

#define LAUNCH_READY_VARIABLE "EVSERVE_READY_FD" /* the number of that end of the pipe */

/* What to start. All of it is borrowed, for the call. */
struct launch {
    const char *path;                    /* of the program */
    char *const *argv;                   /* ended by NULL */
    const struct passed_socket *sockets; /* count of them, at most SYSTEMD_FDS_MAX; they stay ours */
    unsigned count;                      /* of sockets */
    int ready_fd;                        /* the end of the pipe; it stays ours */
};

/* The file to run for a program that was called argv0, so that a version that replaces it by now is found. Remember it
 * at the start: the kernel names the file of the running program, whatever has become of it by then. Returns path, or
 * NULL if the name is too long or there is none. */
const char *launch_path(const char *argv0, char *path, size_t size);

/* Start it, with the environment of this process, default actions for all signals, none of them blocked, and all fds
 * closed on exec that are not passed on and that we have marked so. Returns its process id, or -errno if it cannot be
 * run, -E2BIG for too many sockets. */
pid_t launch_start(const struct launch *launch);

#endif
