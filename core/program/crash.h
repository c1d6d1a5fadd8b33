#ifndef EVSERVE_CORE_PROGRAM_CRASH_H
#define EVSERVE_CORE_PROGRAM_CRASH_H

/* The last words of a program that crashes: a line with the signal, and a backtrace where the C library has one. For
 * programs: it takes over the signals of faults. */

/* Have them written to standard error. The process then ends by the signal as ever, with a core dump if the system
 * makes one. An overflow of a stack other than the main thread's ends it without a word. */
void crash_report_faults(void);

#endif
