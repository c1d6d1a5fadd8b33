/* The front door: composes reactors, sites, scripts and servers into one handle.
 *
 * A worker is what one thread serves with: a reactor, a server, and an offer, which is what it serves: a site with the
 * C routes and the script that fill it. Order of building: log; for each worker reactor and offer (site, root, C
 * routes, script, settings of the config, which win); for each worker server, listeners, the script's start functions;
 * threads at last. Freeing goes the other way.
 *
 * A reload makes a new offer for each worker, on the worker's thread, since a script sets timers on its reactor; when
 * all of them are there, each worker's server goes on to the new one. The old one is retired: it is freed when the last
 * request that began with it is over, at the end of a tick, because a function of its script may be what let go of it.
 *
 * The file is long because the house has one front door; its parts, in order: offers, starting, running, reloading,
 * telling, describing.
 *
 * Threads share nothing but the handle, of which they change nothing: stopping and posting go through the worker they
 * are meant for, numbers are read from all. */

#include "evserve.h"

#include "core/file_stamps.h"
#include "core/log.h"
#include "core/mailbox.h"
#include "core/mem.h"
#include "core/net.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/evs.h"
#include "http/evs_config.h"
#include "http/route_table.h"
#include "http/server.h"
#include "http/site.h"
#include "http/static_files.h"
#include "lua/script.h"
#include "version.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    NO_STOP = -1,
    LISTEN_MAX = 4096,
    REAP_MS = 100,         /* how often a retired script is asked whether it is still busy */
    RETIRED_MS_MAX = 60000 /* how long it may be, after its last request */
};

static const char default_address[] = "127.0.0.1:8080";

/* What a worker serves. */
struct offer {
    struct worker *worker; /* whose it is */
    struct offer *next;    /* among the retired */
    struct site *site;
    struct evs_routes *routes; /* in C, NULL without any */
    struct script *script;     /* NULL without one */
    int64_t unused_ms;         /* of a retired one: when its last request was over, 0 before */
};

/* What one thread serves with. */
struct worker {
    evserve *owner;
    struct reactor *reactor;
    struct mailbox mailbox; /* calls of other threads; there as soon as the reactor is */
    struct offer *offer;    /* what new requests get */
    struct offer *next;     /* what a reload has made, until all workers have theirs; else NULL */
    struct offer *retired;  /* what requests in flight, or what they left behind, may still use */
    uint64_t reap_timer;    /* to look at the retired again, 0 while none is set */
    struct server *server;
    pthread_t thread;        /* of has_thread */
    bool has_thread;         /* it runs on a thread of ours, which is not joined yet */
    bool is_over;            /* it has drained, or its loop failed */
    int error;               /* of the loop that failed, -errno, else 0 */
    unsigned cut;            /* connections that were cut */
    _Atomic int64_t stop_ms; /* drain time asked for and not yet acted on, or NO_STOP */
};

struct evserve {
    struct evserve_config config; /* our own copy, for reloads */
    struct log log;
    struct log host_log; /* the config's */
    pthread_mutex_t log_lock;
    struct file_stamps files; /* what the script is made of */
    atomic_bool is_reloading; /* one reload at a time */
    bool is_threaded;         /* workers have threads of their own */
    unsigned worker_count;
    struct worker workers[];
};

/* Offers. */

static void free_offer(struct offer *offer)
{
    if (offer != NULL) {
        script_close(offer->script);
        site_destroy(offer->site);
        evs_routes_destroy(offer->routes);
        mem_free(offer);
    }
}

static void note_file(void *arg, const char *path)
{
    evserve *server = arg;
    (void)file_stamps_note(&server->files, path); /* one too many is not watched */
}

