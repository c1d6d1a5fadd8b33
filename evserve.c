/* The front door: composes workers into one handle.
 *
 * Order of building: the log and the plan; for each worker its reactor and offer (site, root, C routes, script,
 * settings of the config, which win); the certificates; for each worker its server, listeners, the script's start
 * functions; threads at last. Freeing goes the other way.
 *
 * Threads share only the handle, and change nothing in it: stopping and posting go through the worker concerned, totals
 * are read from all workers. */

#include "evserve.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/host/confine.h"
#include "http/host/describe.h"
#include "http/host/evs_config.h"
#include "http/host/evs_host.h"
#include "http/host/evs_stats.h"
#include "http/host/full_state.h"
#include "http/host/handover.h"
#include "http/host/host_log.h"
#include "http/host/plan.h"
#include "http/host/reload.h"
#include "http/host/stage.h"
#include "http/host/worker.h"
#include "http/metrics_board.h"
#include "http/server.h"
#include "version.h"
#ifdef EVSERVE_HAS_LUA
#include "lua/script.h"
#endif

#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

/* The language of scripts in this build. */
#ifdef EVSERVE_HAS_LUA
static const struct script_kind *const script_kind = &script_lua;
#else
static const struct script_kind *const script_kind = NULL;
#endif

struct evserve {
    struct evs_door door; /* first: the binding finds it by the handle alone */
    pid_t process;        /* that has started the server */
    struct host_log log;
    struct plan plan;
    struct reload reload;
    struct full_state full; /* of its scripts */
    bool is_threaded;       /* workers have threads of their own */
    unsigned worker_count;
    struct worker workers[];
};

/* Starting. */

static void stop_all(evserve *server)
{
    evserve_stop(server, 0);
}

static void cancel_reload(evserve *server)
{
    reload_cancel(&server->reload);
}

/* The last step of freeing, on the thread that frees the server, or the last one that was left behind. */
static void free_handle(void *owner)
{
    evserve *server = owner;
    plan_done(&server->plan);
    host_log_done(&server->log);
    mem_free(server->door.hosts);
    mem_free(server);
}

/* All scripts are gone. Functions of their workers may still run. */
static void release_jobs(void *owner)
{
    evserve *server = owner;
    plan_release_jobs(&server->plan, free_handle, server);
}

/* A handle in which nothing is loaded yet. */
static evserve *create(const struct evserve_config *config)
{
    unsigned count = config->reactors == 0 ? 1 : config->reactors;
    evserve *server = mem_zalloc(sizeof *server + count * sizeof server->workers[0]);
    if (server == NULL) {
        return NULL;
    }
    server->door = (struct evs_door){count, mem_zalloc(count * sizeof *server->door.hosts), NULL, NULL};
    if (server->door.hosts == NULL || plan_init(&server->plan, config, script_kind, &server->log.log) < 0) {
        mem_free(server->door.hosts);
        mem_free(server);
        return NULL;
    }
    server->door.metrics = metrics_board_own(server->plan.board);
    server->door.hub = server->plan.hub;
    host_log_init(&server->log, config);
    server->full = (struct full_state){
        .owner = server,
        .first = &server->workers[0].mailbox,
        .error = &server->workers[0].error,
        .log = &server->log.log,
        .reload = evserve_reload_later,
        .stop = evserve_stop,
    };
    server->process = sys_process_id();
    server->is_threaded = config->reactors > 0;
    server->worker_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = &server->workers[i];
        worker->owner = server;
        worker->on_failed = stop_all;
        worker->on_ended = cancel_reload;
        worker->full = &server->full;
        worker->plan = &server->plan;
        worker->log = &server->log.log;
        worker->host = &server->door.hosts[i];
        worker->number = i;
        worker->count = count;
        worker->all = server->workers;
        worker_init(worker);
    }
    reload_init(&server->reload, server->workers, count, config->reload_timeout_ms, release_jobs, server);
    return server;
}

/* Whether the calling process was forked from the server's. The two share what the kernel keeps of the server: its
 * sockets, and what its loop waits for. So here the server must not be used. */
static bool is_in_child(const evserve *server)
{
    return sys_process_id() != server->process;
}

static int start_threads(evserve *server, char *err, size_t errlen)
{
    int rv = 0;
    for (unsigned i = 0; i < server->worker_count && rv == 0; i++) {
        rv = worker_start_thread(&server->workers[i]);
    }
    return rv == 0 ? 0
                   : error_text(err, errlen, rv, "cannot start %u threads: %s", server->worker_count, errno_text(-rv));
}

