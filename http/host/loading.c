/* Happy path: each worker's thread starts a thread that makes the offer: the script is run, its "start" functions are
 * called. The last one to end says so. Whoever takes the offers joins the threads.
 *
 * Failure modes: if one offer fails, the scripts of the others are stopped. A script that is stuck in a C function,
 * such as a read from a FIFO that nobody writes to, cannot be stopped: nobody may end a thread from outside while it
 * changes a Lua state. Its thread is left behind, with all that it may still use: the plan and the log, and thereby the
 * handle, which is freed by the last such thread. It touches neither the worker nor its reactor. */

#include "http/host/loading.h"

#include "core/log.h"
#include "core/mailbox.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/thread.h"
#include "core/units.h"
#include "http/fd_check.h"
#include "http/host/offer.h"
#include "http/host/plan.h"
#include "http/host/worker.h"
#include "http/limits.h"
#include "http/site.h"

#include <errno.h>
#include <time.h>

void loading_init(struct loading *loading, void (*on_last)(void *owner), void *owner)
{
    *loading = (struct loading){.on_last = on_last, .owner = owner};
    pthread_mutex_init(&loading->lock, NULL);
    thread_init_cond(&loading->has_news);
}

static void destroy(struct loading *loading)
{
    pthread_cond_destroy(&loading->has_news);
    pthread_mutex_destroy(&loading->lock);
    loading->on_last(loading->owner);
}

/* Under the lock. */
static void stop_scripts(struct loading *loading)
{
    for (unsigned i = 0; i < loading->count; i++) {
        if (loading->loads[i] != NULL) {
            atomic_store(&loading->loads[i]->is_unwanted, true);
        }
    }
}

/* Make the offer. */
static void make_next(struct load *load)
{
    struct offer *next = NULL;
    load->rv = plan_make_offer(load->plan, load->outbound, load->topics, load->number, &load->limit, &next, load->err,
                               sizeof load->err);
    if (next == NULL) {
        return;
    }
    if (load->number == 0) {
        fd_check(&next->site->limits, load->plan->log);
    }
    limits_share(&next->site->limits, load->count);
    const struct server *server = load->limit.is_elsewhere ? NULL : load->worker->server;
    load->rv = offer_start(next, server, load->err, sizeof load->err);
    if (load->rv < 0) {
        offer_destroy(next);
        return;
    }
    load->offer = next;
}

/* A thread that was left behind goes. */
static void clean_up(struct load *load)
{
    struct loading *loading = load->loading;
    offer_destroy(load->offer);
    mem_free(load);
    pthread_mutex_lock(&loading->lock);
    loading->stuck--;
    bool is_last = loading->is_released && loading->stuck == 0;
    pthread_mutex_unlock(&loading->lock);
    if (is_last) {
        destroy(loading);
    }
}

/* The offer is made, or never will be. */
static void end_load(struct load *load)
{
    struct loading *loading = load->loading;
    pthread_mutex_lock(&loading->lock);
    if (load->is_left) {
        pthread_mutex_unlock(&loading->lock);
        clean_up(load);
        return;
    }
    load->is_over = true;
    if (load->rv < 0 && loading->failed == NULL) {
        loading->failed = load;
        stop_scripts(loading);
    }
    bool is_last = --loading->running == 0;
    void (*on_over)(void *arg) = loading->on_over;
    void *arg = loading->arg;
    pthread_cond_broadcast(&loading->has_news);
    pthread_mutex_unlock(&loading->lock);
    if (is_last && on_over != NULL) {
        on_over(arg); /* whoever takes the offers joins this thread first, so that all is still there */
    }
}

static void *run_load(void *arg)
{
    struct load *load = arg;
    make_next(load);
    end_load(load);
    return NULL;
}

