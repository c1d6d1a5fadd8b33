#ifndef EVSERVE_HTTP_LIMIT_KEEPER_H
#define EVSERVE_HTTP_LIMIT_KEEPER_H

/* What the limits of requests have counted, for all threads of a server: made when a site has such limits, and kept by
 * reloads. One for each handle, with a lock of its own; any thread may call. */

#include <pthread.h>

struct limiter;
struct site;

struct limit_keeper {
    pthread_mutex_t lock;    /* of limiter */
    struct limiter *limiter; /* owned; NULL: no site has needed one */
};

void limit_keeper_init(struct limit_keeper *keeper);
void limit_keeper_done(struct limit_keeper *keeper);

/* A site is filled, and its limits are set: give it a limiter, in the size that it asks for, if it has limits of
 * requests. A limiter that has another size keeps it if what it has counted does not fit. Returns 0 or -ENOMEM. */
int limit_keeper_settle(struct limit_keeper *keeper, struct site *site);

#endif
