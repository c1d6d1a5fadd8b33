/* No failure modes: all of these numbers are signals. */

#include "core/program/start_signals.h"

#include <signal.h>

static void do_nothing(int number)
{
    (void)number;
}

void start_signals_disregard(const int *numbers, size_t count)
{
    const struct sigaction action = {.sa_handler = do_nothing, .sa_flags = (int)SA_RESTART};
    for (size_t i = 0; i < count; i++) {
        sigaction(numbers[i], &action, NULL);
    }
}

void start_signals(void)
{
    static const int of_writing[] = {SIGPIPE, SIGXFSZ};
    const struct sigaction default_action = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    start_signals_disregard(of_writing, sizeof of_writing / sizeof of_writing[0]);
    sigaction(SIGCHLD, &default_action, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}