/* Give up the rights that the config names. Everything is bound and loaded, and no thread has begun. */
static int give_up(evserve *server, const struct evserve_config *config, char *err, size_t errlen)
{
    if (errlen > 0) {
        err[0] = '\0'; /* on_listening() may refuse without a text */
    }
    int rv = config->on_listening == NULL ? 0 : config->on_listening(config->arg, err, errlen);
    if (rv != 0 && errlen > 0 && err[0] == '\0') {
        return error_text(err, errlen, -EPERM, "evserve_config.on_listening returned %d", rv);
    }
    if (rv == 0) {
        tls_keeper_settle(&server->plan.tls, config->sandbox != 0);
        access_keeper_settle(&server->plan.access);
    }
    if (rv != 0 || config->sandbox == 0) {
        return rv == 0 ? 0 : -EPERM;
    }
    const struct confinement wanted = {config->sandbox == EVSERVE_SANDBOX_REQUIRE, config->allow_read,
                                       config->allow_write, server->plan.allowed};
    const struct worker *first = &server->workers[0];
    return confine_server(first->offer, &server->plan.files, &server->plan.tls.plan, &server->plan.access,
                          first->server, &wanted, &server->log.log, err, errlen);
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
    int rv = plan_read_script(&server->plan, err, errlen);
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        rv = worker_load(&server->workers[i], err, errlen);
    }
    rv = rv < 0 ? rv : plan_start_tls(&server->plan, server->workers[0].offer, err, errlen);
    rv = rv < 0 ? rv : plan_open_access(&server->plan, server->workers[0].offer, err, errlen);
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        rv = worker_open(&server->workers[i], &server->workers[0], err, errlen);
    }
    if (rv >= 0) {
        handover_warn_of_left(&server->plan, &server->workers[0]);
        plan_warn_of_unused(&server->plan, server->workers[0].offer);
        plan_announce_dev(&server->plan);
    }
    plan_forget_handed(&server->plan);
    rv = rv < 0 ? rv : give_up(server, &copy, err, errlen);
    if (rv >= 0 && server->is_threaded) {
        rv = start_threads(server, err, errlen);
    }
    if (rv < 0) {
        handover_return(server->workers, server->worker_count);
        evserve_free(server);
        return NULL;
    }
    return server;
}

/* Running. */

/* Whether the calling thread is in a callback of the server. */
static bool is_in_callback(const evserve *server)
{
    bool is_mine = false;
    for (unsigned i = 0; i < server->worker_count && !is_mine; i++) {
        is_mine = mailbox_is_mine(&server->workers[i].mailbox);
    }
    return is_mine;
}

int evserve_wait(evserve *server)
{
    if (is_in_child(server)) {
        return -ECHILD;
    }
    int rv = is_in_callback(server) ? -EBUSY : 0;
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        struct worker *worker = &server->workers[i];
        int waited = worker_wait(worker);
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
    if (is_in_child(server) || server->is_threaded) {
        return is_in_child(server) ? -ECHILD : -EINVAL;
    }
    return worker_poll(&server->workers[0], timeout_ms);
}

void evserve_stop(evserve *server, uint32_t drain_ms)
{
    if (server == NULL || is_in_child(server)) {
        return;
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        worker_stop(&server->workers[i], drain_ms);
    }
}

void evserve_wake(evserve *server)
{
    if (server == NULL || is_in_child(server)) {
        return;
    }
    int error = errno; /* a signal handler must not change it */
    worker_wake(&server->workers[0]);
    errno = error;
}

int evserve_post(evserve *server, void (*fn)(void *arg), void *arg)
{
    return evserve_post_to(server, 0, fn, arg);
}

int evserve_post_to(evserve *server, unsigned thread, void (*fn)(void *arg), void *arg)
{
    return thread < server->worker_count ? mailbox_post(&server->workers[thread].mailbox, fn, arg) : -EINVAL;
}

/* In a child nothing is called and no memory is freed: functions of the host, finalizers of a script and buffered files
 * would still act on behalf of the parent. Threads of the server do not exist here, so what they were changing may be
 * in any state. */
static void abandon_server(evserve *server)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        worker_abandon(&server->workers[i]);
    }
    plan_abandon(&server->plan);
}

/* Whether a loop is on the stack of the calling thread, or of a thread of the host's. */
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
            &server->log.log, LOG_ERROR,
            "evserve_free() was called while the server is running, in a callback of its own for example: nothing is "
            "freed");
        return;
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        if (worker->has_thread) {
            evserve_stop(server, 0);
            (void)worker_wait(worker);
        }
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        /* No thread has entered it, since no loop runs any more; or a thread that has ended without unwinding (musl)
         * had. */
        if (worker->reactor != NULL && !mailbox_is_entered(&worker->mailbox)) {
            (void)mailbox_enter(&worker->mailbox);
        }
    }
    reload_end(&server->reload);
    for (unsigned i = server->worker_count; i > 0; i--) { /* the first one owns what the others joined */
        worker_free(&server->workers[i - 1]);
    }
    host_log_silence(&server->log);
    reload_release(&server->reload);
}

int evserve_adopt(evserve *server, int fd)
{
    if (is_in_child(server) || server->is_threaded) {
        sys_close(fd);
        return is_in_child(server) ? -ECHILD : -EINVAL;
    }
    return server_adopt(server->workers[0].server, fd);
}

/* Handing over. */

