#ifndef EVSERVE_CORE_PROGRAM_KEPT_SOCKETS_H
#define EVSERVE_CORE_PROGRAM_KEPT_SOCKETS_H

/* The listening sockets that the parent of --supervise keeps for the next server. One thread. */

#include "evserve.h"

struct upgraded;

enum { KEPT_SOCKETS_MAX = 512 }; /* a server opens more of them anew */

struct kept_sockets {
    struct evs_inherited sockets[KEPT_SOCKETS_MAX]; /* count of them, whose fds are owned */
    unsigned count;
};

/* Add one that was opened for an address. fd is taken over: past KEPT_SOCKETS_MAX it is closed. */
void kept_sockets_add(struct kept_sockets *kept, int fd, const char address[EVSERVE_ADDRESS_MAX]);

/* Close all of them; and those that were shut down, in which clients would wait in vain. */
void kept_sockets_drop(struct kept_sockets *kept);
void kept_sockets_drop_shut(struct kept_sockets *kept);

/* In the child: let the server have them. Without memory for the list it opens its sockets anew. */
void kept_sockets_give(const struct kept_sockets *kept, struct upgraded *upgraded);

#endif
