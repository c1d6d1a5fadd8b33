/* Happy path: SIGUSR2 to the process in the file, which soon has another number.
 *
 * Failure modes: there is no such process, or it may not be signalled; it writes its own number again, since the new
 * program has not started; nothing happens until the deadline of upgrade.h and some more. */

#include "core/program/upgrade_request.h"

#include "core/log.h"
#include "core/program/pid_file.h"
#include "core/program/upgrade.h"
#include "core/sys.h"
#include "evserve.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { UPGRADE_PATIENCE_MS = UPGRADE_DEADLINE_MS + 5000 };

static bool is_same_time(const struct timespec *one, const struct timespec *other)
{
    return one->tv_sec == other->tv_sec && one->tv_nsec == other->tv_nsec;
}

/* Wait for what becomes of it. Returns the exit status. */
static int await_successor(const char *pid_path, pid_t old, const struct timespec *before)
{
    char err[EVSERVE_ERROR_MAX];
    struct timespec written;
    for (int ms = 0; ms < UPGRADE_PATIENCE_MS; ms += UPGRADE_LOOK_MS) {
        sys_sleep_ms(UPGRADE_LOOK_MS);
        pid_t pid = pid_file_read(pid_path, &written, err, sizeof err);
        if (pid < 0) {
            fprintf(stderr, "evserve: process %d has ended, and no other has taken over: its log says why\n", (int)old);
            return EXIT_FAILURE;
        }
        if (pid > 0 && pid != old) {
            printf("evserve: process %d has taken over from process %d\n", (int)pid, (int)old);
            return EXIT_SUCCESS;
        }
        if (pid == old && !is_same_time(&written, before)) {
            fprintf(stderr, "evserve: not upgraded: process %d goes on serving; its log says why\n", (int)old);
            return EXIT_FAILURE;
        }
    }
    fprintf(stderr, "evserve: process %d has not responded: is it an evserve that knows SIGUSR2?\n", (int)old);
    return EXIT_FAILURE;
}

int upgrade_request(const char *pid_path)
{
    char err[EVSERVE_ERROR_MAX];
    struct timespec written;
    pid_t pid = pid_file_read(pid_path, &written, err, sizeof err);
    if (pid < 0) {
        fprintf(stderr, "evserve: %s\n", err);
        return EXIT_FAILURE;
    }
    if (pid == 0) {
        fprintf(stderr, "evserve: %s has no process id yet: the server is starting, or being upgraded\n", pid_path);
        return EXIT_FAILURE;
    }
    if (kill(pid, SIGUSR2) < 0) {
        fprintf(stderr, "evserve: cannot signal process %d of %s: %s\n", (int)pid, pid_path, errno_text(errno));
        return EXIT_FAILURE;
    }
    return await_successor(pid_path, pid, &written);
}
