/* The front door: composes reactors, offers and servers into one handle.
 *
 * A worker is what one thread serves with: a reactor, a server, and an offer, which is what it serves. Order of
 * building: log; for each worker reactor and offer (site, root, C routes, script, settings of the config, which win);
 * for each worker server, listeners, the script's start functions; threads at last. Freeing goes the other way.
 *
 * A reload makes a new offer for each worker, on the worker's thread, since a script sets timers on its reactor; when
 * all of them are there, each worker's server goes on to the new one, and the old one is retired.
 *
 * The parts, in order: offers, starting, running, reloading, telling, describing.
 *
 * Threads share nothing but the handle, of which they change nothing: stopping and posting go through the worker they
 * are meant for, numbers are read from all. */

#include "evserve.h"

#include "core/file_stamps.h"
#include "core/file_text.h"
#include "core/log.h"
#include "core/mailbox.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/thread.h"
#include "core/write_buffer.h"
#include "http/host/confine.h"
#include "http/host/evs_calls.h"
#include "http/host/evs_config.h"
#include "http/host/evs_hooks.h"
#include "http/host/evs_host.h"
#include "http/host/evs_routes.h"
#include "http/host/offer.h"
#include "http/host/retired.h"
#include "http/limits.h"
#include "http/route_table.h"
#include "http/server.h"
#include "http/site.h"
#include "http/static_files.h"
#include "version.h"
#ifdef EVSERVE_HAS_LUA
#include "lua/script.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

enum {
    NO_STOP = -1,
    QUIET_LOOK_MS = 10, /* how often a server that stops asks whether its scripts are still busy */
};

/* The language of scripts in this build. */
#ifdef EVSERVE_HAS_LUA
static const struct script_kind *const script_kind = &script_lua;
#else
static const struct script_kind *const script_kind = NULL;
#endif

/* What one thread serves with. */
struct worker {
    evserve *owner;
    struct reactor *reactor;
    struct mailbox mailbox; /* calls of other threads; there as soon as the reactor is */
    struct offer *offer;    /* what new requests get */
    struct offer *next;     /* what a reload has made, until all workers have theirs; else NULL */
    struct retired retired; /* what was served before a reload, while it is in use */
    struct server *server;
    pthread_t thread;        /* of has_thread */
    bool has_thread;         /* it runs on a thread of ours, which is not joined yet */
    atomic_bool is_turning;  /* its loop is at work: a handler may be on the stack */
    bool is_over;            /* it has drained, or its loop failed */
    bool is_stopping;        /* evserve_stop() was heeded */
    int64_t stop_by_ms;      /* reactor time at which it is over at the latest, of is_stopping */
    uint64_t quiet_timer;    /* all requests are over, and scripts are still busy; else 0 */
    int error;               /* of the loop that failed, -errno, else 0 */
    unsigned cut;            /* connections that were cut */
    _Atomic int64_t stop_ms; /* drain time asked for and not yet acted on, or NO_STOP */
};

struct evserve {
    struct evs_door door;         /* first: the binding finds it by the handle alone */
    pid_t process;                /* that has started it */
    int base_fd;                  /* its working directory then, where relative paths start; -errno: it cannot be had */
    struct evserve_config config; /* our own copy, for reloads */
    struct log log;
    struct log host_log; /* the config's */
    pthread_mutex_t log_lock;
    struct file_stamps files;        /* what the script is made of, and reads at its start */
    struct write_buffer script_text; /* the script, of is_piped */
    bool is_piped;                   /* it came through a pipe, so it cannot be read again */
    atomic_bool is_reloading;        /* one reload at a time */
    atomic_bool is_woken;            /* evserve_wake() was called, on_wake not yet */
    bool is_threaded;                /* workers have threads of their own */
    unsigned worker_count;
    struct worker workers[];
};

static unsigned number_of(const struct worker *worker)
{
    return (unsigned)(worker - worker->owner->workers);
}

/* What the binding keeps for this worker's thread. */
static struct evs_host *host_of(const struct worker *worker)
{
    return &worker->owner->door.hosts[number_of(worker)];
}

/* Offers. */

static void note_file(void *arg, const char *path, enum script_file what)
{
    evserve *server = arg;
    if (what == SCRIPT_FILE_WRITTEN) {
        file_stamps_ignore(&server->files, path);
    } else if (what == SCRIPT_FILE_READ) {
        (void)file_stamps_note_data(&server->files, path);
    } else {
        (void)file_stamps_note(&server->files, path); /* one too many is not watched */
    }
}

