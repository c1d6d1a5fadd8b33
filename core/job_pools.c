/* Happy path: the first who asks for a name makes the pool, outside of the lock, since that may take long.
 *
 * Failure modes: if making fails, one of those who waited for it makes the next attempt. A thread that never comes back
 * from making keeps the others waiting until they are late. */

#include "core/job_pools.h"

#include "core/crew.h"
#include "core/job_pool.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/thread.h"
#include "core/units.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { LATE_LOOK_MS = 20 }; /* how often those who wait ask whether they are late */

/* Pools of the same label follow each other, as a reload makes new ones. */
struct pool_label {
    struct pool_label *next;
    uint64_t run, refused; /* counts of pools that have ended */
    char text[];
};

struct named_pool {
    struct named_pool *next;
    struct job_pool *pool;    /* NULL: there is none yet */
    struct pool_label *label; /* NULL: it has none */
    bool is_making;           /* a thread makes it */
    unsigned users;           /* who have it, or wait for it */
    char name[];
};

struct job_pools {
    pthread_mutex_t lock;
    pthread_cond_t has_news; /* a pool is made, or is not */
    struct named_pool *first;
    struct pool_label *labels;    /* in the order in which they came */
    unsigned label_count;         /* of labels */
    struct crew *crew;            /* owned: the threads of all pools */
    void (*on_last)(void *owner); /* of job_pools_release() */
    void *owner;                  /* for on_last */
};

int job_pools_create(struct job_pools **pools)
{
    struct job_pools *made = mem_zalloc(sizeof *made);
    if (made == NULL || crew_create(&made->crew) < 0) {
        mem_free(made);
        return -ENOMEM;
    }
    pthread_mutex_init(&made->lock, NULL);
    thread_init_cond(&made->has_news);
    *pools = made;
    return 0;
}

static void destroy_pools(void *arg)
{
    struct job_pools *pools = arg;
    void (*on_last)(void *owner) = pools->on_last;
    void *owner = pools->owner;
    assert(pools->first == NULL);
    while (pools->labels != NULL) {
        struct pool_label *label = pools->labels;
        pools->labels = label->next;
        mem_free(label);
    }
    pthread_cond_destroy(&pools->has_news);
    pthread_mutex_destroy(&pools->lock);
    mem_free(pools);
    on_last(owner);
}

void job_pools_release(struct job_pools *pools, void (*on_last)(void *owner), void *owner)
{
    if (pools == NULL) {
        on_last(owner);
        return;
    }
    pools->on_last = on_last;
    pools->owner = owner;
    crew_release(pools->crew, destroy_pools, pools);
}

/* Under the lock, all of these. */

static struct named_pool *find_named(const struct job_pools *pools, const char *name)
{
    struct named_pool *at = pools->first;
    while (at != NULL && strcmp(at->name, name) != 0) {
        at = at->next;
    }
    return at;
}

static struct named_pool *add_named(struct job_pools *pools, const char *name)
{
    size_t size = strlen(name) + 1;
    struct named_pool *made = mem_zalloc(sizeof *made + size);
    if (made != NULL) {
        memcpy(made->name, name, size);
        made->next = pools->first;
        pools->first = made;
    }
    return made;
}

/* The label of that text; NULL without memory for a new one, and beyond JOB_LABELS_MAX. */
static struct pool_label *find_label(struct job_pools *pools, const char *text)
{
    struct pool_label **place = &pools->labels;
    while (*place != NULL && strcmp((*place)->text, text) != 0) {
        place = &(*place)->next;
    }
    if (*place == NULL && pools->label_count < JOB_LABELS_MAX) {
        size_t size = strlen(text) + 1;
        *place = mem_zalloc(sizeof **place + size);
        if (*place != NULL) {
            memcpy((*place)->text, text, size);
            pools->label_count++;
        }
    }
    return *place;
}

