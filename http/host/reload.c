/* Happy path: the new offers are made beside the workers (loading.c). When all of them are, each worker adopts its own,
 * and goes on to it; the old one is retired.
 *
 * reload_now() waits in the calling thread. reload_later() waits in the loop of the first worker: a call in its mailbox
 * begins, another one tells that all is loaded, and a timer notices a script that is stuck.
 *
 * Failure modes: an offer that cannot be made for one worker is a text in err; the offers of the others are thrown
 * away. Certificates that cannot be used are a line in the log, and the former ones stay. */

#include "http/host/reload.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "http/host/confine.h"
#include "http/host/meter.h"
#include "http/host/new_addresses.h"
#include "http/host/offer.h"
#include "http/host/plan.h"
#include "http/host/worker.h"
#include "http/host/worker_take.h"
#include "http/metrics_board.h"
#include "http/server.h"

#include <errno.h>

void reload_init(struct reload *reload, struct worker *workers, unsigned count, uint64_t timeout_ms,
                 void (*on_last)(void *owner), void *owner)
{
    *reload = (struct reload){.workers = workers,
                              .count = count,
                              .timeout_ms = timeout_ms == 0 ? RELOAD_TIMEOUT_MS : timeout_ms};
    atomic_init(&reload->is_busy, false);
    atomic_init(&reload->succeeded, 0);
    atomic_init(&reload->failed, 0);
    atomic_init(&reload->has_failed, false);
    loading_init(&reload->loading, on_last, owner);
}

/* Going on to what is loaded. */

/* One worker's part of a reload. */
struct errand {
    struct worker *worker;
    struct offer *offer;         /* that was made for it; NULL once the worker has it, or it is destroyed */
    bool has_opened;             /* the listeners from number on are new, and held */
    unsigned number;             /* of the first new listener */
    uint32_t gone;               /* listeners that the reload closes */
    int rv;                      /* of taking it */
    char err[EVSERVE_ERROR_MAX]; /* why that failed */
};

static void take_offer(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    bool is_confined = worker->plan->config.sandbox != 0;
    errand->rv = is_confined ? confine_check(worker->offer, errand->offer, errand->err, sizeof errand->err) : 0;
    if (errand->rv == 0) {
        worker->next = errand->offer;
        errand->offer = NULL;
        errand->rv = offer_adopt(worker->next, worker->server);
    }
    if (errand->rv == -ENOMEM) {
        (void)error_text(errand->err, sizeof errand->err, -ENOMEM, "cannot reload: %s", errno_text(ENOMEM));
    }
}

/* The first worker opens new addresses, then the others join it. */
static void open_new(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    errand->number = server_count_listeners(worker->server);
    errand->has_opened = true;
    if (worker->number == 0) {
        errand->rv = new_addresses_open(worker, worker->next, &errand->gone, errand->err, sizeof errand->err);
    } else {
        errand->rv = server_join(worker->server, worker->all[0].server, errand->err, sizeof errand->err);
        server_hold_listeners(worker->server, errand->number);
    }
}

static void discard_offer(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    if (errand->has_opened) {
        server_drop_listeners(worker->server, errand->number);
    }
    if (errand->offer != NULL) {
        (void)offer_adopt(errand->offer, worker->server); /* its "stop" functions may do what they like */
        worker->next = errand->offer;
        errand->offer = NULL;
    }
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
        log_write(worker->log, LOG_ERROR, "the access log stays as it was, or that of a host is left out: %s",
                  errno_text(ENOMEM));
    }
    if (meter_take(&worker->meter, worker->server, worker->number, &worker->offer) < 0) {
        log_write(worker->log, LOG_ERROR, "requests are not counted by route: %s", errno_text(ENOMEM));
    }
    server_set_site(worker->server, worker->offer->site);
    worker_take_stalls(worker);
    worker_take_outbound(worker);
    worker_take_broker(worker);
    worker_take_tls(worker);
    if (worker->is_stopping) {
        server_drop_listeners(worker->server, errand->number); /* it has, or will, let go of the others */
    } else {
        server_settle_listeners(worker->server, errand->gone);
    }
    if (worker->number == 0 && !worker->is_stopping) {
        new_addresses_log(worker, errand->number, errand->gone);
    }
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

