#ifndef EVSERVE_LUA_RETIRED_H
#define EVSERVE_LUA_RETIRED_H

/* Offers whose place another has taken. Each is stopped and freed when the last request that began with it is over and its
 * script has nothing left to do, or a minute later; at the end of a tick, because a function of its script may be what let
 * go of it. Used by one reactor's thread. */

#include <stdbool.h>
#include <stdint.h>

struct offer;
struct reactor;

/* Offers that are on their way out. */
struct retired {
    struct reactor *reactor; /* borrowed */
    struct offer *first;     /* what requests in flight, or what they left behind, may still use */
    uint64_t timer;          /* to look at them again, 0 while none is set */
};

/* None so far; reactor is whose thread they are on. */
void retired_init(struct retired *retired, struct reactor *reactor);

/* Take an offer over, whose server has gone on to another site: its script's timers end and its "stopping" functions are
 * called. */
void retired_add(struct retired *retired, struct offer *offer);

/* Whether one of their scripts is still busy: script_is_busy(). */
bool retired_is_busy(const struct retired *retired, int64_t until_ms);

/* No request is left and the server stops: script_stop() for each of them. */
void retired_stop(struct retired *retired);

/* Free all. No server may use their sites any more; the reactor is there still, but does not run again. */
void retired_done(struct retired *retired);

/* In a process forked from theirs: close the fds of their files, and leave everything else as it is. */
void retired_abandon(struct retired *retired);

#endif
