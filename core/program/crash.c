/* Everything that the handler does is safe in a signal handler (signal-safety(7)), except backtrace(3), which only
 * allocates when it is called for the first time, so crash_report_faults() does that.
 *
 * Failure modes: if standard error is not read, or the backtrace does not come to an end, the process still ends, after
 * CRASH_PATIENCE_S: nobody would start a server again that hangs in its last words. Without an alternate stack the
 * handler has none when the stack has overflown. A fault in the handler ends the process at once. */

#include "core/program/crash.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum {
    CRASH_FRAMES = 64,      /* of a backtrace */
    CRASH_STACK = 64 << 10, /* bytes of the alternate stack */
    CRASH_LINE = 160,       /* bytes of a line */
    CRASH_PATIENCE_S = 2,   /* how long the last words may take */
    CRASH_HEX_DIGITS = 2 * sizeof(uintptr_t),
};

/* <execinfo.h>, which not every C library has: NULL then. */
extern int backtrace(void **frames, int size) __attribute__((weak));
extern void backtrace_symbols_fd(void *const *frames, int size, int fd) __attribute__((weak));

static const struct {
    int number;
    const char *text;
} crash_signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"}, {SIGILL, "SIGILL"}, {SIGFPE, "SIGFPE"}, {SIGABRT, "SIGABRT"},
};

static char *put_phrase(char *to, const char *text)
{
    size_t len = strlen(text);
    memcpy(to, text, len);
    return to + len;
}

static char *put_pointer(char *to, uintptr_t address)
{
    static const char digits[] = "0123456789abcdef";
    to = put_phrase(to, "0x");
    for (int shift = 4 * (CRASH_HEX_DIGITS - 1); shift >= 0; shift -= 4) {
        *to++ = digits[address >> shift & 15];
    }
    return to;
}

/* The signal that is being reported. */
static volatile sig_atomic_t crash_number;

/* End by that signal, which is blocked while its handler runs. */
static void on_overlong_words(int number)
{
    (void)number;
    sigset_t fault;
    sigemptyset(&fault);
    sigaddset(&fault, crash_number);
    pthread_sigmask(SIG_UNBLOCK, &fault, NULL);
    raise(crash_number);
}

/* Threads may block SIGALRM. */
static void limit_last_words(int number)
{
    const struct sigaction action = {.sa_handler = on_overlong_words};
    sigset_t alarms;
    crash_number = number;
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(CRASH_PATIENCE_S);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    char line[CRASH_LINE];
    void *frames[CRASH_FRAMES];
    limit_last_words(number);
    char *to = put_phrase(line, "evserve: crashed by ");
    for (size_t i = 0; i < sizeof crash_signals / sizeof crash_signals[0]; i++) {
        to = crash_signals[i].number == number ? put_phrase(to, crash_signals[i].text) : to;
    }
    if (info->si_code > 0) { /* not sent by a process */
        to = put_pointer(put_phrase(to, " at address "), (uintptr_t)info->si_addr);
    }
    to = put_phrase(to, backtrace != NULL ? "; backtrace:\n" : "\n");
    (void)!write(STDERR_FILENO, line, (size_t)(to - line));
    if (backtrace != NULL && backtrace_symbols_fd != NULL) {
        backtrace_symbols_fd(frames, backtrace(frames, CRASH_FRAMES), STDERR_FILENO);
    }
    raise(number); /* SA_RESETHAND has brought the default action back */
}

void crash_report_faults(void)
{
    static char stack[CRASH_STACK];
    void *frame;
    if (backtrace != NULL) {
        (void)backtrace(&frame, 1); /* loads a library */
    }
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    const struct sigaction action = {.sa_sigaction = on_fault,
                                     .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)};
    for (size_t i = 0; i < sizeof crash_signals / sizeof crash_signals[0]; i++) {
        sigaction(crash_signals[i].number, &action, NULL);
    }
}
