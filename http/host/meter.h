#ifndef EVSERVE_HTTP_HOST_METER_H
#define EVSERVE_HTTP_HOST_METER_H

/* The metrics of one thread of a server: what its requests add up to, and what the thread looks at once a second. It
 * exists from the first offer on that asks for metrics; before that nothing is counted but totals. The thread's own. */

#include "http/file_cache.h"

struct metrics_board;
struct metrics_counts;
struct metrics_sample;
struct offer;
struct server;

enum { METER_LOOK_MS = 1000 };

struct meter {
    struct metrics_counts *counts;  /* owned; NULL: nothing asks for metrics */
    struct metrics_sample *sample;  /* borrowed, of the board */
    struct server *server;          /* borrowed */
    struct offer **offer;           /* borrowed: the worker's place for it */
    const struct file_cache *cache; /* whose looks were added last; only compared, it may be gone */
    struct file_cache_looks looks;  /* of it, that were added */
};

/* An offer is about to be served by the n-th thread: count its requests if it asks for that. *offer is what the thread
 * serves, whenever it looks. Returns 0, or -ENOMEM with nothing changed. */
int meter_take(struct meter *meter, struct server *server, unsigned n, struct offer **offer);

/* Free it. The server is gone, and the reactor does not run any more. */
void meter_done(struct meter *meter);

#endif