/* On the worker's thread, or in its place. */
static void begin_load(void *arg)
{
    struct load *load = arg;
    load->limit.is_elsewhere = load->caller == NULL || pthread_equal(*load->caller, pthread_self()) == 0;
    if (!load->limit.is_elsewhere) {
        (void)run_load(load);
        return;
    }
    load->has_thread = true; /* before it can end */
    int rv = thread_start(&load->thread, run_load, load);
    if (rv < 0) {
        load->has_thread = false;
        load->rv = error_text(load->err, sizeof load->err, rv, "cannot reload: no thread can be started to load on: %s",
                              errno_text(-rv));
        end_load(load);
    }
}

static struct load *make_load(struct loading *loading, struct worker *worker, uint64_t timeout_ms,
                              const pthread_t *caller)
{
    struct load *load = mem_zalloc(sizeof *load);
    if (load != NULL) {
        load->loading = loading;
        load->worker = worker;
        load->plan = worker->plan;
        load->outbound = &worker->outbound;
        load->topics = &worker->topics;
        load->number = worker->number;
        load->count = worker->count;
        load->caller = caller;
        atomic_init(&load->is_unwanted, false);
        load->limit = (struct script_load){.end_ns = sys_now_ns() + (int64_t)timeout_ms * NS_PER_MS,
                                           .timeout_ms = timeout_ms,
                                           .is_unwanted = &load->is_unwanted,
                                           .number = loading->number};
    }
    return load;
}

/* Forget what was to be loaded, so that nobody stops a script that is gone. Under the lock. */
static void free_loads(struct loading *loading)
{
    for (unsigned i = 0; i < loading->count; i++) {
        mem_free(loading->loads[i]);
    }
    mem_free(loading->loads);
    loading->loads = NULL;
    loading->count = 0;
}

/* Fill in all of them, or none: 0 or -ENOMEM. Under the lock. */
static int make_loads(struct loading *loading, struct worker *workers, unsigned count, uint64_t timeout_ms,
                      const pthread_t *caller)
{
    loading->number++;
    loading->loads = mem_zalloc(count * sizeof(struct load *));
    loading->count = loading->loads == NULL ? 0 : count;
    for (unsigned i = 0; i < loading->count; i++) {
        loading->loads[i] = make_load(loading, &workers[i], timeout_ms, caller);
        if (loading->loads[i] == NULL) {
            free_loads(loading);
            return -ENOMEM;
        }
    }
    return loading->count == count ? 0 : -ENOMEM;
}

/* Whether a reload may begin: 0, or -errno with a text in err. Under the lock. */
static int check_begin(const struct loading *loading, unsigned count, char *err, size_t errlen)
{
    if (loading->is_cancelled) {
        return error_text(err, errlen, -ESHUTDOWN, "cannot reload: the server has stopped");
    }
    if (loading->stuck >= LOADING_STUCK_MAX * count) {
        return error_text(err, errlen, -EBUSY,
                          "cannot reload: %d reloads are still stuck in C functions that their scripts have called and "
                          "that do not return: restart the server",
                          LOADING_STUCK_MAX);
    }
    return 0;
}

int loading_begin(struct loading *loading, struct worker *workers, unsigned count, uint64_t timeout_ms,
                  const pthread_t *caller, void (*on_over)(void *arg), void *arg, char *err, size_t errlen)
{
    struct mailbox_call *calls = mem_zalloc(count * sizeof *calls);
    pthread_mutex_lock(&loading->lock);
    int rv = check_begin(loading, count, err, errlen);
    if (rv == 0 && (calls == NULL || make_loads(loading, workers, count, timeout_ms, caller) < 0)) {
        rv = error_text(err, errlen, -ENOMEM, "cannot reload: %s", errno_text(ENOMEM));
    }
    if (rv == 0) {
        loading->running = count;
        loading->failed = NULL;
        loading->on_over = on_over;
        loading->arg = arg;
    }
    pthread_mutex_unlock(&loading->lock);
    for (unsigned i = 0; i < count && rv == 0; i++) {
        calls[i] = (struct mailbox_call){.mailbox = &workers[i].mailbox, .fn = begin_load, .arg = loading->loads[i]};
    }
    if (rv == 0) {
        mailbox_call_all(calls, count);
    }
    for (unsigned i = 0; i < count && rv == 0; i++) {
        struct load *load = loading->loads[i];
        if (calls[i].rv < 0) {
            load->rv = error_text(load->err, sizeof load->err, calls[i].rv, "cannot reload: the server has stopped");
            end_load(load);
        }
    }
    mem_free(calls);
    return rv;
}

