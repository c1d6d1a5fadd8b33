#ifndef EVSERVE_CORE_PROGRAM_UPGRADED_H
#define EVSERVE_CORE_PROGRAM_UPGRADED_H

/* What a program was passed when it started: sockets of systemd, and those of the program whose place it takes, which
 * waits to be told that this one serves (upgrade.h). */

#include "evserve.h"

#include <stdbool.h>
#include <stddef.h>

struct command_line;

struct upgraded {
    struct evs_inherited *sockets; /* for evserve_config.inherited; count of them, owned */
    unsigned count;                /* of sockets */
    int fd;                        /* to the old program, or -1 */
};

/* Read and clean the environment. Sockets of systemd become addresses ("fd:3"), unless the command line names others.
 * Of those that the old program passes, each that it had as "fd:N" gets the number N again and is an address likewise;
 * the others go to sockets. Returns 0, or -errno with a text in err. */
int upgraded_take(struct upgraded *upgraded, struct command_line *options, char *err, size_t errlen);

/* Whether the old program has ended, without having replaced itself by another one. */
bool upgraded_is_forsaken(const struct upgraded *upgraded);

/* Say that this program serves; or that it cannot, and why. Then nothing more can be said. */
void upgraded_say_serving(struct upgraded *upgraded);
void upgraded_say_failed(struct upgraded *upgraded, const char *why);

/* evserve_start() has returned: close the sockets, of which the server has those that it needs. */
void upgraded_close_sockets(struct upgraded *upgraded);

#endif
