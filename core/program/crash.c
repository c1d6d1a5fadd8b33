/* Everything that the handler does is safe in a signal handler (signal-safety(7)), except backtrace(3), which only
 * allocates when it is called for the first time, so crash_report_faults() does that.
 *
 * Failure modes: without an alternate stack the handler has none when the stack has overflown. A fault in the handler
 * ends the process at once. */

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

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    char line[CRASH_LINE];
    void *frames[CRASH_FRAMES];
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
