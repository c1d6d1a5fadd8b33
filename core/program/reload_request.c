/* Happy path: SIGHUP to the process in the file, which then says that a reload is over: pid_file_tell_reload(). It
 * says so once no SIGHUP is left to act on, so the result is that of a reload that began after this one.
 *
 * Failure modes: there is no such process, or it may not be signalled; it ends meanwhile. It has its own deadline, so
 * this waits as long as it lives. */

#include "core/program/reload_request.h"

#include "core/log.h"
#include "core/program/pid_file.h"
#include "core/sys.h"
#include "evserve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { RELOAD_LOOK_MS = 20 };

int reload_request(const char *pid_path)
{
    char err[EVSERVE_ERROR_MAX];
    struct pid_file_news before, now;
    if (pid_file_read(pid_path, &before, err, sizeof err) < 0) {
        fprintf(stderr, "evserve: %s\n", err);
        return EXIT_FAILURE;
    }
    int pid = (int)before.pid;
    if (pid == 0) {
        fprintf(stderr, "evserve: %s has no process id yet: the server is starting\n", pid_path);
        return EXIT_FAILURE;
    }
    if (kill(before.pid, SIGHUP) < 0) {
        fprintf(stderr, "evserve: cannot signal process %d of %s: %s\n", pid, pid_path, errno_text(errno));
        return EXIT_FAILURE;
    }
    int rv;
    do {
        sys_sleep_ms(RELOAD_LOOK_MS);
        rv = pid_file_read(pid_path, &now, err, sizeof err);
    } while (rv == 0 && (now.pid == 0 || (now.pid == before.pid && now.reloads == before.reloads)));
    if (rv < 0 || now.pid != before.pid) {
        fprintf(stderr, "evserve: process %d has ended, or been upgraded, before it had reloaded\n", pid);
        return EXIT_FAILURE;
    }
    if (now.has_failed) {
        fprintf(stderr, "evserve: not reloaded: process %d goes on with what it had; its log says why\n", pid);
        return EXIT_FAILURE;
    }
    printf("evserve: process %d has reloaded\n", pid);
    return EXIT_SUCCESS;
}
