#ifndef EVSERVE_CORE_PROGRAM_START_SIGNALS_H
#define EVSERVE_CORE_PROGRAM_START_SIGNALS_H

/* What a program does about signals before anything else. Main thread. */

#include <stddef.h>

/* Take back what whoever started the process has left to it. While SIGCHLD is ignored, the kernel reaps children
 * itself, and nobody learns how they ended: a supervisor would never start another. Signals that are blocked would
 * never come. Writing to a pipe without a reader, or to a file that may not grow, is an error of write(2) from now
 * on, which the writer handles: EPIPE, EFBIG. */
void start_signals(void);

/* Have these do nothing from now on. Programs that a script runs would inherit SIG_IGN, but they do not inherit a
 * handler: they start with the default action, so "yes | head" ends. */
void start_signals_disregard(const int *numbers, size_t count);

#endif
