#ifndef EVSERVE_CORE_PROGRAM_WATCHDOG_H
#define EVSERVE_CORE_PROGRAM_WATCHDOG_H

/* Signs of life for the watchdog of systemd (systemd_watchdog_ms()). A sign passes through every thread of the server,
 * so a loop that hangs stops it. For programs. */

#include "evserve.h"

#include <stdatomic.h>

struct systemd_notifier;

struct watchdog {
    evserve *server;                   /* borrowed, as the next one */
    struct systemd_notifier *notifier; /* gets the sign */
    unsigned threads;                  /* of the server, at least 1 */
    atomic_uint hops;                  /* threads that the sign has not visited yet; 0 when none is under way */
};

/* Begin a sign, unless one is under way: then the watchdog soon acts. While the server serves. */
void watchdog_send_sign(struct watchdog *watchdog);

#endif
