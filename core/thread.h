#ifndef EVSERVE_CORE_THREAD_H
#define EVSERVE_CORE_THREAD_H

/* Threads of a library in somebody else's process. */

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Start a thread that runs fn(arg) with all signals blocked except those of faults: signals belong to the host's
 * threads, and the kernel sends a fault's signal to the thread that caused it. To be joined with pthread_join(3).
 * Returns 0 or -errno. Any thread; the caller's own mask does not change. */
int thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg);

/* Make a condition whose timed waits are on CLOCK_MONOTONIC, so that nobody who sets the date ends or prolongs them. */
void thread_init_cond(pthread_cond_t *cond);

/* An instant of sys_now_ns() for pthread_cond_timedwait(3) on such a condition. */
struct timespec thread_until(int64_t end_ns);

/* Make a lock for what takes less than a microsecond: a thread that finds it taken tries again for a moment before it
 * sleeps, since sleeping and waking up take much longer. */
void thread_init_lock(pthread_mutex_t *lock);

/* Take such a lock where threads take it again and again, each for a few nanoseconds: the thread that finds it taken
 * stays away for longer and longer, so that what the lock protects need not move between processors at each turn. It
 * sleeps at the latest after a tenth of a millisecond. */
void thread_lock(pthread_mutex_t *lock);

#endif
