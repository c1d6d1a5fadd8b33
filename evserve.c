/* The front door: composes reactors, sites, scripts and servers into one handle.
 *
 * A worker is what one thread serves with: a reactor, a site, a script (if any), a server. Order of building: log; for
 * each worker reactor, site, script (fills the site), settings of the config (they win); for each worker server,
 * listeners, the script's start functions; threads at last. Freeing goes the other way.
 *
 * Threads share nothing but the handle, of which they change nothing: stopping and posting go through the worker they
 * are meant for, numbers are read from all. */

#include "evserve.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/net.h"
#include "core/reactor.h"
#include "http/evs.h"
#include "http/router.h"
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

enum { NO_STOP = -1, LISTEN_MAX = 4096 };

static const char default_address[] = "127.0.0.1:8080";

/* A call that another thread asked for. */
struct post {
    struct post *next;
    void (*fn)(void *arg);
    void *arg;
};

/* What one thread serves with. */
struct worker {
    evserve *owner;
    struct reactor *reactor;
    struct site *site;
    struct evs_routes *routes; /* in C, NULL without any */
    struct script *script;     /* NULL without one */
    struct server *server;
    pthread_t thread;        /* of has_thread */
    bool has_thread;         /* it runs on a thread of ours, which is not joined yet */
    bool is_over;            /* it has drained, or its loop failed */
    int error;               /* of the loop that failed, -errno, else 0 */
    unsigned cut;            /* connections that were cut */
    _Atomic int64_t stop_ms; /* drain time asked for and not yet acted on, or NO_STOP */

    pthread_mutex_t posts_lock;
    struct post *first_post, *last_post; /* waiting, oldest first */
    bool is_closed;                      /* no more posts are taken */
};

struct evserve {
    struct log log;
    struct log host_log; /* the config's */
    pthread_mutex_t log_lock;
    bool is_threaded; /* workers have threads of their own */
    unsigned worker_count;
    struct worker workers[];
};

/* One setting of the config that is a limit of the server. */
struct setting {
    const char *name; /* in limits.def */
    size_t offset;    /* of its uint64_t in struct evserve_config */
};

static const struct setting settings[] = {
    {"idle_timeout", offsetof(struct evserve_config, idle_timeout_ms)},
    {"header_timeout", offsetof(struct evserve_config, header_timeout_ms)},
    {"body_timeout", offsetof(struct evserve_config, body_timeout_ms)},
    {"write_timeout", offsetof(struct evserve_config, write_timeout_ms)},
    {"max_request_line", offsetof(struct evserve_config, max_request_line)},
    {"max_header_bytes", offsetof(struct evserve_config, max_header_bytes)},
    {"max_fields", offsetof(struct evserve_config, max_fields)},
    {"max_body", offsetof(struct evserve_config, max_body)},
    {"max_connections", offsetof(struct evserve_config, max_connections)},
};

static int apply_settings(struct limits *limits, const struct evserve_config *config, char *err, size_t errlen)
{
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        uint64_t value;
        memcpy(&value, (const char *)config + settings[i].offset, sizeof value);
        if (value != 0) {
            int rv = limits_set(limits, limits_find(settings[i].name), value, err, errlen);
            if (rv < 0) {
                return rv;
            }
        }
    }
    return limits_check(limits, err, errlen);
}

