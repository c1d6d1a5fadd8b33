#ifndef EVSERVE_CORE_THREAD_H
#define EVSERVE_CORE_THREAD_H

/* Threads of a library in somebody else's process. */

#include <pthread.h>

/* Start a thread that runs fn(arg) with all signals blocked but those of faults: signals belong to the host's threads,
 * and a fault is told to the thread that makes it. To be joined with pthread_join(3). Returns 0 or -errno. Any thread;
 * the caller's own mask is as before afterwards. */
int thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg);

#endif
