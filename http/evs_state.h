#ifndef EVSERVE_HTTP_EVS_STATE_H
#define EVSERVE_HTTP_EVS_STATE_H

/* What the C binding (http/host/) keeps in each exchange. Types only: http/ gives it room, and leaves it alone. */

#include <stdbool.h>
#include <stdint.h>

/* A call that evs_on_done() asked for. */
struct evs_done {
    void (*fn)(void *arg);
    void *arg; /* handed to fn */
};

enum { EVS_DONE_LIMIT = 8 }; /* EVS_DONE_MAX of evserve.h */

/* Reset when a handler of the host's is called, except for the calls. */
struct evs_request;
struct evs_state {
    void (*fn)(struct evs_request *request, int event, void *arg); /* evs_on(), NULL without it */
    void *arg;                                                     /* handed to fn */
    uint64_t timer;                                                /* evs_after(), 0 while none is set */
    uint64_t ticket;                                               /* evs_defer(), 0 without one */
    bool has_read;       /* evs_read() gave a body that was there as a whole */
    bool is_unwanted;    /* the request is over, EVS_GONE has come, or timer is the one after which it does */
    unsigned done_count; /* of done */
    struct evs_done done[EVS_DONE_LIMIT]; /* in the order of asking */
};

#endif
