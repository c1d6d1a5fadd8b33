/* A thread inherits the signal mask of its creator. So the creator sets the new mask for that moment, and no signal can
 * reach the new thread before it has it. */

#include "core/thread.h"

#include <signal.h>
#include <stddef.h>

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
