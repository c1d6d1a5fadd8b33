/* Happy path: the loop runs; between two turns the worker acts on calls of other threads. After worker_stop() health
 * says so, and when drain_delay has passed the server drains; when no request is left, scripts have until the same
 * deadline for what they do beside requests; then the worker is over.
 *
 * Failure modes: a loop that fails ends the worker, and through on_failed the others. A callback that throws an
 * exception of C++, or ends its thread, has ended the worker, too. */

#include "http/host/worker.h"

#include "core/broker.h"
#include "core/log.h"
#include "core/reactor.h"
#include "core/thread.h"
#include "http/access_log.h"
#include "http/fd_check.h"
#include "http/host/evs_calls.h"
#include "http/host/evs_fetch.h"
#include "http/host/evs_hooks.h"
#include "http/host/evs_host.h"
#include "http/host/full_state.h"
#include "http/host/meter.h"
#include "http/host/offer.h"
#include "http/host/plan.h"
#include "http/host/worker_take.h"
#include "http/limits.h"
#include "http/metrics_board.h"
#include "http/server.h"
#include "http/site.h"
#include "http/site_parts.h"

#include <errno.h>

enum {
    NO_STOP = -1,
    QUIET_LOOK_MS = 10, /* how often a server that stops asks whether its scripts are still busy */
};

/* Starting. */

void worker_init(struct worker *worker)
{
    atomic_init(&worker->stop_ms, NO_STOP);
}

int worker_load(struct worker *worker, char *err, size_t errlen)
{
    int rv = reactor_create(&worker->reactor, worker->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", errno_text(-rv));
    }
    mailbox_init(&worker->mailbox, worker->reactor);
    evs_host_init(worker->host, worker->number, &worker->mailbox, worker->reactor, worker->log);
    retired_init(&worker->retired, worker->reactor);
    outbound_init(&worker->outbound, worker->reactor, worker->plan->jobs, worker->log);
    worker->outbound.links.policy.allowed = worker->plan->allowed;
    worker->host->outbound = &worker->outbound;
    topics_init(&worker->topics, worker->plan->hub, worker->number, worker->reactor);
    worker->host->base_fd = worker->plan->base_fd;
    return plan_make_offer(worker->plan, &worker->outbound, &worker->topics, worker->number, NULL, &worker->offer, err,
                           errlen);
}

/* Of struct service.free_fd: arg is the worker's outbound. */
static bool free_fd_of_worker(void *arg)
{
    struct outbound *outbound = arg;
    return kept_links_close_oldest(&outbound->kept) == 0;
}

int worker_open(struct worker *worker, const struct worker *first, char *err, size_t errlen)
{
    const struct evserve_config *config = &worker->plan->config;
    struct limits *limits = &worker->offer->site->limits;
    if (worker == first) {
        fd_check(limits, worker->log);
    }
    limits_share(limits, worker->count);
    int rv = server_create(&worker->server, worker->reactor, worker->offer->site, worker->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", errno_text(-rv));
    }
    evs_hooks_set(worker->server, config);
    struct service *service = server_service(worker->server);
    service->owner = worker->owner;
    service->owner_index = worker->number;
    service->free_fd = free_fd_of_worker;
    service->free_fd_arg = &worker->outbound;
    service->on_full = full_state_report;
    service->on_full_arg = worker->full;
    service->host = worker->host;
    service->topics = &worker->topics;
    metrics_board_join(worker->plan->board, worker->number, service);
    server_set_handed(worker->server, &worker->plan->handed);
    worker_take_stalls(worker);
    worker_take_outbound(worker);
    worker_take_broker(worker);
    rv = worker_take_first_tls(worker, err, errlen);
    if (rv < 0) {
        return rv;
    }
    rv = worker_take_access(worker);
    rv = rv < 0 ? rv : meter_take(&worker->meter, worker->server, worker->number, &worker->offer);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", errno_text(-rv));
    }
    if (worker == first) {
        rv = offer_listen(worker->offer, config->listen, worker->server, worker->count > 1, err, errlen);
    } else {
        rv = server_join(worker->server, first->server, err, errlen);
    }
    server_set_handed(worker->server, NULL); /* a reload opens its addresses */
    return rv < 0 ? rv : offer_start(worker->offer, worker->server, err, errlen);
}

/* Stopping. */

void worker_leave(struct worker *worker, int leaves)
{
    int none = WORKER_LEAVES_NONE;
    if (leaves == WORKER_LEAVES_FAILED) {
        atomic_compare_exchange_strong(&worker->leaves, &none, leaves);
    } else {
        atomic_store(&worker->leaves, leaves);
    }
}