/* Until nothing runs any more, or a time. Under the lock. */
static void wait_until(struct loading *loading, int64_t end_ns)
{
    const struct timespec end = thread_until(end_ns);
    int error = 0;
    while (loading->running > 0 && error != ETIMEDOUT) {
        error = pthread_cond_timedwait(&loading->has_news, &loading->lock, &end);
    }
}

void loading_wait(struct loading *loading, uint64_t timeout_ms)
{
    int64_t end_ns = sys_now_ns() + ((int64_t)timeout_ms + LOADING_GRACE_MS) * NS_PER_MS;
    pthread_mutex_lock(&loading->lock);
    wait_until(loading, end_ns);
    pthread_mutex_unlock(&loading->lock);
}

bool loading_is_over(struct loading *loading)
{
    pthread_mutex_lock(&loading->lock);
    bool is_over = loading->running == 0;
    pthread_mutex_unlock(&loading->lock);
    return is_over;
}

/* Leave one behind that is not over. Under the lock. Returns whether it was. */
static bool leave_behind(struct loading *loading, struct load *load)
{
    if (load->is_over) {
        return false;
    }
    atomic_store(&load->is_unwanted, true);
    load->is_left = true;
    loading->stuck++;
    loading->running--;
    pthread_detach(load->thread);
    return true;
}

int loading_take(struct loading *loading, struct offer **offers, char *err, size_t errlen)
{
    int rv = 0;
    pthread_mutex_lock(&loading->lock);
    for (unsigned i = 0; i < loading->count; i++) {
        struct load *load = loading->loads[i];
        offers[i] = NULL;
        if (leave_behind(loading, load)) {
            rv = error_text(err, errlen, -ETIMEDOUT,
                            "%s: it has not loaded within %llu ms (reload_timeout), and cannot be stopped: it is "
                            "in a C function that does not return, such as a read from a pipe",
                            load->plan->config.script == NULL ? "the site" : load->plan->config.script,
                            (unsigned long long)load->limit.timeout_ms);
            loading->loads[i] = NULL;
        } else {
            offers[i] = load->offer;
            load->offer = NULL;
        }
    }
    if (loading->is_cancelled) {
        rv = error_text(err, errlen, -ESHUTDOWN, "cannot reload: the server has stopped");
    } else if (rv == 0 && loading->failed != NULL) {
        rv = error_text(err, errlen, loading->failed->rv, "%s", loading->failed->err);
    }
    pthread_mutex_unlock(&loading->lock);
    for (unsigned i = 0; i < loading->count; i++) {
        struct load *load = loading->loads[i];
        if (load != NULL && load->has_thread) {
            pthread_join(load->thread, NULL);
            load->has_thread = false;
        }
    }
    return rv;
}

void loading_done(struct loading *loading)
{
    pthread_mutex_lock(&loading->lock); /* another worker may end at this moment: loading_cancel() */
    free_loads(loading);
    pthread_mutex_unlock(&loading->lock);
}

void loading_cancel(struct loading *loading)
{
    pthread_mutex_lock(&loading->lock);
    loading->is_cancelled = true;
    stop_scripts(loading);
    pthread_mutex_unlock(&loading->lock);
}

void loading_wait_end(struct loading *loading)
{
    int64_t end_ns = sys_now_ns() + (int64_t)LOADING_END_MS * NS_PER_MS;
    pthread_mutex_lock(&loading->lock);
    wait_until(loading, end_ns);
    pthread_mutex_unlock(&loading->lock);
}

void loading_release(struct loading *loading)
{
    pthread_mutex_lock(&loading->lock);
    loading->is_released = true;
    bool is_last = loading->stuck == 0;
    pthread_mutex_unlock(&loading->lock);
    if (is_last) {
        destroy(loading);
    }
}
