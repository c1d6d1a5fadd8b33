/* Happy path: job_submit() puts a job into the queue and wakes a thread, or starts one. When the job has run, its
 * thread puts it on the desk and wakes the reactor through the desk's eventfd, which needs no memory and,
 * edge-triggered, is never read. The reactor's thread takes one after the other from the desk.
 *
 * One lock protects a pool, its desks and its jobs' fields. No function of a job is called under it.
 *
 * Failure modes: a job that nobody waits for is dropped by whoever finds it. A job that does not return keeps its
 * thread and the pool alive, but no desk: its thread touches neither the desk nor the reactor again. */

#include "core/job_pool.h"

#include "core/crew.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

enum job_state { JOB_NEW, JOB_WAITS, JOB_RUNS, JOB_IS_DONE };

/* One that may run jobs. */
struct job_thread {
    struct job_pool *pool;
    struct crew_member *member; /* NULL: it has not started */
    struct job *job;            /* that it runs */
    struct job_desk *desk;      /* that the job was submitted at, even if it was dropped since; NULL: closed */
};

struct job_pool {
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct crew *crew; /* borrowed */
    struct job_pool_plan plan;
    struct job *first, *last; /* in the queue, oldest first */
    struct job_pool_counts counts;
    unsigned holders;            /* who made it, and its desks */
    unsigned alive;              /* threads that have not ended */
    struct job_thread threads[]; /* plan.threads of them; they start in this order */
};

struct job_desk {
    struct job_pool *pool;    /* held */
    struct reactor *reactor;  /* borrowed */
    int fd;                   /* an eventfd that the reactor watches */
    bool is_waking;           /* it was written to, and on_desk() has not been called yet */
    struct job *first, *last; /* jobs that have run, oldest first */
    unsigned running;         /* jobs that run */
};

/* Pools. */

