#ifndef EVSERVE_CORE_DIAL_H
#define EVSERVE_CORE_DIAL_H

/* Connecting with the first address of a name that answers (RFC 8305, "Happy Eyeballs"): IPv6 and IPv4 take turns, a
 * quarter of a second apart, and whoever connects first ends the other attempts. All calls are on the reactor's
 * thread. */

#include "core/sys_names.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct dial;
struct reactor;

enum { DIAL_DELAY_MS = 250 }; /* from one attempt to the next (RFC 8305, section 5) */

struct dial_plan {
    const struct name_address *addresses; /* borrowed during dial_begin(): the best first */
    unsigned count;                       /* of them, from 1 to NAME_ADDRESSES_MAX */
    uint16_t port;
    /* Called once, never inside dial_begin(): fd is connected, the caller's, and still registered with the reactor for
     * REACTOR_WRITABLE, so it must be registered anew or closed by reactor_close(); or it is -errno. address is valid
     * during the call, NULL without fd. dial_end() is due. */
    void (*on_done)(void *arg, int fd, const struct name_address *address);
    void *arg;
    bool (*free_fd)(void *arg); /* fds are short: close something that has one; returns whether it did. May be NULL */
    void *free_fd_arg;          /* handed to it */
};

/* Begin to connect. Returns 0 or -ENOMEM. */
int dial_begin(struct dial **dial, struct reactor *reactor, const struct dial_plan *plan);

/* Free it; attempts under way end. NULL is allowed. */
void dial_end(struct dial *dial);

/* In a process forked from the one that has it: close the fds, and leave everything else as it is. */
void dial_abandon(struct dial *dial);

/* The address of a socket. Returns its length. */
socklen_t dial_fill_address(struct sockaddr_storage *filled, const struct name_address *address, uint16_t port);

#endif