/* Fill the site of an offer with all that the config says. */
static int fill_offer(struct offer *offer, const struct evserve_config *config, char *err, size_t errlen)
{
    evserve *owner = offer->worker->owner;
    if (config->root != NULL) { /* before the script, whose own "/" then gives way */
        int rv = static_mounts_pin(offer->site->mounts, "/", config->root, err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    if (config->routes != NULL) {
        int rv = evs_routes_create(&offer->routes, config->routes, offer->site->router, err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    if (config->script != NULL) {
        struct script_host host = {
            .init = config->lua_init,
            .arg = config->arg,
            .settings.handler_cpu_ms = config->handler_cpu_ms,
            .settings.lua_memory_bytes = config->lua_memory,
            .settings.debug = config->debug != 0,
            .on_file = note_file,
            .on_file_arg = owner,
        };
        int rv = script_open(&offer->script, config->script, offer->site, offer->worker->reactor, &owner->log, &host,
                             err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    return evs_config_apply(&offer->site->limits, config, err, errlen);
}

/* Make what there is to serve. On the worker's thread. Returns 0, or -errno with a text in err. */
static int make_offer(struct worker *worker, struct offer **made, char *err, size_t errlen)
{
    struct offer *offer = mem_zalloc(sizeof *offer);
    int rv = offer == NULL ? -ENOMEM : site_create(&offer->site, &worker->owner->log);
    if (rv < 0) {
        mem_free(offer);
        return error_text(err, errlen, rv, "cannot start: %s", strerror(-rv));
    }
    offer->worker = worker;
    rv = fill_offer(offer, &worker->owner->config, err, errlen);
    if (rv < 0) {
        free_offer(offer);
        return rv;
    }
    *made = offer;
    return 0;
}

/* The limits of the whole server that each worker has its share of. */
static void share_limits(struct offer *offer)
{
    struct limits *limits = &offer->site->limits;
    unsigned count = offer->worker->owner->worker_count;
    limits->max_connections = (limits->max_connections + count - 1) / count;
    limits->max_connections_per_address = (limits->max_connections_per_address + count - 1) / count;
}

/* The reactor, and what there is to serve. */
static int load(struct worker *worker, char *err, size_t errlen)
{
    int rv = reactor_create(&worker->reactor, &worker->owner->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", strerror(-rv));
    }
    mailbox_init(&worker->mailbox, worker->reactor);
    return make_offer(worker, &worker->offer, err, errlen);
}

/* Call fn with each address to listen on: the config's, else the script's, else the default one; and with the place in
 * the script that asked for it, or NULL. */
static int each_address(const struct script *script, const struct evserve_config *config,
                        int (*fn)(void *arg, const char *address, const char *place), void *arg)
{
    const char *address = config->listen;
    if (address != NULL && strcmp(address, "none") == 0) {
        return 0;
    }
    if (address == NULL) {
        int rv = 0;
        for (size_t n = 0; rv >= 0; n++) {
            address = script == NULL ? NULL : script_listen(script, n);
            if (address == NULL) {
                return n == 0 ? fn(arg, default_address, NULL) : rv;
            }
            rv = fn(arg, address, script_listen_place(script, n));
        }
        return rv;
    }
    int rv = 0;
    bool has_one = false;
    while (rv >= 0 && *address != '\0') {
        address += strspn(address, ", ");
        size_t len = strcspn(address, ",");
        if (len > 0) {
            char one[LISTEN_MAX];
            snprintf(one, sizeof one, "%.*s", (int)len, address);
            rv = fn(arg, one, NULL);
            has_one = true;
        }
        address += len;
    }
    return has_one ? rv : fn(arg, config->listen, NULL); /* a list of nothing is a mistake, and is told to be one */
}

struct listen_call {
    struct server *server;
    bool is_shared; /* others will join */
    char *err;
    size_t errlen;
};

static int listen_on(void *arg, const char *address, const char *place)
{
    struct listen_call *call = arg;
    char err[EVSERVE_ERROR_MAX];
    int rv = call->is_shared ? server_listen_shared(call->server, address, err, sizeof err)
                             : server_listen(call->server, address, err, sizeof err);
    return rv >= 0 ? rv
                   : error_text(call->err, call->errlen, rv, "%s%s%s", place == NULL ? "" : place,
                                place == NULL ? "" : ": ", err);
}

/* The server on top of what was loaded. The first worker binds the addresses, the others join it. */
static int open_server(struct worker *worker, char *err, size_t errlen)
{
    const evserve *owner = worker->owner;
    struct script *script = worker->offer->script;
    share_limits(worker->offer);
    int rv = server_create(&worker->server, worker->reactor, worker->offer->site, &owner->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", strerror(-rv));
    }
    server_set_owner(worker->server, worker->owner, (unsigned)(worker - owner->workers));
    if (worker == owner->workers) {
        bool is_shared = owner->worker_count > 1;
        struct listen_call call = {.server = worker->server, .is_shared = is_shared, .err = err, .errlen = errlen};
        rv = each_address(script, &owner->config, listen_on, &call);
    } else {
        rv = server_join(worker->server, owner->workers[0].server, err, errlen);
    }
    if (rv < 0) {
        return rv;
    }
    return script == NULL ? 0 : script_start(script, worker->server, err, errlen);
}

/* Lines of several threads come one after the other. */
static void write_locked(void *arg, int level, const char *line)
{
    evserve *server = arg;
    pthread_mutex_lock(&server->log_lock);
    server->host_log.sink(server->host_log.arg, level, line);
    pthread_mutex_unlock(&server->log_lock);
}

/* A handle with nothing in it yet. */
static evserve *create(const struct evserve_config *config)
{
    unsigned count = config->reactors == 0 ? 1 : config->reactors;
    evserve *server = mem_zalloc(sizeof *server + count * sizeof server->workers[0]);
    if (server == NULL || evs_config_keep(&server->config, config) < 0) {
        if (server != NULL) {
            evs_config_drop(&server->config);
        }
        mem_free(server);
        return NULL;
    }
    enum log_level level = config->log_level == 0 ? LOG_INFO : (enum log_level)config->log_level;
    server->host_log = (struct log){.sink = config->log, .arg = config->arg, .level = level};
    server->log = server->host_log;
    if (config->reactors > 0 && config->log != NULL) {
        server->log = (struct log){.sink = write_locked, .arg = server, .level = level};
    }
    pthread_mutex_init(&server->log_lock, NULL);
    file_stamps_init(&server->files);
    server->is_threaded = config->reactors > 0;
    server->worker_count = count;
    for (unsigned i = 0; i < count; i++) {
        server->workers[i].owner = server;
        atomic_init(&server->workers[i].stop_ms, NO_STOP);
    }
    return server;
}

int evserve_post(evserve *server, void (*fn)(void *arg), void *arg)
{
    return evserve_post_to(server, 0, fn, arg);
}

int evserve_post_to(evserve *server, unsigned thread, void (*fn)(void *arg), void *arg)
{
    return thread < server->worker_count ? mailbox_post(&server->workers[thread].mailbox, fn, arg) : -EINVAL;
}

/* Running. */

static void on_drained(void *arg, unsigned cut)
{
    struct worker *worker = arg;
    worker->is_over = true;
    worker->cut = cut;
    reactor_stop(worker->reactor);
}

/* Act on evserve_stop(), if it was called. */
static void heed_stop(struct worker *worker)
{
    int64_t stop_ms = atomic_exchange(&worker->stop_ms, NO_STOP);
    if (stop_ms != NO_STOP) {
        server_drain(worker->server, (uint32_t)stop_ms, on_drained, worker);
    }
}

/* What comes after the last turn, on the worker's thread still. */
static void end_worker(struct worker *worker, int error)
{
    worker->is_over = true;
    worker->error = error;
    mailbox_close(&worker->mailbox);
    if (worker->offer->script != NULL) {
        script_stop(worker->offer->script);
    }
    if (error < 0) {
        log_write(&worker->owner->log, LOG_ERROR, "the event loop failed: %s", strerror(-error));
        evserve_stop(worker->owner, 0); /* the others would wait for ever */
    }
}

/* Serve until drained. */
static void run_worker(struct worker *worker)
{
    if (worker->is_over) {
        return;
    }
    int rv = 0;
    mailbox_enter(&worker->mailbox);
    while (rv == 0 && !worker->is_over) {
        rv = reactor_run(worker->reactor);
        heed_stop(worker);
    }
    end_worker(worker, rv);
    mailbox_leave(&worker->mailbox);
}

static void *run_thread(void *arg)
{
    run_worker(arg);
    return NULL;
}

/* Signals belong to the host's threads, but for those of faults: it may have a handler that reports them. */
static void block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        sigdelset(&all, faults[i]);
    }
    pthread_sigmask(SIG_SETMASK, &all, before);
}

static int start_threads(evserve *server, char *err, size_t errlen)
{
    int rv = 0;
    sigset_t before;
    block_signals(&before); /* a thread begins with the mask of the one that makes it */
    for (unsigned i = 0; i < server->worker_count && rv == 0; i++) {
        struct worker *worker = &server->workers[i];
        rv = pthread_create(&worker->thread, NULL, run_thread, worker);
        worker->has_thread = rv == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv == 0 ? 0
                   : error_text(err, errlen, -rv, "cannot start %u threads: %s", server->worker_count, strerror(rv));
}

evserve *evserve_start(const struct evserve_config *config, char *err, size_t errlen)
{
    struct evserve_config copy;
    if (evs_config_read(&copy, config, err, errlen) < 0) {
        return NULL;
    }
    evserve *server = create(&copy);
    if (server == NULL) {
        error_text(err, errlen, 0, "cannot start: %s", strerror(ENOMEM));
        return NULL;
    }
    int rv = 0;
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        rv = load(&server->workers[i], err, errlen);
    }
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        rv = open_server(&server->workers[i], err, errlen);
    }
    if (rv >= 0 && server->is_threaded) {
        rv = start_threads(server, err, errlen);
    }
    if (rv < 0) {
        evserve_free(server);
        return NULL;
    }
    return server;
}

int evserve_wait(evserve *server)
{
    int rv = 0;
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        if (worker->has_thread) {
            pthread_join(worker->thread, NULL);
            worker->has_thread = false;
        } else {
            run_worker(worker);
        }
        rv = rv < 0 ? rv : worker->error < 0 ? worker->error : rv + (int)worker->cut;
    }
    return rv;
}

int evserve_fd(evserve *server)
{
    return server->is_threaded ? -EINVAL : reactor_fd(server->workers[0].reactor);
}

int evserve_poll(evserve *server, int timeout_ms)
{
    struct worker *worker = &server->workers[0];
    if (server->is_threaded) {
        return -EINVAL;
    }
    if (worker->is_over) {
        return worker->error;
    }
    mailbox_enter(&worker->mailbox);
    int rv = reactor_run_once(worker->reactor, timeout_ms);
    if (rv >= 0) {
        heed_stop(worker); /* whose call has woken the loop, or will */
    }
    if (rv < 0 || worker->is_over) {
        end_worker(worker, rv < 0 ? rv : 0);
    }
    mailbox_leave(&worker->mailbox);
    return worker->is_over ? worker->error : 1;
}

void evserve_stop(evserve *server, uint32_t drain_ms)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        atomic_store(&server->workers[i].stop_ms, drain_ms);
        reactor_stop(server->workers[i].reactor);
    }
}