/* Go on to the offers, or throw them away: rv is that of making them. */
static int use_offers(struct errand *errands, struct mailbox_call *calls, unsigned count, int rv, char *err,
                      size_t errlen)
{
    struct worker *workers = errands[0].worker;
    rv = rv < 0 ? rv : run_errands(errands, calls, count, take_offer, err, errlen);
    rv = rv < 0 ? rv : run_errands(errands, calls, 1, open_new, err, errlen);
    rv = rv < 0 ? rv : run_errands(errands + 1, calls, count - 1, open_new, err, errlen);
    rv = rv < 0 ? rv : plan_open_access(workers[0].plan, workers[0].next, err, errlen);
    for (unsigned i = 1; i < count; i++) {
        errands[i].gone = errands[0].gone;
    }
    if (rv < 0) {
        (void)run_errands(errands, calls, count, discard_offer, NULL, 0);
    } else {
        plan_reload_tls(workers[0].plan, workers[0].next);
        rv = run_errands(errands, calls, count, swap_offer, err, errlen);
    }
    for (unsigned i = 0; i < count; i++) {
        offer_destroy(errands[i].offer); /* the worker has ended */
    }
    return rv;
}

/* All is loaded, or nobody waits any longer. */
static int finish_reload(struct reload *reload, char *err, size_t errlen)
{
    struct reload_room *room = &reload->room;
    int rv = loading_take(&reload->loading, room->offers, err, errlen);
    for (unsigned i = 0; i < reload->count; i++) {
        room->errands[i] = (struct errand){.worker = &reload->workers[i], .offer = room->offers[i]};
    }
    rv = use_offers(room->errands, room->calls, reload->count, rv, err, errlen);
    loading_done(&reload->loading);
    return rv;
}

/* The whole. */

static void drop_room(struct reload *reload)
{
    mem_free(reload->room.errands);
    mem_free(reload->room.calls);
    mem_free(reload->room.offers);
    reload->room = (struct reload_room){0};
}

/* Begin to load, with all the memory that the rest will need. Returns as loading_begin(). */
static int begin_reload(struct reload *reload, const pthread_t *caller, void (*on_over)(void *arg), char *err,
                        size_t errlen)
{
    unsigned count = reload->count;
    reload->room = (struct reload_room){.errands = mem_zalloc(count * sizeof(struct errand)),
                                        .calls = mem_zalloc(count * sizeof(struct mailbox_call)),
                                        .offers = mem_zalloc(count * sizeof(struct offer *))};
    int rv = 0;
    if (reload->room.errands == NULL || reload->room.calls == NULL || reload->room.offers == NULL) {
        rv = error_text(err, errlen, -ENOMEM, "cannot reload: %s", errno_text(ENOMEM));
    }
    return rv < 0 ? rv
                  : loading_begin(&reload->loading, reload->workers, count, reload->timeout_ms, caller, on_over, reload,
                                  err, errlen);
}

/* It is over, one way or the other. */
static void end_reload(struct reload *reload, int rv)
{
    drop_room(reload);
    if (rv != -ESHUTDOWN) {
        atomic_fetch_add(rv < 0 ? &reload->failed : &reload->succeeded, 1);
        atomic_store(&reload->has_failed, rv < 0);
        metrics_board_note_reload(reload->workers[0].plan->board, rv >= 0);
    }
    atomic_store(&reload->is_busy, false);
}

/* Returns 0, or -EBUSY with a text. */
static int occupy(struct reload *reload, char *err, size_t errlen)
{
    return atomic_exchange(&reload->is_busy, true)
               ? error_text(err, errlen, -EBUSY, "cannot reload: another reload is under way")
               : 0;
}