/* A script that comes through a pipe is read once, for all threads. */
static int read_piped_script(evserve *server, char *err, size_t errlen)
{
    const char *path = server->config.script;
    if (path == NULL || !file_text_is_passing(path)) {
        return 0;
    }
    server->is_piped = true;
    int rv = file_text_read(&server->script_text, server->base_fd, path, SCRIPT_BYTES_MAX);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot read %s: %s", path, errno_text(-rv));
    }
    if (write_buffer_len(&server->script_text) == 0) { /* else a server without any route would run */
        return error_text(err, errlen, -EINVAL, "%s: the script is empty (did what writes to the pipe fail?)", path);
    }
    return 0;
}

/* Make what there is to serve. On the worker's thread. Returns 0, or -errno with a text in err. */
static int make_offer(struct worker *worker, struct offer **made, char *err, size_t errlen)
{
    evserve *owner = worker->owner;
    const struct evserve_config *config = &owner->config;
    const struct offer_config wanted = {
        .base_fd = owner->base_fd,
        .root = config->root,
        .mounts = config->mounts,
        .routes = config->routes,
        .script = config->script,
        .kind = script_kind,
        .host.init = config->lua_init,
        .host.arg = config->arg,
        .host.handler_cpu_ms = config->handler_cpu_ms,
        .host.lua_memory_bytes = config->lua_memory,
        .host.debug = config->debug != 0,
        .host.text = owner->is_piped ? write_buffer_data(&owner->script_text) : NULL,
        .host.text_len = write_buffer_len(&owner->script_text),
        .host.base_fd = owner->base_fd,
        .host.on_file = note_file,
        .host.on_file_arg = owner,
    };
    struct offer *offer = NULL;
    int rv = offer_create(&offer, &wanted, worker->reactor, &owner->log, err, errlen);
    if (rv >= 0 && worker == owner->workers) { /* once for all threads */
        static_mounts_log_missing(offer->site->mounts, &owner->log);
    }
    if (rv >= 0) {
        rv = evs_config_apply(&offer->site->limits, config, err, errlen); /* it wins over the script */
    }
    if (rv >= 0) {
        rv = evs_routes_settle_limits(offer->routes, &offer->site->limits, err, errlen);
    }
    if (rv < 0) {
        offer_destroy(offer);
        return rv;
    }
    *made = offer;
    return 0;
}

/* The reactor, and what there is to serve. */
static int load(struct worker *worker, char *err, size_t errlen)
{
    int rv = reactor_create(&worker->reactor, &worker->owner->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", errno_text(-rv));
    }
    mailbox_init(&worker->mailbox, worker->reactor);
    evs_host_init(host_of(worker), number_of(worker), &worker->mailbox, worker->reactor, &worker->owner->log);
    retired_init(&worker->retired, worker->reactor);
    return make_offer(worker, &worker->offer, err, errlen);
}