static void free_worker(struct worker *worker)
{
    if (worker->reactor == NULL) {
        return;
    }
    mailbox_close(&worker->mailbox);
    server_destroy(worker->server);
    free_offer(worker->next);
    free_offer(worker->offer);
    while (worker->retired != NULL) {
        struct offer *next = worker->retired->next;
        free_offer(worker->retired);
        worker->retired = next;
    }
    mailbox_done(&worker->mailbox);
    reactor_destroy(worker->reactor);
}

void evserve_free(evserve *server)
{
    if (server == NULL) {
        return;
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        if (worker->has_thread) {
            evserve_stop(server, 0);
            pthread_join(worker->thread, NULL);
            worker->has_thread = false;
        }
    }
    for (unsigned i = server->worker_count; i > 0; i--) { /* the first one has what others joined */
        free_worker(&server->workers[i - 1]);
    }
    file_stamps_done(&server->files);
    pthread_mutex_destroy(&server->log_lock);
    evs_config_drop(&server->config);
    mem_free(server);
}

int evserve_adopt(evserve *server, int fd)
{
    if (server->is_threaded) {
        sys_close(fd);
        return -EINVAL;
    }
    return server_adopt(server->workers[0].server, fd);
}

/* Reloading. */

/* One worker's part of a reload. */
struct errand {
    struct worker *worker;
    int rv;                      /* of making the offer */
    char err[EVSERVE_ERROR_MAX]; /* why it failed */
};

