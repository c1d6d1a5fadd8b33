/* Happy path: SIGHUP to the process in the file, which it writes again when the reload is over: pid_file_tell_reload().
 *
 * Failure modes: there is no such process, or it may not be signalled; it ends meanwhile. It has its own deadline, so this
 * waits as long as it lives. */

#include "core/program/reload_request.h"

#include "core/log.h"
#include "core/program/pid_file.h"
#include "core/sys.h"
#include "evserve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RELOAD_LOOK_MS = 20 };

int reload_request(const char *pid_path)
{
    char err[EVSERVE_ERROR_MAX];
    struct timespec before, written;
    pid_t pid = pid_file_read(pid_path, &before, err, sizeof err);
    if (pid < 0) {
        fprintf(stderr, "evserve: %s\n", err);
        return EXIT_FAILURE;
    }
    if (pid == 0) {
        fprintf(stderr, "evserve: %s has no process id yet: the server is starting\n", pid_path);
        return EXIT_FAILURE;
    }
    if (kill(pid, SIGHUP) < 0) {
        fprintf(stderr, "evserve: cannot signal process %d of %s: %s\n", (int)pid, pid_path, errno_text(errno));
        return EXIT_FAILURE;
    }
    pid_t now = pid;
    do {
        sys_sleep_ms(RELOAD_LOOK_MS);
        now = pid_file_read(pid_path, &written, err, sizeof err);
    } while (now == 0 || (now == pid && written.tv_sec == before.tv_sec && written.tv_nsec == before.tv_nsec));
    if (now != pid) {
        fprintf(stderr, "evserve: process %d has ended, or been upgraded, before it had reloaded\n", (int)pid);
        return EXIT_FAILURE;
    }
    if (pid_file_has_failed(pid_path)) {
        fprintf(stderr, "evserve: not reloaded: process %d goes on with what it had; its log says why\n", (int)pid);
        return EXIT_FAILURE;
    }
    printf("evserve: process %d has reloaded\n", (int)pid);
    return EXIT_SUCCESS;
}
