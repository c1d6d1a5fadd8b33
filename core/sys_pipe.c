/* Failure modes: no fds, or no memory for pipes left to this user; then nothing stays open. */

#include "core/sys_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

int sys_pipe_with(const void *data, size_t len)
{
    int ends[2];
    if (len > SYS_PIPE_BYTES_MAX) {
        return -EMSGSIZE;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    ssize_t written = write(ends[1], data, len);
    int fd = written == (ssize_t)len ? fcntl(ends[0], F_DUPFD_CLOEXEC, STDERR_FILENO + 1) : -1;
    int error = written >= 0 && written != (ssize_t)len ? EAGAIN : errno;
    close(ends[0]);
    close(ends[1]);
    return fd < 0 ? -error : fd;
}

int sys_socket_pair(int ends[2])
{
    int made[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, made) < 0) {
        return -errno;
    }
    ends[0] = fcntl(made[0], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    ends[1] = fcntl(made[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int error = errno;
    close(made[0]);
    close(made[1]);
    if (ends[0] >= 0 && ends[1] >= 0) {
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            close(ends[i]);
        }
    }
    return -error;
}
