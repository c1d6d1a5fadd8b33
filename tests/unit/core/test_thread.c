/* core/thread.c: a thread of ours gets no signal of the host's. */

#include "core/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void *read_mask(void *arg)
{
    pthread_sigmask(SIG_SETMASK, NULL, arg);
    return arg;
}

static void thread_blocks_all_signals_but_those_of_faults(void **state)
{
    (void)state;
    sigset_t mask;
    pthread_t thread;
    void *result;
    sigemptyset(&mask);
    assert_int_equal(thread_start(&thread, read_mask, &mask), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &mask);
    const int blocked[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGCHLD, SIGALRM, SIGPIPE, SIGPROF};
    for (size_t i = 0; i < sizeof blocked / sizeof blocked[0]; i++) {
        assert_int_equal(sigismember(&mask, blocked[i]), 1);
    }
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        assert_int_equal(sigismember(&mask, faults[i]), 0);
    }
}

static void mask_of_the_caller_stays_as_it_was(void **state)
{
    (void)state;
    sigset_t mine, thread_mask, after;
    pthread_t thread;
    sigemptyset(&mine);
    sigaddset(&mine, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mine, NULL);
    assert_int_equal(thread_start(&thread, read_mask, &thread_mask), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGUSR2), 1);
    assert_int_equal(sigismember(&after, SIGTERM), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread_blocks_all_signals_but_those_of_faults),
        cmocka_unit_test(mask_of_the_caller_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
