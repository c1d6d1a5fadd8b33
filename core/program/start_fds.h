#ifndef EVSERVE_CORE_PROGRAM_START_FDS_H
#define EVSERVE_CORE_PROGRAM_START_FDS_H

/* What a program does about its fds before anything else. */

/* Open those of the standard streams that are closed, on /dev/null. Ends the process if that is not possible. */
void start_fds_open(void);

/* Each connection is an fd: allow as many as possible. */
void start_fds_raise_limit(void);

#endif