/* The server on top of what was loaded. The first worker binds the addresses, the others join it. */
static int open_server(struct worker *worker, char *err, size_t errlen)
{
    const evserve *owner = worker->owner;
    if (worker == owner->workers) {
        server_check_fds(&worker->offer->site->limits, &owner->log);
    }
    limits_share(&worker->offer->site->limits, owner->worker_count);
    int rv = server_create(&worker->server, worker->reactor, worker->offer->site, &owner->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", errno_text(-rv));
    }
    evs_hooks_set(worker->server, &owner->config);
    struct service *service = server_service(worker->server);
    service->owner = worker->owner;
    service->owner_index = number_of(worker);
    service->host = host_of(worker);
    if (worker == owner->workers) {
        bool is_shared = owner->worker_count > 1;
        rv = offer_listen(worker->offer, owner->config.listen, worker->server, is_shared, err, errlen);
    } else {
        rv = server_join(worker->server, owner->workers[0].server, err, errlen);
    }
    if (rv < 0) {
        return rv;
    }
    return offer_start(worker->offer, worker->server, err, errlen);
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
    if (server == NULL) {
        return NULL;
    }
    server->door = (struct evs_door){count, mem_zalloc(count * sizeof *server->door.hosts)};
    if (evs_config_keep(&server->config, config) < 0 || server->door.hosts == NULL) {
        evs_config_drop(&server->config);
        mem_free(server->door.hosts);
        mem_free(server);
        return NULL;
    }
    enum log_level level = config->log_level == 0 ? LOG_INFO : (enum log_level)config->log_level;
    server->host_log = (struct log){.sink = config->log, .arg = config->arg, .level = level};
    server->log = server->host_log;
    if (config->reactors > 0 && config->log != NULL) {
        server->log = (struct log){.sink = write_locked, .arg = server, .level = level};
    }
    server->process = sys_process_id();
    pthread_mutex_init(&server->log_lock, NULL);
    server->base_fd = sys_open(AT_FDCWD, ".", O_PATH | O_DIRECTORY);
    file_stamps_init(&server->files);
    file_stamps_set_base(&server->files, server->base_fd);
    write_buffer_init(&server->script_text);
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

/* The calling process was forked from the server's. They share the kernel's side of the server: its sockets, and what its
 * loop sleeps on. So here nothing of it may be used. */
static bool is_in_child(const evserve *server)
{
    return sys_process_id() != server->process;
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

/* No request is left. What scripts do beside them has until the deadline, too. */
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
    if (worker->quiet_timer != 0) { /* evserve_stop() was called again */
        reactor_cancel_timer(worker->reactor, worker->quiet_timer);
        worker->quiet_timer = 0;
    }
    offer_end_timers(worker->offer);
    end_when_quiet(worker);
}

static void heed_stop(struct worker *worker, uint32_t drain_ms)
{
    worker->is_stopping = true;
    worker->stop_by_ms = reactor_now_ms(worker->reactor) + drain_ms;
    offer_announce_stop(worker->offer);
    server_drain(worker->server, drain_ms, on_drained, worker);
}

/* Act on evserve_wake() and evserve_stop(), if they were called. */
static void heed_calls(struct worker *worker)
{
    evserve *owner = worker->owner;
    if (worker == owner->workers && atomic_exchange(&owner->is_woken, false) && owner->config.on_wake != NULL) {
        owner->config.on_wake(owner->config.arg);
    }
    int64_t stop_ms = atomic_exchange(&worker->stop_ms, NO_STOP);
    if (stop_ms != NO_STOP) {
        heed_stop(worker, (uint32_t)stop_ms);
    }
}

/* What comes after the last turn, on the worker's thread still. */
static void end_worker(struct worker *worker, int error)
{
    worker->is_over = true;
    worker->error = error;
    evs_host_end(host_of(worker));
    evs_calls_end(host_of(worker));
    mailbox_close(&worker->mailbox);
    offer_stop(worker->offer);
    retired_stop(&worker->retired);
    if (error < 0) {
        log_write(&worker->owner->log, LOG_ERROR, "the event loop failed: %s", errno_text(-error));
        evserve_stop(worker->owner, 0); /* the others would wait for ever */
    }
}

/* The loop is the calling thread's until end_turn(). Returns 0, or -EBUSY. */
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

/* A function that has begun a turn is left. When it was not returned from, because a callback has thrown an exception of
 * C++ or ended its thread, the state of the loop is anybody's guess: the server has ended. This file is compiled with
 * -fexceptions, so that it hears of it. */
static void on_unwound(struct worker **turning)
{
    struct worker *worker = *turning;
    if (worker == NULL) {
        return;
    }
    log_write(
        &worker->owner->log, LOG_ERROR,
        "an exception, or the end of a thread, went through the event loop of the server, which ends here: callbacks "
        "must catch what they throw");
    worker->is_over = true;
    worker->error = -ENOTRECOVERABLE;
    evs_host_end(host_of(worker));
    mailbox_refuse(&worker->mailbox);
    end_turn(worker);
}

#define UNWOUND __attribute__((cleanup(on_unwound)))

/* Serve until drained. Returns 0, or -EBUSY in a callback. */
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

static void *run_thread(void *arg)
{
    (void)run_worker(arg);
    return NULL;
}

static int start_threads(evserve *server, char *err, size_t errlen)
{
    int rv = 0;
    for (unsigned i = 0; i < server->worker_count && rv == 0; i++) {
        struct worker *worker = &server->workers[i];
        rv = thread_start(&worker->thread, run_thread, worker);
        worker->has_thread = rv == 0;
    }
    return rv == 0 ? 0
                   : error_text(err, errlen, rv, "cannot start %u threads: %s", server->worker_count, errno_text(-rv));
}

/* Give up what the config says: everything is bound and loaded, no thread has begun. */
static int give_up(evserve *server, const struct evserve_config *config, char *err, size_t errlen)
{
    if (errlen > 0) {
        err[0] = '\0'; /* on_listening() may refuse without a text */
    }
    int rv = config->on_listening == NULL ? 0 : config->on_listening(config->arg, err, errlen);
    if (rv != 0 && errlen > 0 && err[0] == '\0') {
        return error_text(err, errlen, -EPERM, "evserve_config.on_listening returned %d", rv);
    }
    if (rv != 0 || config->sandbox == 0) {
        return rv == 0 ? 0 : -EPERM;
    }
    const struct confinement wanted = {config->sandbox == EVSERVE_SANDBOX_REQUIRE, config->allow_read,
                                       config->allow_write};
    const struct worker *first = &server->workers[0];
    return confine_server(first->offer, &server->files, first->server, &wanted, &server->log, err, errlen);
}

evserve *evserve_start(const struct evserve_config *config, char *err, size_t errlen)
{
    struct evserve_config copy;
    if (evs_config_read(&copy, config, err, errlen) < 0) {
        return NULL;
    }
    evserve *server = create(&copy);
    if (server == NULL) {
        error_text(err, errlen, 0, "cannot start: %s", errno_text(ENOMEM));
        return NULL;
    }
    int rv = read_piped_script(server, err, errlen);
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        rv = load(&server->workers[i], err, errlen);
    }
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        rv = open_server(&server->workers[i], err, errlen);
    }
    rv = rv < 0 ? rv : give_up(server, &copy, err, errlen);
    if (rv >= 0 && server->is_threaded) {
        rv = start_threads(server, err, errlen);
    }
    if (rv < 0) {
        evserve_free(server);
        return NULL;
    }
    return server;
}

