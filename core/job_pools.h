#ifndef EVSERVE_CORE_JOB_POOLS_H
#define EVSERVE_CORE_JOB_POOLS_H

/* The job pools of a server, by name: threads that ask for the same name share one. Any thread may call. */

#include <stdbool.h>
#include <stddef.h>

#include "core/job_pool.h"

struct job_pools;

enum { JOB_LABELS_MAX = 100 }; /* of a server; counts of pools with further ones are not shown */

/* How a pool is made. */
struct job_pool_maker {
    /* Fill in the plan of a new pool. Returns 0, or -errno with a text in err. */
    int (*make)(void *arg, struct job_pool_plan *plan, char *err, size_t errlen);
    bool (*is_late)(void *arg); /* whether it is too late to wait for another thread that makes the pool */
    void *arg;                  /* for both */
};

/* Returns 0 or -ENOMEM. */
int job_pools_create(struct job_pools **pools);

/* Get the pool of a name, until job_pools_put(). If no thread has it, make it. If another thread is making it, wait for
 * that. Returns 0; or what make() returned, with its text; or -ETIMEDOUT or -ENOMEM with a text in err. */
int job_pools_get(struct job_pools *pools, const char *name, const struct job_pool_maker *maker, struct job_pool **pool,
                  char *err, size_t errlen);
void job_pools_put(struct job_pools *pools, struct job_pool *pool);

/* Put the sums of all pools with the n-th label, those included that have ended, into counts. Returns the label, which
 * lives as long as the pools, or NULL past the last one. */
const char *job_pools_count(struct job_pools *pools, size_t n, struct job_pool_counts *counts);

/* Free them all. Nobody has one any more. on_last(owner) is called as crew_release() does it: at once, or when the last
 * job that was left behind has returned. NULL is allowed. */
void job_pools_release(struct job_pools *pools, void (*on_last)(void *owner), void *owner);

#endif