/* One user less; the last one removes it. Returns the pool if nobody has it any more. */
static struct job_pool *put_named(struct job_pools *pools, struct named_pool *named)
{
    if (--named->users > 0) {
        return NULL;
    }
    struct named_pool **place = &pools->first;
    while (*place != named) {
        place = &(*place)->next;
    }
    struct job_pool *pool = named->pool;
    if (pool != NULL && named->label != NULL) {
        struct job_pool_counts counts = job_pool_counts(pool);
        named->label->run += counts.run;
        named->label->refused += counts.refused;
    }
    *place = named->next;
    mem_free(named);
    return pool;
}

/* Until another thread has made it, or has failed to. Returns whether that is so; else it is too late to wait on. */
static bool wait_for_named(struct job_pools *pools, const struct named_pool *named, const struct job_pool_maker *maker)
{
    while (named->is_making && !maker->is_late(maker->arg)) {
        int64_t end_ns = sys_now_ns() + LATE_LOOK_MS * NS_PER_MS;
        const struct timespec end = thread_until(end_ns);
        (void)pthread_cond_timedwait(&pools->has_news, &pools->lock, &end);
    }
    return !named->is_making;
}

/* Make the pool. The lock is released meanwhile. Returns 0, or -errno with a text in err. */
static int make_named(struct job_pools *pools, struct named_pool *named, const struct job_pool_maker *maker, char *err,
                      size_t errlen)
{
    struct job_pool_plan plan = {0};
    struct job_pool *pool = NULL;
    named->is_making = true;
    pthread_mutex_unlock(&pools->lock);
    int rv = maker->make(maker->arg, &plan, err, errlen);
    if (rv >= 0) {
        rv = job_pool_create(&pool, pools->crew, &plan);
        if (rv < 0) {
            plan.on_end(plan.arg);
            rv = error_text(err, errlen, rv, "%s", errno_text(-rv));
        }
    }
    pthread_mutex_lock(&pools->lock);
    named->is_making = false;
    named->pool = pool;
    named->label = pool == NULL || plan.label == NULL ? NULL : find_label(pools, plan.label);
    pthread_cond_broadcast(&pools->has_news);
    return rv;
}

/* The two calls. */

int job_pools_get(struct job_pools *pools, const char *name, const struct job_pool_maker *maker, struct job_pool **pool,
                  char *err, size_t errlen)
{
    pthread_mutex_lock(&pools->lock);
    struct named_pool *named = find_named(pools, name);
    named = named == NULL ? add_named(pools, name) : named;
    if (named == NULL) {
        pthread_mutex_unlock(&pools->lock);
        return error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
    }
    named->users++;
    int rv = wait_for_named(pools, named, maker)
                 ? 0
                 : error_text(err, errlen, -ETIMEDOUT, "another thread has not finished loading it");
    if (rv == 0 && named->pool == NULL) {
        rv = make_named(pools, named, maker, err, errlen);
    }
    if (rv < 0) {
        (void)put_named(pools, named); /* it has no pool, or others have it */
    } else {
        *pool = named->pool;
    }
    pthread_mutex_unlock(&pools->lock);
    return rv < 0 ? rv : 0;
}

void job_pools_put(struct job_pools *pools, struct job_pool *pool)
{
    pthread_mutex_lock(&pools->lock);
    struct named_pool *named = pools->first;
    while (named->pool != pool) {
        named = named->next;
    }
    struct job_pool *unused = put_named(pools, named);
    pthread_mutex_unlock(&pools->lock);
    job_pool_put(unused);
}

const char *job_pools_count(struct job_pools *pools, size_t n, struct job_pool_counts *counts)
{
    pthread_mutex_lock(&pools->lock);
    const struct pool_label *label = pools->labels;
    for (; label != NULL && n > 0; n--) {
        label = label->next;
    }
    *counts = (struct job_pool_counts){.run = label == NULL ? 0 : label->run,
                                       .refused = label == NULL ? 0 : label->refused};
    for (const struct named_pool *named = pools->first; label != NULL && named != NULL; named = named->next) {
        if (named->label == label && named->pool != NULL) {
            struct job_pool_counts one = job_pool_counts(named->pool);
            counts->threads += one.threads;
            counts->busy += one.busy;
            counts->waiting += one.waiting;
            counts->run += one.run;
            counts->refused += one.refused;
        }
    }
    pthread_mutex_unlock(&pools->lock);
    return label == NULL ? NULL : label->text;
}
