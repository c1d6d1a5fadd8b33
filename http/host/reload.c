/* Happy path: each worker makes its new offer on its own thread, since a script sets timers on its reactor. When all
 * of them are made, each worker's server goes on to the new offer, and the old one is retired.
 *
 * Failure modes: an offer that one worker cannot make is a text in err; the offers of the others are thrown away.
 * Certificates that cannot be used are a line in the log, and the former ones stay. */

#include "http/host/reload.h"

#include "core/log.h"
#include "core/mem.h"
#include "http/fd_check.h"
#include "http/host/confine.h"
#include "http/host/meter.h"
#include "http/host/offer.h"
#include "http/host/plan.h"
#include "http/host/worker.h"
#include "http/limits.h"
#include "http/server.h"
#include "http/site.h"

#include <errno.h>

/* One worker's part of a reload. */
struct errand {
    struct worker *worker;
    int rv;                      /* of making the offer */
    char err[EVSERVE_ERROR_MAX]; /* why it failed */
};

/* The script may ask neither for addresses that the server does not have, nor for what a sandbox keeps away. */
static int check_offer(const struct worker *worker, const struct offer *next, char *err, size_t errlen)
{
    const struct evserve_config *config = &worker->plan->config;
    bool is_script = config->listen == NULL && config->script != NULL;
    int rv = is_script ? offer_check_addresses(worker->offer, next, config->script, err, errlen) : 0;
    return rv < 0 || config->sandbox == 0 ? rv : confine_check(worker->offer, next, err, errlen);
}

static void prepare_offer(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    bool is_first = worker->number == 0;
    struct offer *next = NULL;
    errand->rv = plan_make_offer(worker->plan, worker->reactor, is_first, &next, errand->err, sizeof errand->err);
    if (next == NULL) {
        return;
    }
    if (is_first) {
        fd_check(&next->site->limits, worker->log);
    }
    limits_share(&next->site->limits, worker->count);
    errand->rv = check_offer(worker, next, errand->err, sizeof errand->err);
    if (errand->rv == 0) {
        errand->rv = offer_start(next, worker->server, errand->err, sizeof errand->err);
    }
    if (errand->rv < 0) {
        offer_destroy(next);
        return;
    }
    worker->next = next;
}

static void discard_offer(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    if (worker->next != NULL) {
        offer_stop(worker->next);
    }
    offer_destroy(worker->next);
    worker->next = NULL;
}

static void swap_offer(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    struct offer *old = worker->offer;
    worker->offer = worker->next;
    worker->next = NULL;
    if (worker_take_access(worker) < 0) {
        log_write(worker->log, LOG_ERROR, "the access log stays as it was: %s", errno_text(ENOMEM));
    }
    if (meter_take(&worker->meter, server_service(worker->server), worker->number, &worker->offer) < 0) {
        log_write(worker->log, LOG_ERROR, "requests are not counted by route: %s", errno_text(ENOMEM));
    }
    server_set_site(worker->server, worker->offer->site);
    worker_take_tls(worker);
    retired_add(&worker->retired, old);
    if (worker->is_stopping) {
        offer_announce_stop(worker->offer);
    }
}

/* Do a part of each errand on its worker's thread. Returns 0, or the error of the first one that failed. */
static int run_errands(struct errand *errands, struct mailbox_call *calls, unsigned count, void (*fn)(void *errand),
                       char *err, size_t errlen)
{
    for (unsigned i = 0; i < count; i++) {
        calls[i] = (struct mailbox_call){.mailbox = &errands[i].worker->mailbox, .fn = fn, .arg = &errands[i]};
    }
    mailbox_call_all(calls, count);
    for (unsigned i = 0; i < count; i++) {
        if (calls[i].rv < 0) {
            return error_text(err, errlen, calls[i].rv, "cannot reload: the server has stopped");
        }
        if (errands[i].rv < 0) {
            return error_text(err, errlen, errands[i].rv, "%s", errands[i].err);
        }
    }
    return 0;
}

int reload_workers(struct worker *workers, unsigned count, char *err, size_t errlen)
{
    struct errand *errands = mem_zalloc(count * sizeof *errands);
    struct mailbox_call *calls = mem_zalloc(count * sizeof *calls);
    if (errands == NULL || calls == NULL) {
        mem_free(errands);
        mem_free(calls);
        return error_text(err, errlen, -ENOMEM, "cannot reload: %s", errno_text(ENOMEM));
    }
    for (unsigned i = 0; i < count; i++) {
        errands[i].worker = &workers[i];
    }
    int rv = run_errands(errands, calls, count, prepare_offer, err, errlen);
    rv = rv < 0 ? rv : plan_open_access(workers[0].plan, workers[0].next, err, errlen);
    if (rv < 0) {
        (void)run_errands(errands, calls, count, discard_offer, NULL, 0);
    } else {
        plan_reload_tls(workers[0].plan, workers[0].next);
        rv = run_errands(errands, calls, count, swap_offer, err, errlen);
    }
    mem_free(errands);
    mem_free(calls);
    return rv;
}