/* A script may not ask for other addresses than the ones the server has. */
static int check_addresses(const struct offer *next, char *err, size_t errlen)
{
    const struct evserve_config *config = &next->worker->owner->config;
    const struct script *before = next->worker->offer->script;
    for (size_t n = 0; config->listen == NULL && config->script != NULL; n++) {
        const char *was = script_listen(before, n);
        const char *is = script_listen(next->script, n);
        if (was == NULL && is == NULL) {
            break;
        }
        if (was == NULL || is == NULL || strcmp(was, is) != 0) {
            return error_text(
                err, errlen, -EINVAL,
                "%s: app.listen has changed from %s to %s: a reload keeps the addresses; start the server "
                "anew for that",
                config->script, was == NULL ? "nothing" : was, is == NULL ? "nothing" : is);
        }
    }
    return 0;
}

static void prepare_offer(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    struct offer *next = NULL;
    errand->rv = make_offer(worker, &next, errand->err, sizeof errand->err);
    if (next == NULL) {
        return;
    }
    share_limits(next);
    errand->rv = check_addresses(next, errand->err, sizeof errand->err);
    if (errand->rv == 0 && next->script != NULL) {
        errand->rv = script_start(next->script, worker->server, errand->err, sizeof errand->err);
    }
    if (errand->rv < 0) {
        free_offer(next);
        return;
    }
    worker->next = next;
}

