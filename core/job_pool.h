#ifndef EVSERVE_CORE_JOB_POOL_H
#define EVSERVE_CORE_JOB_POOL_H

/* Functions that may block, run on threads of their own. A reactor submits jobs through a desk; when one has run, the
 * desk calls back on the reactor's thread. Several reactors may have desks at the same pool.
 *
 * Threads start when there is work for them, as children of the thread that submits it, so they have no more rights
 * than that one. A job is never lost and is reported once, unless its caller drops it. Only submitting may fail. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crew;
struct job_desk;
struct job_pool;
struct reactor;

enum { JOB_THREADS_MAX = 256, JOB_QUEUE_MAX = 1000000 }; /* of a pool */

/* A member of the object that describes a piece of work. Set the functions, leave the rest zero. */
struct job {
    void (*run)(struct job *job, void *arg,
                unsigned thread);     /* do it: on a thread of the pool, whose number is given */
    void (*on_done)(struct job *job); /* it has run, and is the caller's again: on the reactor's thread */
    void (*drop)(struct job *job);    /* free it, since nobody waits for it: on any thread */
    struct job_desk *desk;            /* the rest is the pool's: who waits for it; NULL: nobody does */
    struct job *next, *prev;          /* in the queue, or, next alone, in the list of those that have run */
    int state;                        /* JOB_... of job_pool.c */
};

/* What a pool is made of. */
struct job_pool_plan {
    unsigned threads;          /* at most this many run jobs at the same time; from 1 to JOB_THREADS_MAX */
    unsigned queue;            /* jobs that may wait while all threads are busy; up to JOB_QUEUE_MAX */
    const char *label;         /* what its counts are shown with (core/job_pools.h); NULL: they are not shown */
    void *arg;                 /* handed to the functions of jobs */
    void (*on_end)(void *arg); /* no job runs or will run: free arg. On any thread */
};

/* What a pool has done so far. */
struct job_pool_counts {
    unsigned threads, busy, waiting; /* that have started, that run a job; jobs that wait */
    uint64_t run, refused;           /* jobs that were begun; jobs for which there was no room */
};

/* Make a pool, which the caller holds. crew starts its threads. Returns 0, or -ENOMEM with nothing changed. */
int job_pool_create(struct job_pool **pool, struct crew *crew, const struct job_pool_plan *plan);

/* Let go of a pool. When nobody holds it and no desk is open, its threads end: idle ones at once, busy ones after their
 * job. These are left behind (core/crew.h). The last one calls on_end. NULL is allowed. Any thread. */
void job_pool_put(struct job_pool *pool);

void *job_pool_arg(const struct job_pool *pool);

struct job_pool_counts job_pool_counts(struct job_pool *pool);

/* Open a desk for a reactor. On its thread. Returns 0, or -errno (-ENOMEM, -EMFILE, ...). */
int job_desk_open(struct job_desk **desk, struct job_pool *pool, struct reactor *reactor);

/* Close it: its jobs are dropped, and none is reported any more. Not in on_done of one of them. On the reactor's
 * thread, or once that does not run any more, on another one. NULL is allowed. */
void job_desk_close(struct job_desk *desk);

/* Submit a job. Returns 0, or, with the job unchanged and still the caller's, -EAGAIN if as many wait as may, or the
 * -errno of starting the first thread. The reactor's thread. */
int job_submit(struct job_desk *desk, struct job *job);

/* Nobody waits for a job that was submitted and is not reported yet: it is not run if it has not begun, and dropped as
 * soon as it does not run. Returns whether it has begun. The reactor's thread. */
bool job_drop(struct job *job);

/* How many jobs that were submitted here are running, those that were dropped included. */
unsigned job_desk_running(struct job_desk *desk);

#endif
