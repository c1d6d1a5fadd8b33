#include "core/datagram.h"

#include "core/sys.h"

#include <errno.h>

int datagram_open(const struct sockaddr *address, socklen_t len)
{
    int fd = sys_datagram_socket(address->sa_family);
    if (fd < 0) {
        return fd;
    }
    int rv = 0;
    if (address->sa_family == AF_UNIX) {
        const struct sockaddr name = {.sa_family = AF_UNIX}; /* the kernel chooses the rest (unix(7), autobind) */
        rv = sys_bind(fd, &name, sizeof name.sa_family);
    }
    rv = rv < 0 ? rv : sys_connect(fd, address, len);
    if (rv < 0) {
        sys_close(fd);
        return rv;
    }
    return fd;
}
