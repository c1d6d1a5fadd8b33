#ifndef EVSERVE_CORE_NET_SOCKET_H
#define EVSERVE_CORE_NET_SOCKET_H

/* The listening socket for an address: opened, or taken over from the host or from another program. For net.c, which
 * owns what it gets. */

#include <stdbool.h>

struct net_address;
struct net_unix_file;

enum { NET_BACKLOG = 4096 }; /* asked of listen(2); the kernel takes at most net.core.somaxconn */

/* A bound and listening socket for address: a duplicate of its inherited_fd or handed_fd if it has one, else a new one.
 * shares_port: net_socket_open_beside() will follow; a port may be shared only once it is bound. file gets what is to
 * be removed of a unix socket. Returns an fd, or -errno. */
int net_socket_open(const struct net_address *address, bool shares_port, struct net_unix_file *file);

/* One more socket on the port of one that was opened with shares_port. Returns as net_socket_open() does. */
int net_socket_open_beside(int fd_of_first);

/* A non-blocking duplicate of a listening socket, so that closing it leaves the other fd alone. Returns as
 * net_socket_open() does; -EINVAL if it does not listen. */
int net_socket_adopt(int inherited_fd);

/* Why address could not be opened, in words for the user: error is what net_socket_open() has returned. */
const char *net_socket_error(int error, const struct net_address *address);

#endif