/* Whether the calling thread is in a callback of the server. */
static bool is_in_callback(const evserve *server)
{
    bool is_mine = false;
    for (unsigned i = 0; i < server->worker_count && !is_mine; i++) {
        is_mine = mailbox_is_mine(&server->workers[i].mailbox);
    }
    return is_mine;
}

/* Until a worker is over. Returns 0, -EBUSY, or -EDEADLK when its thread waits for the calling one. */
static int wait_for_worker(struct worker *worker)
{
    if (!worker->has_thread) {
        return run_worker(worker);
    }
    int error = pthread_join(worker->thread, NULL);
    worker->has_thread = error != 0;
    return -error;
}

int evserve_wait(evserve *server)
{
    if (is_in_child(server)) {
        return -ECHILD;
    }
    int rv = is_in_callback(server) ? -EBUSY : 0;
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        struct worker *worker = &server->workers[i];
        int waited = wait_for_worker(worker);
        rv = waited < 0 ? waited : worker->error < 0 ? worker->error : rv + (int)worker->cut;
    }
    return rv;
}

int evserve_fd(evserve *server)
{
    if (is_in_child(server)) {
        return -ECHILD;
    }
    return server->is_threaded ? -EINVAL : reactor_fd(server->workers[0].reactor);
}

int evserve_poll(evserve *server, int timeout_ms)
{
    struct worker *worker = &server->workers[0];
    if (is_in_child(server) || server->is_threaded) {
        return is_in_child(server) ? -ECHILD : -EINVAL;
    }
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

void evserve_stop(evserve *server, uint32_t drain_ms)
{
    if (server == NULL || is_in_child(server)) {
        return;
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        atomic_store(&server->workers[i].stop_ms, drain_ms);
        reactor_stop(server->workers[i].reactor);
    }
}

void evserve_wake(evserve *server)
{
    if (server == NULL || is_in_child(server)) {
        return;
    }
    int error = errno; /* which a signal handler must not change */
    atomic_store(&server->is_woken, true);
    reactor_stop(server->workers[0].reactor);
    errno = error;
}

/* On the calling thread, which has entered the mailbox, so that what hears of the end finds itself in a callback. */
static void free_worker(struct worker *worker)
{
    if (worker->reactor == NULL) {
        return;
    }
    evs_host_end(host_of(worker));
    evs_calls_end(host_of(worker));
    mailbox_close(&worker->mailbox);
    server_destroy(worker->server);
    offer_destroy(worker->next);
    offer_destroy(worker->offer);
    retired_done(&worker->retired);
    if (mailbox_is_mine(&worker->mailbox)) {
        mailbox_leave(&worker->mailbox);
    }
    mailbox_done(&worker->mailbox);
    evs_host_done(host_of(worker));
    reactor_destroy(worker->reactor);
}

static void close_base(evserve *server)
{
    if (server->base_fd >= 0) {
        sys_close(server->base_fd);
        server->base_fd = -1;
    }
}

/* In a child nothing is told, and no memory freed: what would hear of it, host functions, finalizers of a script, files
 * that it has written to, acts for the parent still. Threads of the server's are not here: what they were about to change
 * is as they left it. */
static void abandon_server(evserve *server)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        server_abandon(worker->server);
        site_abandon(worker->offer->site);
        retired_abandon(&worker->retired);
        reactor_abandon(worker->reactor);
    }
    close_base(server);
}

/* Whether a loop is on the stack of the calling thread, or on that of a thread of the host's. */
static bool is_in_use(const evserve *server)
{
    return is_in_callback(server) || (!server->is_threaded && mailbox_is_entered(&server->workers[0].mailbox));
}

