#ifndef EVSERVE_CORE_NET_UNIX_H
#define EVSERVE_CORE_NET_UNIX_H

/* The file of a unix socket: one that a dead server left is replaced, one of another server is left alone. For
 * net.c. */

#include "core/net_address.h"

#include <stdbool.h>

enum {
    NET_UNIX_LOCK_TRIES = 100, /* how often the lock on the folder is tried, */
    NET_UNIX_LOCK_MS = 10,     /* and how long to wait in between */
};

static inline const char *net_unix_path(const struct net_address *address)
{
    return ((const struct sockaddr_un *)&address->socket)->sun_path;
}

/* Whether an address is the name of an abstract socket, which has no file (unix(7)): "unix:@name". */
static inline bool net_unix_is_abstract(const struct net_address *address)
{
    return net_unix_path(address)[0] == '\0';
}

bool net_unix_is_socket(const char *path);

/* Keep other servers of this kind out of the folder of the path, so that none of them takes a socket that is bound but
 * does not listen yet for a dead one. Returns an fd to close once the socket listens, or -errno: go on without the
 * lock. */
int net_unix_lock(const struct net_address *address);

/* Remove a socket file that no process listens on. A live one, and a file that is no socket, are left for bind(2) to
 * complain about. Call it with the lock. */
void net_unix_remove_stale(const struct net_address *address);

/* The socket fd was bound to the path of address: note which file that made, and give it the address's mode. Nobody can
 * connect to it before listen(2). Returns 0, or -errno with file as it was; -ESTALE if somebody has replaced the
 * file. */
int net_unix_note(struct net_unix_file *file, int fd, const struct net_address *address);

/* Remove the file if the path still leads to it. Call it before the socket is closed: as long as that is open, no other
 * file gets the same inode number, and no server that locks takes the path for free. */
void net_unix_remove(struct net_unix_file *file);

/* Forget the file, and leave it where it is. */
void net_unix_abandon(struct net_unix_file *file);

#endif
