/* A thread inherits the signal mask of its creator. So the creator sets the new mask for that moment, and no signal can
 * reach the new thread before it has it. */

#include "core/thread.h"

#include "core/sys.h"
#include "core/units.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

/* How long a thread stays away from a lock, in pauses of about 10 to 50 ns. */
enum { AWAY_FIRST = 256, AWAY_LAST = 1024 };

int thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t mask;
    sigset_t before;
    sigfillset(&mask);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        sigdelset(&mask, faults[i]); /* the host may have a handler that reports them */
    }
    pthread_sigmask(SIG_SETMASK, &mask, &before);
    int error = pthread_create(thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

void thread_init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct timespec thread_until(int64_t end_ns)
{
    int64_t real_ns = end_ns - sys_shift_ns();
    return (struct timespec){.tv_sec = (time_t)(real_ns / NS_PER_S), .tv_nsec = (long)(real_ns % NS_PER_S)};
}

void thread_init_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP /* a C library without it sleeps at once */
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
    pthread_mutex_init(lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

/* Let the processor wait for a moment. */
static inline void pause_processor(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    atomic_signal_fence(memory_order_seq_cst); /* so that the loop remains one */
#endif
}

void thread_lock(pthread_mutex_t *lock)
{
    for (unsigned pauses = AWAY_FIRST; pauses <= AWAY_LAST; pauses *= 2) {
        if (pthread_mutex_trylock(lock) == 0) {
            return;
        }
        for (unsigned i = 0; i < pauses; i++) {
            pause_processor();
        }
    }
    pthread_mutex_lock(lock);
}