/* The listening sockets are going to be closed. Returns whether another program serves them. */
static bool leave_listeners(struct worker *worker)
{
    int leaves = atomic_load(&worker->leaves);
    if (leaves > WORKER_LEAVES_FAILED || (leaves == WORKER_LEAVES_FAILED && worker->error < 0)) {
        server_leave_listeners(worker->server, leaves == WORKER_LEAVES_HANDED);
    }
    return leaves == WORKER_LEAVES_SERVED;
}

void worker_stop(struct worker *worker, uint32_t drain_ms)
{
    atomic_store(&worker->stop_ms, drain_ms);
    reactor_stop(worker->reactor);
}

void worker_wake(struct worker *worker)
{
    atomic_store(&worker->is_woken, true);
    reactor_stop(worker->reactor);
}

static void end_when_quiet(struct worker *worker);

static void on_quiet_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct worker *worker = arg;
    worker->quiet_timer = 0;
    end_when_quiet(worker);
}

static bool has_busy_script(const struct worker *worker)
{
    return offer_is_busy(worker->offer, worker->stop_by_ms) || retired_is_busy(&worker->retired, worker->stop_by_ms);
}

/* No request is left. What scripts do beside requests has until the deadline, too. */
static void end_when_quiet(struct worker *worker)
{
    if (reactor_now_ms(worker->reactor) < worker->stop_by_ms && has_busy_script(worker)) {
        worker->quiet_timer = reactor_set_timeout(worker->reactor, QUIET_LOOK_MS, on_quiet_timer, worker);
    }
    if (worker->quiet_timer == 0) {
        worker->is_over = true;
        reactor_stop(worker->reactor);
    }
}

static void on_drained(void *arg, unsigned cut)
{
    struct worker *worker = arg;
    worker->cut = cut;
    if (worker->quiet_timer != 0) { /* worker_stop() was called again */
        reactor_cancel_timer(worker->reactor, worker->quiet_timer);
        worker->quiet_timer = 0;
    }
    offer_end_timers(worker->offer);
    end_when_quiet(worker);
}

static void begin_stop(struct worker *worker, uint32_t drain_ms)
{
    bool has_deadline = drain_ms != EVSERVE_DRAIN_FOREVER;
    worker->stop_by_ms = has_deadline ? reactor_now_ms(worker->reactor) + drain_ms : INT64_MAX;
    offer_announce_stop(worker->offer);
    topics_flush(&worker->topics); /* what scripts have to say first */
    server_drain(worker->server, has_deadline ? drain_ms : SERVER_DRAIN_NEVER, on_drained, worker);
}

static void on_delay_over(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct worker *worker = arg;
    worker->delay_timer = 0;
    begin_stop(worker, worker->drain_ms);
}

/* Whether to wait first, so that balancers learn from app.health that they must send nothing more: for drain_delay
 * after the first call, unless there is no time at all. */
static bool delays_stop(struct worker *worker, uint32_t drain_ms)
{
    uint64_t delay_ms = worker->offer->site->limits.drain_delay_ms;
    if (drain_ms == 0 || server_address(worker->server, 0) == NULL) { /* nobody connects, as with --request */
        return false;
    }
    if (!worker->is_stopping && delay_ms > 0) {
        worker->delay_timer = reactor_set_timeout(worker->reactor, (uint32_t)delay_ms, on_delay_over, worker);
    }
    return worker->delay_timer != 0;
}

static void heed_stop(struct worker *worker, uint32_t drain_ms)
{
    const struct limits *limits = &worker->offer->site->limits;
    drain_ms = drain_ms == EVSERVE_DRAIN_TIMEOUT ? (uint32_t)limits->drain_timeout_ms : drain_ms;
    worker->drain_ms = drain_ms;
    bool is_replaced = leave_listeners(worker);
    if (is_replaced) {
        server_announce_replacement(worker->server);
    }
    server_announce_stop(worker->server);
    bool is_delayed = !is_replaced && delays_stop(worker, drain_ms); /* nobody needs to turn elsewhere */
    worker->is_stopping = true;
    if (is_delayed) {
        return;
    }
    if (worker->delay_timer != 0) {
        reactor_cancel_timer(worker->reactor, worker->delay_timer);
        worker->delay_timer = 0;
    }
    begin_stop(worker, drain_ms);
}

/* Act on worker_wake() and worker_stop(), if they were called. */
static void heed_calls(struct worker *worker)
{
    const struct evserve_config *config = &worker->plan->config;
    if (atomic_exchange(&worker->is_woken, false) && config->on_wake != NULL) {
        config->on_wake(config->arg);
    }
    int64_t stop_ms = atomic_exchange(&worker->stop_ms, NO_STOP);
    if (stop_ms != NO_STOP) {
        heed_stop(worker, (uint32_t)stop_ms);
    }
}

