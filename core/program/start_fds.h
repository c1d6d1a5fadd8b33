#ifndef EVSERVE_CORE_PROGRAM_START_FDS_H
#define EVSERVE_CORE_PROGRAM_START_FDS_H

/* What a program does about its fds before anything else. */

/* Open those of the standard streams that are closed, on /dev/null. Ends the process if that is not possible. Notes
 * which fds the process was started with. */
void start_fds_open(void);

/* In a child that is about to run another program: have all fds from first on closed then, except for low numbers that
 * were open when this process started, since somebody may have meant them for the program. Scripts open files without
 * O_CLOEXEC, and each upgrade would pass on one more of them. Safe after fork(2). */
void start_fds_close_others(int first);

/* Each connection is an fd: allow as many as possible. */
void start_fds_raise_limit(void);

#endif