/* Everything but the server: what there is to serve. */
static int load(struct worker *worker, const struct evserve_config *config, char *err, size_t errlen)
{
    const struct log *log = &worker->owner->log;
    int rv = reactor_create(&worker->reactor, log);
    rv = rv < 0 ? rv : site_create(&worker->site, log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", strerror(-rv));
    }
    if (config->root != NULL) { /* before the script, whose own "/" then gives way */
        rv = static_mounts_pin(worker->site->mounts, "/", config->root, err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    if (config->routes != NULL) {
        rv = evs_routes_create(&worker->routes, config->routes, worker->site->router, err, errlen);
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
        };
        rv = script_open(&worker->script, config->script, worker->site, worker->reactor, log, &host, err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    return apply_settings(&worker->site->limits, config, err, errlen);
}

/* Call fn with each address to listen on: the config's, else the script's, else the default one. */
static int each_address(const struct script *script, const struct evserve_config *config,
                        int (*fn)(void *arg, const char *address), void *arg)
{
    const char *address = config->listen;
    if (address == NULL) {
        int rv = 0;
        for (size_t n = 0; rv >= 0; n++) {
            address = script == NULL ? NULL : script_listen(script, n);
            if (address == NULL) {
                return n == 0 ? fn(arg, default_address) : rv;
            }
            rv = fn(arg, address);
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
            rv = fn(arg, one);
            has_one = true;
        }
        address += len;
    }
    return has_one ? rv : fn(arg, config->listen); /* a list of nothing is a mistake, and is told to be one */
}

struct listen_call {
    struct server *server;
    bool is_shared; /* others will join */
    char *err;
    size_t errlen;
};

static int listen_on(void *arg, const char *address)
{
    struct listen_call *call = arg;
    return call->is_shared ? server_listen_shared(call->server, address, call->err, call->errlen)
                           : server_listen(call->server, address, call->err, call->errlen);
}

/* The server on top of what was loaded. The first worker binds the addresses, the others join it. */
static int open_server(struct worker *worker, const struct evserve_config *config, char *err, size_t errlen)
{
    const evserve *owner = worker->owner;
    uint64_t *max_connections = &worker->site->limits.max_connections;
    *max_connections = (*max_connections + owner->worker_count - 1) / owner->worker_count;
    int rv = server_create(&worker->server, worker->reactor, worker->site, &owner->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", strerror(-rv));
    }
    server_set_owner(worker->server, worker->owner, (unsigned)(worker - owner->workers));
    if (worker == owner->workers) {
        bool is_shared = owner->worker_count > 1;
        struct listen_call call = {.server = worker->server, .is_shared = is_shared, .err = err, .errlen = errlen};
        rv = each_address(worker->script, config, listen_on, &call);
    } else {
        rv = server_join(worker->server, owner->workers[0].server, err, errlen);
    }
    if (rv < 0) {
        return rv;
    }
    return worker->script == NULL ? 0 : script_start(worker->script, worker->server, err, errlen);
}

/* A config of an older program is shorter: what it does not have is default. */
static int read_config(struct evserve_config *copy, const struct evserve_config *config, char *err, size_t errlen)
{
    *copy = (struct evserve_config){0};
    if (config->size < offsetof(struct evserve_config, listen) || config->size > sizeof *copy) {
        return error_text(err, errlen, -EINVAL,
                          "evserve_config.size is %zu, expected sizeof(struct evserve_config), %zu", config->size,
                          sizeof *copy);
    }
    memcpy(copy, config, config->size);
    if (copy->reactors > EVSERVE_REACTORS_MAX) {
        return error_text(err, errlen, -ERANGE, "evserve_config.reactors is %u: at most %d threads, or 0 for none",
                          copy->reactors, EVSERVE_REACTORS_MAX);
    }
    return 0;
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
    enum log_level level = config->log_level == 0 ? LOG_INFO : (enum log_level)config->log_level;
    server->host_log = (struct log){.sink = config->log, .arg = config->arg, .level = level};
    server->log = server->host_log;
    if (count > 1 && config->log != NULL) {
        server->log = (struct log){.sink = write_locked, .arg = server, .level = level};
    }
    pthread_mutex_init(&server->log_lock, NULL);
    server->is_threaded = config->reactors > 0;
    server->worker_count = count;
    for (unsigned i = 0; i < count; i++) {
        server->workers[i].owner = server;
        atomic_init(&server->workers[i].stop_ms, NO_STOP);
        pthread_mutex_init(&server->workers[i].posts_lock, NULL);
    }
    return server;
}

/* Posts. */

/* Call what was posted, and perhaps let it be the last. */
static void call_posts(struct worker *worker, bool is_last)
{
    pthread_mutex_lock(&worker->posts_lock);
    struct post *post = worker->first_post;
    worker->first_post = worker->last_post = NULL;
    worker->is_closed = worker->is_closed || is_last;
    pthread_mutex_unlock(&worker->posts_lock);
    while (post != NULL) {
        struct post *next = post->next;
        post->fn(post->arg);
        mem_free(post);
        post = next;
    }
}

static void on_posts(struct reactor *reactor, void *arg)
{
    (void)reactor;
    call_posts(arg, false);
}

/* Queue it; the first one in the queue wakes the worker up. */
static int add_post(struct worker *worker, struct post *post)
{
    int rv = 0;
    pthread_mutex_lock(&worker->posts_lock);
    if (worker->is_closed) {
        rv = -ESHUTDOWN;
    } else if (worker->first_post == NULL) {
        rv = reactor_post(worker->reactor, on_posts, worker);
        worker->first_post = rv < 0 ? NULL : post;
    } else {
        worker->last_post->next = post;
    }
    worker->last_post = rv < 0 ? worker->last_post : post;
    pthread_mutex_unlock(&worker->posts_lock);
    return rv;
}

int evserve_post(evserve *server, void (*fn)(void *arg), void *arg)
{
    return evserve_post_to(server, 0, fn, arg);
}

int evserve_post_to(evserve *server, unsigned thread, void (*fn)(void *arg), void *arg)
{
    if (thread >= server->worker_count) {
        return -EINVAL;
    }
    struct post *post = mem_alloc(sizeof *post);
    if (post == NULL) {
        return -ENOMEM;
    }
    *post = (struct post){.fn = fn, .arg = arg};
    int rv = add_post(&server->workers[thread], post);
    if (rv < 0) {
        mem_free(post);
    }
    return rv;
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
    call_posts(worker, true);
    if (worker->script != NULL) {
        script_stop(worker->script);
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
    while (rv == 0 && !worker->is_over) {
        rv = reactor_run(worker->reactor);
        heed_stop(worker);
    }
    end_worker(worker, rv);
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
    if (read_config(&copy, config, err, errlen) < 0) {
        return NULL;
    }
    evserve *server = create(&copy);
    if (server == NULL) {
        error_text(err, errlen, 0, "cannot start: %s", strerror(ENOMEM));
        return NULL;
    }
    int rv = 0;
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        rv = load(&server->workers[i], &copy, err, errlen);
    }
    for (unsigned i = 0; i < server->worker_count && rv >= 0; i++) {
        rv = open_server(&server->workers[i], &copy, err, errlen);
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
    int rv = reactor_run_once(worker->reactor, timeout_ms);
    if (rv >= 0) {
        heed_stop(worker); /* whose call has woken the loop, or will */
    }
    if (rv < 0 || worker->is_over) {
        end_worker(worker, rv < 0 ? rv : 0);
        return worker->error;
    }
    return 1;
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
    call_posts(worker, true);
    server_destroy(worker->server);
    script_close(worker->script);
    site_destroy(worker->site);
    evs_routes_destroy(worker->routes);
    reactor_destroy(worker->reactor);
    pthread_mutex_destroy(&worker->posts_lock);
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
    pthread_mutex_destroy(&server->log_lock);
    mem_free(server);
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

static int describe_address(void *arg, const char *address)
{
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

static void describe_site(const struct site *site, const struct check_call *call)
{
    char text[CHECK_LINE_MAX];
    const char *prefix, *directory;
    for (size_t n = 0; static_mounts_get(site->mounts, n, &prefix, &directory); n++) {
        snprintf(text, sizeof text, "static  %s -> %s", prefix, directory);
        call->line(call->arg, text);
    }
    const struct route *route;
    for (size_t n = 0; (route = router_route(site->router, n)) != NULL; n++) {
        char methods[64];
        router_format_methods(route->methods, methods);
        snprintf(text, sizeof text, "route   %s %s  (%s)", methods, route->pattern, route->where);
        call->line(call->arg, text);
    }
}

int evserve_check(const struct evserve_config *config, void (*line)(void *arg, const char *text), void *arg, char *err,
                  size_t errlen)
{
    struct evserve_config copy;
    if (read_config(&copy, config, err, errlen) < 0) {
        return -1;
    }
    evserve *server = create(&copy);
    if (server == NULL) {
        return error_text(err, errlen, -1, "cannot check: %s", strerror(ENOMEM));
    }
    int rv = load(&server->workers[0], &copy, err, errlen);
    if (rv >= 0) {
        const struct worker *worker = &server->workers[0];
        struct check_call call = {.line = line, .arg = arg, .err = err, .errlen = errlen};
        describe_settings(limit_table, limit_table_len, &worker->site->limits, &call);
        if (worker->script != NULL) {
            describe_settings(setting_table, setting_table_len, script_settings(worker->script), &call);
        }
        rv = each_address(worker->script, &copy, describe_address, &call);
        describe_site(worker->site, &call);
    }
    evserve_free(server);
    return rv < 0 ? -1 : 0;
}