/* After the last turn, still on the worker's thread. */
static void end_worker(struct worker *worker, int error)
{
    worker->is_over = true;
    worker->error = error < 0 ? error : worker->error; /* full_state.c may have set one */
    worker->on_ended(worker->owner);
    evs_host_end(worker->host);
    evs_calls_end(worker->host);
    evs_fetches_end(worker->host);
    mailbox_close(&worker->mailbox);
    offer_stop(worker->offer);
    retired_stop(&worker->retired);
    if (worker->access != NULL) {
        access_log_flush(worker->access);
    }
    if (error < 0) {
        log_write(worker->log, LOG_ERROR, "the event loop failed: %s", errno_text(-error));
        worker->on_failed(worker->owner); /* the others would wait forever */
    }
}

/* Running. */

/* Take the loop for the calling thread, until end_turn(). Returns 0, or -EBUSY. */
static int begin_turn(struct worker *worker)
{
    int rv = atomic_load(&worker->is_turning) ? -EBUSY : mailbox_enter(&worker->mailbox);
    if (rv == 0) {
        atomic_store(&worker->is_turning, true);
    }
    return rv;
}

static void end_turn(struct worker *worker)
{
    atomic_store(&worker->is_turning, false);
    mailbox_leave(&worker->mailbox);
}

/* Called when a function that has begun a turn is left. If it did not return, because a callback has thrown an
 * exception of C++ or ended its thread, the state of the loop is unknown, so the server has ended. This file is
 * compiled with -fexceptions, which makes the compiler call this then, too. */
static void on_unwound(struct worker **turning)
{
    struct worker *worker = *turning;
    if (worker == NULL) {
        return;
    }
    log_write(worker->log, LOG_ERROR,
              "an exception, or the end of a thread, unwound the event loop of the server, which ends here: callbacks "
              "must catch what they throw");
    worker->is_over = true;
    worker->error = -ENOTRECOVERABLE;
    evs_host_end(worker->host);
    mailbox_refuse(&worker->mailbox);
    end_turn(worker);
}

#define UNWOUND __attribute__((cleanup(on_unwound)))

/* Serve until the worker is over. Returns 0, or -EBUSY in a callback. */
static int run_worker(struct worker *worker)
{
    if (worker->is_over) {
        return 0;
    }
    int rv = begin_turn(worker);
    if (rv < 0) {
        return rv;
    }
    UNWOUND struct worker *turning = worker;
    while (rv == 0 && !worker->is_over) {
        rv = reactor_run(worker->reactor);
        heed_calls(worker);
    }
    end_worker(worker, rv);
    turning = NULL;
    end_turn(worker);
    return 0;
}

int worker_poll(struct worker *worker, int timeout_ms)
{
    if (worker->is_over) {
        return worker->error;
    }
    int rv = begin_turn(worker);
    if (rv < 0) {
        return rv;
    }
    UNWOUND struct worker *turning = worker;
    rv = reactor_run_once(worker->reactor, timeout_ms);
    if (rv >= 0) {
        heed_calls(worker); /* which have woken the loop, or will */
    }
    if (rv < 0 || worker->is_over) {
        end_worker(worker, rv < 0 ? rv : 0);
    }
    turning = NULL;
    end_turn(worker);
    return worker->is_over ? worker->error : 1;
}

static void *run_thread(void *arg)
{
    (void)run_worker(arg);
    return NULL;
}

int worker_start_thread(struct worker *worker)
{
    int rv = thread_start(&worker->thread, run_thread, worker);
    worker->has_thread = rv == 0;
    return rv;
}

int worker_wait(struct worker *worker)
{
    if (!worker->has_thread) {
        return run_worker(worker);
    }
    int error = pthread_join(worker->thread, NULL);
    worker->has_thread = error != 0;
    return -error;
}

/* Freeing. */

void worker_free(struct worker *worker)
{
    if (worker->reactor == NULL) {
        return;
    }
    evs_host_end(worker->host);
    evs_calls_end(worker->host);
    evs_fetches_end(worker->host);
    mailbox_close(&worker->mailbox);
    if (worker->server != NULL) {
        (void)leave_listeners(worker);
    }
    server_destroy(worker->server);
    access_log_destroy(worker->access);
    meter_done(&worker->meter);
    offer_destroy(worker->next);
    offer_destroy(worker->offer);
    retired_done(&worker->retired);
    broker_destroy(worker->broker);
    outbound_done(&worker->outbound);
    topics_done(&worker->topics);
    if (mailbox_is_mine(&worker->mailbox)) {
        mailbox_leave(&worker->mailbox);
    }
    mailbox_done(&worker->mailbox);
    evs_host_done(worker->host);
    reactor_destroy(worker->reactor);
}

void worker_abandon(struct worker *worker)
{
    server_abandon(worker->server);
    site_abandon(worker->offer->site);
    retired_abandon(&worker->retired);
    outbound_abandon(&worker->outbound);
    reactor_abandon(worker->reactor);
}