int evserve_listeners(evserve *server, struct evs_inherited *listeners, unsigned max)
{
    return is_in_child(server) ? -ECHILD : handover_list(server->workers, server->worker_count, listeners, max);
}

int evserve_ticket_keys(evserve *server, struct evs_inherited *keys)
{
    return is_in_child(server) ? -ECHILD : handover_tickets(&server->plan, keys);
}

int evserve_hand_over(evserve *server, int how)
{
    if (is_in_child(server) || how < EVSERVE_STORED || how > EVSERVE_KEPT) {
        return is_in_child(server) ? -ECHILD : -EINVAL;
    }
    handover_leave(server->workers, server->worker_count, how);
    return 0;
}

/* Reloading. */

/* Whether the server may be reloaded at all: 0, or -errno with a text in err. */
static int check_reload(const evserve *server, char *err, size_t errlen)
{
    if (is_in_child(server)) {
        return error_text(err, errlen, -ECHILD, "cannot reload: the server belongs to another process");
    }
    return server->plan.is_piped
               ? error_text(
                     err, errlen, -ESPIPE,
                     "%s came through a pipe and cannot be read again: restart the server, or run it from a file",
                     server->plan.config.script)
               : 0;
}

int evserve_reload(evserve *server, char *err, size_t errlen)
{
    int rv = check_reload(server, err, errlen);
    return rv < 0 ? rv : reload_now(&server->reload, err, errlen);
}

int evserve_reload_later(evserve *server, void (*done)(void *arg, int error, const char *err), void *arg, char *err,
                         size_t errlen)
{
    int rv = check_reload(server, err, errlen);
    return rv < 0 ? rv : reload_later(&server->reload, done, arg, err, errlen);
}

int evserve_reopen_logs(evserve *server, char *err, size_t errlen)
{
    if (is_in_child(server)) {
        return error_text(err, errlen, -ECHILD, "cannot reopen the logs: the server belongs to another process");
    }
    return access_keeper_reopen(&server->plan.access, err, errlen);
}

int evserve_changed(evserve *server)
{
    return is_in_child(server) ? 0 : file_stamps_changed(&server->plan.files); /* the lock may be held for ever */
}

/* Addresses, totals and the log. */

const char *evserve_address(const evserve *server, unsigned listener)
{
    return server_address(server->workers[0].server, listener);
}

int evserve_is_listening(const evserve *server, unsigned listener)
{
    const struct server *first = server->workers[0].server;
    return server_address(first, listener) == NULL ? -1 : server_has_closed(first, listener) ? 0 : 1;
}

int evserve_port(const evserve *server, unsigned listener)
{
    return server_port(server->workers[0].server, listener);
}

const char *evserve_scheme(const evserve *server, unsigned listener)
{
    return server_scheme(server->workers[0].server, listener);
}

int evserve_expects_proxy(const evserve *server, unsigned listener)
{
    return server_expects_proxy(server->workers[0].server, listener);
}

int evserve_stats(const evserve *server, struct evs_stats *stats)
{
    return evs_stats_fill(stats, server->plan.board, &server->reload);
}

void evserve_log(evserve *server, int level, const char *text)
{
    bool is_line = text != NULL && level >= EVSERVE_LOG_ERROR && level <= EVSERVE_LOG_DEBUG;
    if (server != NULL && is_line && !is_in_child(server)) { /* in a child the lock of the log may be held for ever */
        log_write_about(&server->log.log, (enum log_level)level, &(struct log_subject){0}, "%s", text);
    }
}

const char *evserve_version(void)
{
    return EVSERVE_VERSION;
}

/* Load a config, and describe all of it or only the routes. */
static int describe(const struct evserve_config *config, bool is_whole, const struct describe_target *target)
{
    struct evserve_config copy;
    if (evs_config_read(&copy, config, target->err, target->errlen) < 0) {
        return -1;
    }
    evserve *server = create(&copy);
    if (server == NULL) {
        return error_text(target->err, target->errlen, -1, "cannot check: %s", errno_text(ENOMEM));
    }
    int rv = describe_plan(&server->plan, &server->workers[0], copy.listen, is_whole, target);
    evserve_free(server);
    return rv < 0 ? -1 : 0;
}

int evserve_check(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                  size_t errlen)
{
    return describe(config, true, &(struct describe_target){line, arg, err, errlen});
}

int evserve_routes(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                   size_t errlen)
{
    return describe(config, false, &(struct describe_target){line, arg, err, errlen});
}

static struct reactor *first_reactor(evserve *server)
{
    return server->workers[0].reactor;
}

int evserve_test(const struct evserve_config *config, const char *path, const char *only,
                 void (*line)(void *arg, const char *text), void *arg, char *err, size_t errlen)
{
    const struct stage_door door = {
        .start = evserve_start,
        .adopt = evserve_adopt,
        .poll = evserve_poll,
        .stop = evserve_stop,
        .wait = evserve_wait,
        .free = evserve_free,
        .reactor = first_reactor,
        .kind = script_kind,
    };
    return stage_run(&door, config, &(struct stage_tests){path, only, line, arg}, err, errlen);
}
