#ifndef EVSERVE_HTTP_HOST_RETIRED_H
#define EVSERVE_HTTP_HOST_RETIRED_H

/* Offers that another one has replaced. Each is stopped and freed when the last request that began with it is over and
 * its script has nothing left to do, or a minute later. This happens at the end of a tick, because a function of the
 * script itself may have let go of the offer. Used by one reactor's thread. */

#include "core/reactor.h"

#include <stdbool.h>
#include <stdint.h>

struct offer;

struct retired {
    struct reactor *reactor;  /* borrowed */
    struct reactor_task task; /* that looks at them at the end of the tick */
    struct offer *first;      /* the offers; requests in flight, or what they left behind, may still use them */
    uint64_t timer;           /* for the next look at them, 0 while none is set */
};

/* Begin with no offers. reactor is that of their thread. The struct must stay where it is until retired_done(). */
void retired_init(struct retired *retired, struct reactor *reactor);

/* Take over an offer whose server has gone on to another site: the timers of its script end, and its "stopping"
 * functions are called. */
void retired_add(struct retired *retired, struct offer *offer);

/* Whether one of their scripts is still busy: offer_is_busy(). */
bool retired_is_busy(const struct retired *retired, int64_t until_ms);

/* No request is left and the server stops: offer_stop() for each of them. */
void retired_stop(struct retired *retired);

/* Free all of them. No server may use their sites any more; the reactor still exists, but does not run again. */
void retired_done(struct retired *retired);

/* In a child process: close the fds of their files, and leave everything else as it is. */
void retired_abandon(struct retired *retired);

#endif
