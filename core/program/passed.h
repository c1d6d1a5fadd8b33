#ifndef EVSERVE_CORE_PROGRAM_PASSED_H
#define EVSERVE_CORE_PROGRAM_PASSED_H

/* Listening sockets that one program passes to the next, as systemd does (sd_listen_fds(3)): they have the numbers from
 * SYSTEMD_FIRST_FD on, LISTEN_FDS has their count, and LISTEN_FDNAMES a name for each, with colons between the names.
 * A name of ours says which address the socket was opened for, so that the next program finds it: "listen=" and the
 * address, with a percent sign and two hexadecimal digits in place of a colon. launch.h passes them on. */

#include "core/net_address.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    PASSED_NAME_MAX = sizeof "listen=" + 3 * NET_TEXT_MAX, /* bytes of a name of ours, with its NUL */
    PASSED_SYSTEMD_NAME_MAX = 255,                         /* of a name in the store of systemd, without it */
};

struct passed_socket {
    int fd;
    char address[NET_TEXT_MAX]; /* as text, that it was opened for; "" if its name is not one of ours */
};

/* Write the name of a socket that was opened for address. */
void passed_name(const char *address, char name[PASSED_NAME_MAX]);

/* Take note of the sockets that were passed: count of them, from SYSTEMD_FIRST_FD on, with LISTEN_FDNAMES or NULL.
 * sockets has room for count. */
void passed_read(struct passed_socket *sockets, int count, const char *names);

#endif
