/* Happy path: upgrade_begin() starts the new program, with a pipe on which it sends "ready"; upgrade_look() reads that.
 *
 * Failure modes: the new program sends its error text instead, or ends without a word, or is late and is killed. Its
 * end of the pipe closes when it ends, but its exit status may come a little later: upgrade_look() waits for that,
 * too. If the status does not come, the process has closed the pipe and lives: it will never say that it serves. */

#include "core/program/upgrade.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/program/launch.h"
#include "core/program/systemd.h"
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t upgrade_now_ms(void)
{
    return sys_now_ns() / 1000000;
}

void upgrade_init(struct upgrade *upgrade, char *const *argv)
{
    *upgrade = (struct upgrade){.argv = argv, .fd = -1};
    upgrade->path = launch_path(argv[0], upgrade->path_text, sizeof upgrade->path_text);
}

/* Start it with these sockets. */
static int launch_with(struct upgrade *upgrade, const struct evs_inherited *listeners, unsigned count)
{
    int ends[2];
    struct passed_socket *sockets = mem_zalloc((count + 1) * sizeof *sockets);
    if (sockets == NULL || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        int error = sockets == NULL ? -ENOMEM : -errno;
        mem_free(sockets);
        return error;
    }
    for (unsigned i = 0; i < count; i++) {
        sockets[i].fd = listeners[i].fd;
        memcpy(sockets[i].address, listeners[i].address, sizeof sockets[i].address);
    }
    const struct launch launch = {upgrade->path, upgrade->argv, sockets, count, ends[1]};
    pid_t child = launch_start(&launch);
    close(ends[1]);
    mem_free(sockets);
    if (child < 0) {
        close(ends[0]);
        return child;
    }
    upgrade->child = child;
    upgrade->fd = ends[0];
    upgrade->said_len = 0;
    upgrade->until_ms = upgrade_now_ms() + UPGRADE_DEADLINE_MS;
    return 0;
}

int upgrade_begin(struct upgrade *upgrade, evserve *server, char *err, size_t errlen)
{
    if (upgrade_is_under_way(upgrade)) {
        return error_text(err, errlen, -EALREADY, "process %d is starting already", (int)upgrade->child);
    }
    if (upgrade->path == NULL) {
        return error_text(err, errlen, -ENOENT, "the path of the program is not known");
    }
    int count = evserve_listeners(server, NULL, 0);
    struct evs_inherited *listeners = count < 0 ? NULL : mem_zalloc(((size_t)count + 1) * sizeof *listeners);
    int rv = count < 0 ? count : listeners == NULL ? -ENOMEM : 0;
    rv = rv < 0 ? rv : evserve_listeners(server, listeners, (unsigned)count);
    count = rv < 0 ? 0 : rv < count ? rv : count;
    if (rv >= 0 && count < SYSTEMD_FDS_MAX && evserve_ticket_keys(server, &listeners[count]) == 0) {
        count++;
    }
    rv = rv < 0 ? rv : launch_with(upgrade, listeners, (unsigned)count);
    for (int i = 0; i < count; i++) {
        close(listeners[i].fd);
    }
    mem_free(listeners);
    return rv == 0 ? 0 : error_text(err, errlen, rv, "cannot run %s: %s", upgrade->path, errno_text(-rv));
}

static void forget_child(struct upgrade *upgrade)
{
    if (upgrade->fd >= 0) {
        close(upgrade->fd);
    }
    upgrade->fd = -1;
    upgrade->child = 0;
}

void upgrade_cancel(struct upgrade *upgrade)
{
    if (upgrade_is_under_way(upgrade)) {
        kill(upgrade->child, SIGKILL);
        while (waitpid(upgrade->child, NULL, 0) < 0 && errno == EINTR) {
        }
        forget_child(upgrade);
    }
}

/* Read what it has said so far. Returns whether it can say more. */
static bool hear(struct upgrade *upgrade)
{
    while (upgrade->said_len < sizeof upgrade->said) {
        ssize_t len = read(upgrade->fd, upgrade->said + upgrade->said_len, sizeof upgrade->said - upgrade->said_len);
        if (len <= 0) {
            return len < 0 && (errno == EAGAIN || errno == EINTR);
        }
        upgrade->said_len += (size_t)len;
    }
    return false;
}

/* Put its end into words. */
static int blame_child(const struct upgrade *upgrade, int status, char *err, size_t errlen)
{
    int pid = (int)upgrade->child, len = (int)upgrade->said_len;
    if (len > 0) {
        return error_text(err, errlen, -ECHILD, "process %d could not start: %.*s", pid, len, upgrade->said);
    }
    if (WIFSIGNALED(status)) {
        return error_text(err, errlen, -ECHILD, "process %d was ended by signal %d before it served", pid,
                          WTERMSIG(status));
    }
    return error_text(err, errlen, -ECHILD, "process %d ended with status %d before it served", pid,
                      WEXITSTATUS(status));
}

/* The deadline is over. */
static int end_late_child(struct upgrade *upgrade, char *err, size_t errlen)
{
    int pid = (int)upgrade->child, len = (int)upgrade->said_len;
    bool is_silent = upgrade->fd < 0; /* it cannot say any more that it serves */
    upgrade_cancel(upgrade);
    if (is_silent) {
        return error_text(err, errlen, -ECHILD, "process %d %s%.*s, and did not end, so it was ended", pid,
                          len > 0 ? "could not start: " : "has closed the pipe on which to say that it serves", len,
                          upgrade->said);
    }
    return error_text(err, errlen, -ETIMEDOUT, "process %d did not serve within %d s, so it was ended", pid,
                      UPGRADE_DEADLINE_MS / 1000);
}

pid_t upgrade_look(struct upgrade *upgrade, char *err, size_t errlen)
{
    int status;
    if (upgrade->fd >= 0 && !hear(upgrade)) {
        close(upgrade->fd);
        upgrade->fd = -1;
        int64_t end_ms = upgrade_now_ms() + UPGRADE_END_MS;
        upgrade->until_ms = end_ms < upgrade->until_ms ? end_ms : upgrade->until_ms;
    }
    if (upgrade->said_len == strlen(UPGRADE_READY) && memcmp(upgrade->said, UPGRADE_READY, upgrade->said_len) == 0) {
        pid_t child = upgrade->child;
        forget_child(upgrade);
        return child;
    }
    if (waitpid(upgrade->child, &status, WNOHANG) == upgrade->child) {
        if (upgrade->fd >= 0) {
            (void)hear(upgrade); /* its last words */
        }
        int rv = blame_child(upgrade, status, err, errlen);
        forget_child(upgrade);
        return rv;
    }
    return upgrade_now_ms() < upgrade->until_ms ? 0 : end_late_child(upgrade, err, errlen);
}