static void discard_offer(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    if (worker->next != NULL && worker->next->script != NULL) {
        script_stop(worker->next->script);
    }
    free_offer(worker->next);
    worker->next = NULL;
}

static void reap(struct worker *worker);

static void on_reap_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct worker *worker = arg;
    worker->reap_timer = 0;
    reap(worker);
}

/* Whether a retired offer can be freed: no request uses it, and its script has nothing left to do, or had time enough. */
static bool is_done_with(struct offer *offer, int64_t now_ms)
{
    if (offer->site->pins > 0) {
        return false;
    }
    offer->unused_ms = offer->unused_ms == 0 ? now_ms : offer->unused_ms;
    return offer->script == NULL || !script_is_busy(offer->script) || now_ms - offer->unused_ms > RETIRED_MS_MAX;
}

/* Free what nobody uses any more. Who is still busy is asked again later. */
static void reap(struct worker *worker)
{
    bool is_waiting = false;
    for (struct offer **at = &worker->retired; *at != NULL;) {
        struct offer *offer = *at;
        if (is_done_with(offer, reactor_now_ms(worker->reactor))) {
            *at = offer->next;
            free_offer(offer);
        } else {
            is_waiting = is_waiting || offer->site->pins == 0;
            at = &offer->next;
        }
    }
    if (is_waiting && worker->reap_timer == 0) {
        worker->reap_timer = reactor_set_timeout(worker->reactor, REAP_MS, on_reap_timer, worker);
    }
}

static void on_reap(struct reactor *reactor, void *arg)
{
    (void)reactor;
    reap(arg);
}

/* Without memory for the task the next reload, or evserve_free(), does it. */
static void on_unpinned(void *arg)
{
    struct worker *worker = arg;
    (void)reactor_defer(worker->reactor, on_reap, worker);
}

static void swap_offer(void *arg)
{
    struct errand *errand = arg;
    struct worker *worker = errand->worker;
    struct offer *old = worker->offer;
    worker->offer = worker->next;
    worker->next = NULL;
    server_set_site(worker->server, worker->offer->site);
    if (old->script != NULL) {
        script_retire(old->script);
    }
    old->site->on_unpinned = on_unpinned;
    old->site->on_unpinned_arg = worker;
    old->next = worker->retired;
    worker->retired = old;
    on_unpinned(worker);
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

/* With room for one errand and one call of each worker. */
static int reload(evserve *server, struct errand *errands, struct mailbox_call *calls, char *err, size_t errlen)
{
    unsigned count = server->worker_count;
    for (unsigned i = 0; i < count; i++) {
        errands[i].worker = &server->workers[i];
    }
    int rv = run_errands(errands, calls, count, prepare_offer, err, errlen);
    if (rv < 0) {
        (void)run_errands(errands, calls, count, discard_offer, NULL, 0);
        return rv;
    }
    return run_errands(errands, calls, count, swap_offer, err, errlen);
}

int evserve_reload(evserve *server, char *err, size_t errlen)
{
    if (atomic_exchange(&server->is_reloading, true)) {
        return error_text(err, errlen, -EBUSY, "cannot reload: another reload is under way");
    }
    struct errand *errands = mem_zalloc(server->worker_count * sizeof *errands);
    struct mailbox_call *calls = mem_zalloc(server->worker_count * sizeof *calls);
    int rv = errands == NULL || calls == NULL ? error_text(err, errlen, -ENOMEM, "cannot reload: %s", strerror(ENOMEM))
                                              : reload(server, errands, calls, err, errlen);
    mem_free(errands);
    mem_free(calls);
    atomic_store(&server->is_reloading, false);
    return rv;
}

int evserve_changed(evserve *server)
{
    return file_stamps_changed(&server->files);
}

/* Telling. */

const char *evserve_address(const evserve *server, unsigned listener)
{
    return server_address(server->workers[0].server, listener);
}

int evserve_port(const evserve *server, unsigned listener)
{
    return server_port(server->workers[0].server, listener);
}

int evserve_stats(const evserve *server, struct evs_stats *stats)
{
    size_t size = stats->size;
    if (size < offsetof(struct evs_stats, accepted) || size > sizeof *stats) {
        return -EINVAL;
    }
    struct evs_stats sum = {.size = size};
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct server_stats one;
        server_get_stats(server->workers[i].server, &one);
        sum.accepted += one.accepted;
        sum.active += one.connections;
        sum.requests += one.requests;
        for (size_t n = 0; n < sizeof sum.by_class / sizeof sum.by_class[0]; n++) {
            sum.by_class[n] += one.by_class[n];
        }
        sum.bytes_received += one.bytes_received;
        sum.bytes_sent += one.bytes_sent;
        sum.timeouts += one.timeouts;
        sum.errors += one.lost;
    }
    memcpy(stats, &sum, size);
    return 0;
}

