#ifndef EVSERVE_LUA_WORKER_POOL_H
#define EVSERVE_LUA_WORKER_POOL_H

/* The threads of a worker: a job pool (core/job_pool.h) whose threads have a Lua state each. */

#include "core/job_pools.h"
#include "lua/worker_state.h"

#include <stdbool.h>

/* What a pool is made from. */
struct worker_pool_plan {
    struct worker_module module;
    unsigned threads, queue; /* of struct job_pool_plan */
};

/* Get the pool of a script's worker, which the threads of a server that load a script together share, until
 * job_pools_put(). The states are made on this thread, one for each thread of the pool. Returns 0, or -errno with a
 * text in err. */
int worker_pool_get(const struct worker_pool_plan *plan, struct job_pool **pool, char *err, size_t errlen);

/* The functions of its module. Valid as long as the pool. */
const struct worker_names *worker_pool_names(const struct job_pool *pool);

/* Make a call: what the job of a call does. arg is the pool's, see struct job. */
void worker_pool_run(void *arg, unsigned thread, struct worker_call *call);

#endif