int job_pool_create(struct job_pool **pool, struct crew *crew, const struct job_pool_plan *plan)
{
    assert(plan->threads >= 1 && plan->threads <= JOB_THREADS_MAX);
    struct job_pool *made = mem_zalloc(sizeof *made + plan->threads * sizeof made->threads[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    thread_init_lock(&made->lock);
    pthread_cond_init(&made->has_work, NULL);
    made->crew = crew;
    made->plan = *plan;
    made->holders = 1;
    for (unsigned i = 0; i < plan->threads; i++) {
        made->threads[i].pool = made;
    }
    *pool = made;
    return 0;
}

static void destroy_pool(struct job_pool *pool)
{
    pool->plan.on_end(pool->plan.arg);
    pthread_cond_destroy(&pool->has_work);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

/* The last holder is gone: nobody waits for jobs that run. Under the lock. */
static void end_threads(struct job_pool *pool)
{
    for (unsigned i = 0; i < pool->counts.threads; i++) {
        if (pool->threads[i].job != NULL) {
            crew_leave_behind(pool->threads[i].member);
        }
    }
    pthread_cond_broadcast(&pool->has_work);
}

void job_pool_put(struct job_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    bool is_over = --pool->holders == 0;
    bool is_last = is_over && pool->alive == 0;
    if (is_over && !is_last) {
        end_threads(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    if (is_last) {
        destroy_pool(pool);
    }
}

void *job_pool_arg(const struct job_pool *pool)
{
    return pool->plan.arg;
}

struct job_pool_counts job_pool_counts(struct job_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct job_pool_counts counts = pool->counts;
    pthread_mutex_unlock(&pool->lock);
    return counts;
}

/* Threads. Under the lock, unless they say otherwise. */

static struct job *take_job(struct job_pool *pool)
{
    struct job *job = pool->first;
    pool->first = job->next;
    *(pool->first == NULL ? &pool->last : &pool->first->prev) = NULL;
    pool->counts.waiting--;
    return job;
}

/* A job has run: hand it to its desk. Returns it if nobody waits for it. */
static struct job *report_job(struct job *job)
{
    struct job_desk *desk = job->desk;
    job->state = JOB_IS_DONE;
    job->next = NULL;
    if (desk == NULL) {
        return job;
    }
    *(desk->first == NULL ? &desk->first : &desk->last->next) = job;
    desk->last = job;
    if (!desk->is_waking) {
        desk->is_waking = true;
        (void)sys_eventfd_wake(desk->fd);
    }
    return NULL;
}

/* Run the first job. The lock is released meanwhile. */
static void run_next_job(struct job_pool *pool, struct job_thread *thread)
{
    struct job *job = take_job(pool);
    job->state = JOB_RUNS;
    thread->job = job;
    thread->desk = job->desk;
    thread->desk->running++;
    pool->counts.busy++;
    pool->counts.run++;
    pthread_mutex_unlock(&pool->lock);
    job->run(job, pool->plan.arg, (unsigned)(thread - pool->threads));
    pthread_mutex_lock(&pool->lock);
    pool->counts.busy--;
    thread->job = NULL;
    if (thread->desk != NULL) {
        thread->desk->running--;
    }
    struct job *unwanted = report_job(job);
    if (unwanted != NULL) {
        pthread_mutex_unlock(&pool->lock);
        unwanted->drop(unwanted);
        pthread_mutex_lock(&pool->lock);
    }
}

static void run_job_thread(void *arg)
{
    struct job_thread *thread = arg;
    struct job_pool *pool = thread->pool;
    pthread_mutex_lock(&pool->lock);
    while (pool->holders > 0) {
        if (pool->first != NULL) {
            run_next_job(pool, thread);
        } else {
            pthread_cond_wait(&pool->has_work, &pool->lock);
        }
    }
    bool is_last = --pool->alive == 0;
    pthread_mutex_unlock(&pool->lock);
    if (is_last) {
        destroy_pool(pool);
    }
}

/* Start a thread if all that have started have something to do. Returns 0, or -errno if there is none at all. */
static int start_if_needed(struct job_pool *pool)
{
    struct job_pool_counts *counts = &pool->counts;
    if (counts->busy + counts->waiting < counts->threads || counts->threads == pool->plan.threads) {
        return 0;
    }
    struct job_thread *thread = &pool->threads[counts->threads];
    pool->alive++;
    int rv = crew_start(pool->crew, run_job_thread, thread, &thread->member);
    if (rv < 0) {
        pool->alive--;
        return counts->threads > 0 ? 0 : rv;
    }
    counts->threads++;
    return 0;
}

/* Jobs. */

int job_submit(struct job_desk *desk, struct job *job)
{
    struct job_pool *pool = desk->pool;
    assert(job->state == JOB_NEW);
    pthread_mutex_lock(&pool->lock);
    bool is_full = pool->counts.busy + pool->counts.waiting >= pool->plan.threads + pool->plan.queue;
    int rv = is_full ? -EAGAIN : start_if_needed(pool);
    pool->counts.refused += is_full ? 1 : 0;
    if (rv == 0) {
        job->desk = desk;
        job->state = JOB_WAITS;
        job->next = NULL;
        job->prev = pool->last;
        *(pool->last == NULL ? &pool->first : &pool->last->next) = job;
        pool->last = job;
        pool->counts.waiting++;
        pthread_cond_signal(&pool->has_work);
    }
    pthread_mutex_unlock(&pool->lock);
    return rv;
}

/* Take a job that waits out of the queue. */
static void unqueue_job(struct job_pool *pool, struct job *job)
{
    *(job->prev == NULL ? &pool->first : &job->prev->next) = job->next;
    *(job->next == NULL ? &pool->last : &job->next->prev) = job->prev;
    pool->counts.waiting--;
}

/* Take a job that has run from its desk. */
static void unlist_job(struct job_desk *desk, const struct job *job)
{
    struct job *before = NULL;
    for (struct job *at = desk->first; at != job; at = at->next) {
        before = at;
    }
    *(before == NULL ? &desk->first : &before->next) = job->next;
    desk->last = desk->last == job ? before : desk->last;
}

bool job_drop(struct job *job)
{
    struct job_desk *desk = job->desk;
    struct job_pool *pool = desk->pool;
    pthread_mutex_lock(&pool->lock);
    bool is_running = job->state == JOB_RUNS;
    bool has_begun = job->state != JOB_WAITS;
    job->desk = NULL;
    if (!has_begun) {
        unqueue_job(pool, job);
    } else if (job->state == JOB_IS_DONE) {
        unlist_job(desk, job);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!is_running) {
        job->drop(job);
    }
    return has_begun;
}

/* Desks. */

static struct job *take_done_job(struct job_desk *desk)
{
    struct job *job = desk->first;
    if (job != NULL) {
        desk->first = job->next;
        desk->last = desk->first == NULL ? NULL : desk->last;
        job->state = JOB_NEW;
        job->desk = NULL;
    }
    return job;
}

/* Report what has run so far. What a callback drops meanwhile is not in the list any more, and what runs to its end
 * meanwhile has a wake-up of its own. */
static void on_desk(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)fd;
    (void)events;
    struct job_desk *desk = arg;
    struct job *job;
    unsigned count = 0;
    pthread_mutex_lock(&desk->pool->lock);
    desk->is_waking = false;
    for (job = desk->first; job != NULL; job = job->next) {
        count++;
    }
    while (count-- > 0 && (job = take_done_job(desk)) != NULL) {
        pthread_mutex_unlock(&desk->pool->lock);
        job->on_done(job);
        pthread_mutex_lock(&desk->pool->lock);
    }
    pthread_mutex_unlock(&desk->pool->lock);
}

int job_desk_open(struct job_desk **desk, struct job_pool *pool, struct reactor *reactor)
{
    struct job_desk *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    *made = (struct job_desk){.pool = pool, .reactor = reactor, .fd = sys_eventfd_create()};
    int rv = made->fd < 0 ? made->fd
                          : reactor_register(reactor, made->fd, REACTOR_READABLE | REACTOR_EDGE, on_desk, made);
    if (rv < 0) {
        if (made->fd >= 0) {
            sys_close(made->fd);
        }
        mem_free(made);
        return rv;
    }
    pthread_mutex_lock(&pool->lock);
    pool->holders++;
    pthread_mutex_unlock(&pool->lock);
    *desk = made;
    return 0;
}

/* Take all jobs of a desk that do not run out of the queue and from the desk. Returns their list. */
static struct job *take_jobs(struct job_desk *desk)
{
    struct job_pool *pool = desk->pool;
    struct job *taken = desk->first;
    for (struct job *job = pool->first, *next; job != NULL; job = next) {
        next = job->next;
        if (job->desk == desk) {
            unqueue_job(pool, job);
            job->next = taken;
            taken = job;
        }
    }
    desk->first = desk->last = NULL;
    return taken;
}

void job_desk_close(struct job_desk *desk)
{
    if (desk == NULL) {
        return;
    }
    struct job_pool *pool = desk->pool;
    pthread_mutex_lock(&pool->lock);
    struct job *job = take_jobs(desk);
    for (unsigned i = 0; i < pool->counts.threads; i++) {
        struct job_thread *thread = &pool->threads[i];
        if (thread->job != NULL && thread->desk == desk) {
            thread->desk = NULL;
            thread->job->desk = NULL;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    while (job != NULL) {
        struct job *next = job->next;
        job->drop(job);
        job = next;
    }
    reactor_close(desk->reactor, desk->fd);
    mem_free(desk);
    job_pool_put(pool);
}

unsigned job_desk_running(struct job_desk *desk)
{
    pthread_mutex_lock(&desk->pool->lock);
    unsigned running = desk->running;
    pthread_mutex_unlock(&desk->pool->lock);
    return running;
}