const char *evserve_version(void)
{
    return EVSERVE_VERSION;
}

/* Describing. */

struct check_call {
    void (*line)(void *arg, const char *text);
    void *arg;
    char *err;
    size_t errlen;
};

enum { CHECK_LINE_MAX = 2048 };

static int describe_address(void *arg, const char *address, const char *place)
{
    (void)place; /* the script's are checked when it asks */
    struct check_call *call = arg;
    struct net_address parsed;
    int rv = net_address_parse(&parsed, address, call->err, call->errlen);
    if (rv < 0) {
        return rv;
    }
    char text[CHECK_LINE_MAX];
    snprintf(text, sizeof text, "listen  %s", address);
    call->line(call->arg, text);
    return 0;
}

/* The rows of a table whose values, in the struct that values is, are not the defaults. */
static void describe_settings(const struct limit_info *table, size_t len, const void *values,
                              const struct check_call *call)
{
    for (size_t i = 0; i < len; i++) {
        const struct limit_info *info = &table[i];
        uint64_t value;
        memcpy(&value, (const char *)values + info->offset, sizeof value);
        if (value != info->initial) {
            char text[CHECK_LINE_MAX];
            snprintf(text, sizeof text, "set     %s = %llu%s", info->name, (unsigned long long)value,
                     info->unit == LIMIT_MS ? " ms" : "");
            call->line(call->arg, text);
        }
    }
}

/* Load what config says, and describe all of it or the routes alone. */
static int describe(const struct evserve_config *config, bool is_whole, struct check_call *call)
{
    struct evserve_config copy;
    if (evs_config_read(&copy, config, call->err, call->errlen) < 0) {
        return -1;
    }
    evserve *server = create(&copy);
    if (server == NULL) {
        return error_text(call->err, call->errlen, -1, "cannot check: %s", strerror(ENOMEM));
    }
    int rv = load(&server->workers[0], call->err, call->errlen);
    const struct offer *offer = server->workers[0].offer;
    if (rv >= 0 && is_whole) {
        describe_settings(limit_table, limit_table_len, &offer->site->limits, call);
        if (offer->script != NULL) {
            describe_settings(setting_table, setting_table_len, script_settings(offer->script), call);
        }
        rv = each_address(offer->script, &copy, describe_address, call);
    }
    if (rv >= 0) {
        rv = route_table_write(offer->site, call->line, call->arg);
        rv = rv < 0 ? error_text(call->err, call->errlen, rv, "cannot check: %s", strerror(-rv)) : rv;
    }
    evserve_free(server);
    return rv < 0 ? -1 : 0;
}

int evserve_check(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                  size_t errlen)
{
    struct check_call call = {.line = line, .arg = arg, .err = err, .errlen = errlen};
    return describe(config, true, &call);
}

int evserve_routes(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                   size_t errlen)
{
    struct check_call call = {.line = line, .arg = arg, .err = err, .errlen = errlen};
    return describe(config, false, &call);
}
