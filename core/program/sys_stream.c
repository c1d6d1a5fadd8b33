/* Writing to inherited streams. Not in sys.c, since only the program does it. */

#include "core/program/sys_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t sys_write(int fd, const void *data, size_t len)
{
    ssize_t put = write(fd, data, len);
    return put < 0 ? -errno : put;
}

ssize_t sys_send_now(int fd, const void *data, size_t len)
{
    ssize_t put = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return put < 0 ? -errno : put;
}

int sys_replace_fd(int fd, int other)
{
    return dup3(other, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int sys_wait_writable(int fd, int timeout_ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLOUT};
    int count = poll(&wanted, 1, timeout_ms);
    return count < 0 ? -errno : count;
}
