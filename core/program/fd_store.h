#ifndef EVSERVE_CORE_PROGRAM_FD_STORE_H
#define EVSERVE_CORE_PROGRAM_FD_STORE_H

/* The store of fds that systemd keeps for a service (sd_pid_notify_with_fds(3), FileDescriptorStoreMax=): listening
 * sockets in it go on listening while the service restarts, and the next program is passed them, with names (passed.h).
 * So clients wait, and none is turned away. For programs. */

#include "evserve.h"

struct systemd_notifier;
struct upgraded;

/* Keep the server's listening sockets there, instead of those that this program was passed, if fdstore, the variable
 * FDSTORE, says that there is a store. They then outlive the server. */
void fd_store_fill(struct systemd_notifier *notifier, const char *fdstore, const struct upgraded *passed,
                   evserve *server);

#endif
