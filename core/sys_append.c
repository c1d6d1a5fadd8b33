/* The system calls of the access log. */

#include "core/sys_append.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int sys_open_append(int dir_fd, const char *path, bool is_new, mode_t mode)
{
    int flags = O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (is_new ? O_CREAT | O_EXCL : 0);
    int fd = openat(dir_fd, path, flags, mode);
    if (fd >= 0 && fd <= STDERR_FILENO) { /* those three belong to the host, open or not */
        int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), error = errno;
        close(fd);
        errno = error;
        fd = higher;
    }
    return fd < 0 ? -errno : fd;
}

int sys_may_write(int dir_fd, const char *path)
{
    return faccessat(dir_fd, path, W_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int sys_may_make_files(int dir_fd, const char *path)
{
    return faccessat(dir_fd, path, W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int sys_give_file(int fd, uid_t user, gid_t group)
{
    return fchown(fd, user, group) < 0 ? -errno : 0;
}

/* Both signals come to the thread that writes, so they can be held back and taken here. One that was pending before is
 * not ours. */
static ssize_t append_guarded(int fd, const void *data, size_t len)
{
    static const struct timespec at_once;
    sigset_t signals, before, pending;
    sigemptyset(&signals);
    sigemptyset(&pending);
    sigaddset(&signals, SIGPIPE);
    sigaddset(&signals, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    sigpending(&pending);
    ssize_t put = write(fd, data, len);
    int error = put < 0 ? errno : 0;
    int raised = error == EPIPE ? SIGPIPE : error == EFBIG ? SIGXFSZ : 0;
    if (raised != 0 && sigismember(&pending, raised) == 0) {
        sigset_t taken;
        sigemptyset(&taken);
        sigaddset(&taken, raised);
        while (sigtimedwait(&taken, NULL, &at_once) < 0 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error != 0 ? -error : put;
}

ssize_t sys_append(int fd, const void *data, size_t len, bool is_guarded)
{
    if (is_guarded) {
        return append_guarded(fd, data, len);
    }
    ssize_t put = write(fd, data, len);
    return put < 0 ? -errno : put;
}

ssize_t sys_append_message(int fd, const void *data, size_t len)
{
    ssize_t put = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return put < 0 ? -errno : put;
}

int sys_append_has_room(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    int count = poll(&wanted, 1, 0);
    return count < 0 ? -errno : count;
}

bool sys_append_is_unlimited(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY;
}