void evserve_free(evserve *server)
{
    if (server == NULL) {
        return;
    }
    if (is_in_child(server)) {
        abandon_server(server);
        return;
    }
    if (is_in_use(server)) {
        log_write(
            &server->log, LOG_ERROR,
            "evserve_free() was called while the server is at work, in a callback of its own for example: nothing is "
            "freed");
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
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        /* It is nobody's, since no loop runs any more; or that of a thread which has ended without a word (musl). */
        if (worker->reactor != NULL && !mailbox_is_entered(&worker->mailbox)) {
            (void)mailbox_enter(&worker->mailbox);
        }
    }
    for (unsigned i = server->worker_count; i > 0; i--) { /* the first one has what others joined */
        free_worker(&server->workers[i - 1]);
    }
    close_base(server);
    file_stamps_done(&server->files);
    write_buffer_done(&server->script_text);
    pthread_mutex_destroy(&server->log_lock);
    evs_config_drop(&server->config);
    mem_free(server->door.hosts);
    mem_free(server);
}

int evserve_adopt(evserve *server, int fd)
{
    if (is_in_child(server) || server->is_threaded) {
        sys_close(fd);
        return is_in_child(server) ? -ECHILD : -EINVAL;
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

/* A script may not ask for other addresses than the ones the server has, nor for what a sandbox keeps away. */
static int check_offer(const struct worker *worker, const struct offer *next, char *err, size_t errlen)
{
    const struct evserve_config *config = &worker->owner->config;
    bool is_script = config->listen == NULL && config->script != NULL;
    int rv = is_script ? offer_check_addresses(worker->offer, next, config->script, err, errlen) : 0;
    return rv < 0 || config->sandbox == 0 ? rv : confine_check(worker->offer, next, err, errlen);
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
    if (worker == worker->owner->workers) {
        server_check_fds(&next->site->limits, &worker->owner->log);
    }
    limits_share(&next->site->limits, worker->owner->worker_count);
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
    server_set_site(worker->server, worker->offer->site);
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
    if (is_in_child(server)) {
        return error_text(err, errlen, -ECHILD, "cannot reload: the server is that of another process");
    }
    if (server->is_piped) {
        return error_text(err, errlen, -ESPIPE,
                          "%s came through a pipe and cannot be read again: start the server anew, or from a file",
                          server->config.script);
    }
    if (atomic_exchange(&server->is_reloading, true)) {
        return error_text(err, errlen, -EBUSY, "cannot reload: another reload is under way");
    }
    struct errand *errands = mem_zalloc(server->worker_count * sizeof *errands);
    struct mailbox_call *calls = mem_zalloc(server->worker_count * sizeof *calls);
    int rv = errands == NULL || calls == NULL
                 ? error_text(err, errlen, -ENOMEM, "cannot reload: %s", errno_text(ENOMEM))
                 : reload(server, errands, calls, err, errlen);
    mem_free(errands);
    mem_free(calls);
    atomic_store(&server->is_reloading, false);
    return rv;
}

int evserve_changed(evserve *server)
{
    return is_in_child(server) ? 0 : file_stamps_changed(&server->files); /* the lock may be held for ever */
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

void evserve_log(evserve *server, int level, const char *text)
{
    bool is_line = text != NULL && level >= EVSERVE_LOG_ERROR && level <= EVSERVE_LOG_DEBUG;
    if (server != NULL && is_line && !is_in_child(server)) { /* where the lock of the log may be held for ever */
        log_write(&server->log, (enum log_level)level, "%s", text);
    }
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

/* Load what config says, and describe all of it or the routes alone. */
static int describe(const struct evserve_config *config, bool is_whole, struct check_call *call)
{
    struct evserve_config copy;
    if (evs_config_read(&copy, config, call->err, call->errlen) < 0) {
        return -1;
    }
    evserve *server = create(&copy);
    if (server == NULL) {
        return error_text(call->err, call->errlen, -1, "cannot check: %s", errno_text(ENOMEM));
    }
    int rv = read_piped_script(server, call->err, call->errlen);
    rv = rv < 0 ? rv : load(&server->workers[0], call->err, call->errlen);
    const struct offer *offer = server->workers[0].offer;
    if (rv >= 0 && is_whole) {
        rv = offer_describe(offer, copy.listen, call->line, call->arg, call->err, call->errlen);
    }
    if (rv >= 0) {
        rv = route_table_write(offer->site, call->line, call->arg);
        rv = rv < 0 ? error_text(call->err, call->errlen, rv, "cannot check: %s", errno_text(-rv)) : rv;
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
