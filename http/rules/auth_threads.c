/* Happy path: the first job opens the pool, which all of a server share, and a desk at it.
 * Failure modes: those of core/job_pool.h; the next job tries again. */

#include "http/rules/auth_threads.h"

#include "core/job_pool.h"
#include "core/job_pools.h"
#include "core/sys.h"

#include <errno.h>
#include <stddef.h>

static void end_auth_pool(void *arg)
{
    (void)arg;
}

static int make_auth_pool(void *arg, struct job_pool_plan *plan, char *err, size_t errlen)
{
    const struct auth_threads *threads = arg;
    unsigned half = sys_processors() / 2;
    (void)err, (void)errlen;
    *plan = (struct job_pool_plan){.threads = 1, .queue = AUTH_LOOKS_WAITING, .on_end = end_auth_pool};
    if (threads->hashes) {
        plan->threads = half < 1 ? 1 : half > AUTH_HASHERS_MAX ? AUTH_HASHERS_MAX : half;
        plan->queue = AUTH_HASHES_WAITING;
    }
    return 0;
}

static bool is_auth_pool_late(void *arg)
{
    (void)arg;
    return false; /* whoever makes the pool waits for nothing */
}

/* Returns 0 or -errno. */
static int open_auth_desk(struct auth_threads *threads, struct job_pools *jobs, struct reactor *reactor)
{
    const struct job_pool_maker maker = {.make = make_auth_pool, .is_late = is_auth_pool_late, .arg = threads};
    int rv = 0;
    if (threads->pool == NULL) {
        char err[64];                                                        /* only memory can be missing */
        const char *name = threads->hashes ? "passwords" : "password files"; /* those of workers begin with a number */
        threads->jobs = jobs;
        rv = jobs == NULL ? -ENOSYS : job_pools_get(jobs, name, &maker, &threads->pool, err, sizeof err);
        threads->pool = rv < 0 ? NULL : threads->pool;
    }
    if (rv == 0 && threads->desk == NULL) {
        rv = job_desk_open(&threads->desk, threads->pool, reactor);
        threads->desk = rv < 0 ? NULL : threads->desk;
    }
    return rv;
}

int auth_threads_submit(struct auth_threads *threads, struct job_pools *jobs, struct reactor *reactor, struct job *job)
{
    int rv = open_auth_desk(threads, jobs, reactor);
    return rv < 0 ? rv : job_submit(threads->desk, job);
}

void auth_threads_close(struct auth_threads *threads)
{
    job_desk_close(threads->desk);
    if (threads->pool != NULL) {
        job_pools_put(threads->jobs, threads->pool);
    }
}