int reload_now(struct reload *reload, char *err, size_t errlen)
{
    const pthread_t caller = pthread_self();
    int rv = occupy(reload, err, errlen);
    if (rv < 0) {
        return rv;
    }
    rv = begin_reload(reload, &caller, NULL, err, errlen);
    if (rv == 0) {
        loading_wait(&reload->loading, reload->timeout_ms);
        rv = finish_reload(reload, err, errlen);
    }
    end_reload(reload, rv);
    return rv;
}

/* In the loop of the first worker. */

static void tell_done(struct reload *reload, int rv, const char *err)
{
    reload_done_fn done = reload->done;
    void *arg = reload->arg;
    end_reload(reload, rv);
    if (done != NULL) {
        done(arg, rv, err); /* which may begin another one */
    }
}

static void finish_later(struct reload *reload)
{
    char err[EVSERVE_ERROR_MAX] = "";
    reload->is_waiting = false;
    if (reload->late_timer != 0) {
        reactor_cancel_timer(reload->workers[0].reactor, reload->late_timer);
        reload->late_timer = 0;
    }
    int rv = finish_reload(reload, err, sizeof err);
    tell_done(reload, rv, err);
}

/* A call may come late, after the timer. */
static void on_loaded(void *arg)
{
    struct reload *reload = arg;
    if (reload->is_waiting && loading_is_over(&reload->loading)) {
        finish_later(reload);
    }
}

/* On the thread of the last load. Without memory for the call, the timer finds out. */
static void tell_loaded(void *arg)
{
    struct reload *reload = arg;
    (void)mailbox_post(&reload->workers[0].mailbox, on_loaded, reload);
}

static void on_late(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct reload *reload = arg;
    reload->late_timer = 0;
    finish_later(reload);
}

static void begin_later(void *arg)
{
    struct reload *reload = arg;
    struct reactor *reactor = reload->workers[0].reactor;
    char err[EVSERVE_ERROR_MAX] = "";
    uint32_t late_ms = (uint32_t)(reload->timeout_ms + LOADING_GRACE_MS);
    reload->late_timer = reactor_set_timeout(reactor, late_ms, on_late, reload);
    int rv = reload->late_timer != 0 ? begin_reload(reload, NULL, tell_loaded, err, sizeof err)
                                     : error_text(err, sizeof err, -ENOMEM, "cannot reload: %s", errno_text(ENOMEM));
    reload->is_waiting = rv == 0;
    if (rv < 0) {
        reactor_cancel_timer(reactor, reload->late_timer);
        reload->late_timer = 0;
        tell_done(reload, rv, err);
    }
}

int reload_later(struct reload *reload, reload_done_fn done, void *arg, char *err, size_t errlen)
{
    int rv = occupy(reload, err, errlen);
    if (rv < 0) {
        return rv;
    }
    reload->done = done;
    reload->arg = arg;
    rv = mailbox_post(&reload->workers[0].mailbox, begin_later, reload);
    if (rv < 0) {
        rv = error_text(err, errlen, rv, "cannot reload: %s",
                        rv == -ESHUTDOWN ? "the server has stopped" : errno_text(-rv));
        atomic_store(&reload->is_busy, false);
    }
    return rv;
}

void reload_get_counts(const struct reload *reload, struct reload_counts *counts)
{
    *counts = (struct reload_counts){.succeeded = atomic_load(&reload->succeeded),
                                     .failed = atomic_load(&reload->failed),
                                     .has_failed = atomic_load(&reload->has_failed)};
}

void reload_cancel(struct reload *reload)
{
    loading_cancel(&reload->loading);
}

void reload_end(struct reload *reload)
{
    loading_cancel(&reload->loading);
    loading_wait_end(&reload->loading);
    if (reload->is_waiting) {
        finish_later(reload);
    }
}

void reload_release(struct reload *reload)
{
    loading_release(&reload->loading);
}
