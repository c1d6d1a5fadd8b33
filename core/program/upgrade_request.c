/* Happy path: SIGUSR2 to the process in the file, which soon has another number.
 *
 * Failure modes: there is no such process, or it may not be signalled; it says in the file that the new program has not
 * started; nothing happens until the deadline of upgrade.h and some more. */

#include "core/program/upgrade_request.h"

#include "core/log.h"
#include "core/program/pid_file.h"
#include "core/program/upgrade.h"
#include "core/sys.h"
#include "evserve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { UPGRADE_PATIENCE_MS = UPGRADE_DEADLINE_MS + 5000 };

/* Wait for what becomes of it. Returns the exit status. */
static int await_successor(const char *pid_path, const struct pid_file_news *before)
{
    char err[EVSERVE_ERROR_MAX];
    struct pid_file_news now;
    pid_t old = before->pid;
    for (int ms = 0; ms < UPGRADE_PATIENCE_MS; ms += UPGRADE_LOOK_MS) {
        sys_sleep_ms(UPGRADE_LOOK_MS);
        if (pid_file_read(pid_path, &now, err, sizeof err) < 0) {
            fprintf(stderr, "evserve: process %d has ended, and no other has taken over: its log says why\n", (int)old);
            return EXIT_FAILURE;
        }
        if (now.pid > 0 && now.pid != old) {
            printf("evserve: process %d has taken over from process %d\n", (int)now.pid, (int)old);
            return EXIT_SUCCESS;
        }
        if (now.pid == old && now.refusals != before->refusals) {
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
    struct pid_file_news before;
    if (pid_file_read(pid_path, &before, err, sizeof err) < 0) {
        fprintf(stderr, "evserve: %s\n", err);
        return EXIT_FAILURE;
    }
    if (before.pid == 0) {
        fprintf(stderr, "evserve: %s has no process id yet: the server is starting, or being upgraded\n", pid_path);
        return EXIT_FAILURE;
    }
    if (kill(before.pid, SIGUSR2) < 0) {
        fprintf(stderr, "evserve: cannot signal process %d of %s: %s\n", (int)before.pid, pid_path, errno_text(errno));
        return EXIT_FAILURE;
    }
    return await_successor(pid_path, &before);
}
