#ifndef EVSERVE_CORE_APPROACH_H
#define EVSERVE_CORE_APPROACH_H

/* The way to a server that is known by its name: its addresses are found (core/resolver.h), those that are denied are
 * left out (core/destinations.h), and one of the others is connected with (core/dial.h). All calls are on the reactor's
 * thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct approach;
struct destination_policy;
struct reactor;
struct resolver;

struct approach_plan {
    struct reactor *reactor;                 /* borrowed */
    struct resolver *resolver;               /* borrowed */
    const struct destination_policy *policy; /* borrowed */
    const char *name;                        /* borrowed during approach_begin() */
    uint16_t port;
    /* Called once, never inside approach_begin(): fd is connected with address, valid during the call, and otherwise as
     * dial_plan.on_done() has it; or it is -errno, and approach_failure() says more. approach_end() is due. */
    void (*on_done)(void *arg, int fd, const struct sockaddr *address, socklen_t len);
    void *arg;
    bool (*free_fd)(void *arg); /* as dial_plan has it */
    void *free_fd_arg;
};

/* Set out. Returns 0, or -errno with a text in err: -EINVAL for what is no name, -EPERM if the policy denies it, -EBUSY
 * if too many names are being resolved, -ENOMEM, ... */
int approach_begin(struct approach **approach, const struct approach_plan *plan, char *err, size_t errlen);

/* Free it; what is under way ends. NULL is allowed. */
void approach_end(struct approach *approach);

/* In a process forked from the one that has it: close the fds, and leave everything else as it is. */
void approach_abandon(struct approach *approach);

/* Whether the addresses are known, so that it connects, or has failed to. */
bool approach_is_resolved(const struct approach *approach);

/* Why it has failed, valid until approach_end(). */
const char *approach_failure(const struct approach *approach);

#endif
