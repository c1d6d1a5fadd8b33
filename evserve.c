/* The front door: composes reactor, site, script and server into one handle.
 *
 * Order of building: log, reactor, site, script (fills the site), settings of the config (they win), server, listeners,
 * the script's start functions. Freeing goes the other way. */

#include "evserve.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/net.h"
#include "core/reactor.h"
#include "http/router.h"
#include "http/server.h"
#include "http/site.h"
#include "http/static_files.h"
#include "lua/script.h"
#include "version.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NO_STOP = -1, LISTEN_MAX = 4096 };

static const char default_address[] = "127.0.0.1:8080";

struct evserve {
    struct log log;
    struct reactor *reactor;
    struct site *site;
    struct script *script; /* NULL without one */
    struct server *server;
    _Atomic int64_t stop_ms; /* drain time asked for and not yet acted on, or NO_STOP */
    bool is_drained;         /* the server has no connection left and accepts none */
    unsigned cut;            /* connections that were cut */
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
static int load(evserve *server, const struct evserve_config *config, char *err, size_t errlen)
{
    int rv = reactor_create(&server->reactor, &server->log);
    rv = rv < 0 ? rv : site_create(&server->site, &server->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", strerror(-rv));
    }
    if (config->root != NULL) { /* before the script, whose own "/" then gives way */
        rv = static_mounts_pin(server->site->mounts, "/", config->root, err, errlen);
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
        rv = script_open(&server->script, config->script, server->site, server->reactor, &server->log, &host, err,
                         errlen);
        if (rv < 0) {
            return rv;
        }
    }
    return apply_settings(&server->site->limits, config, err, errlen);
}

/* Call fn with each address to listen on: the config's, else the script's, else the default one. */
static int each_address(const evserve *server, const struct evserve_config *config,
                        int (*fn)(void *arg, const char *address), void *arg)
{
    const char *address = config->listen;
    if (address == NULL) {
        int rv = 0;
        for (size_t n = 0; rv >= 0; n++) {
            address = server->script == NULL ? NULL : script_listen(server->script, n);
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
    char *err;
    size_t errlen;
};

static int listen_on(void *arg, const char *address)
{
    struct listen_call *call = arg;
    return server_listen(call->server, address, call->err, call->errlen);
}

/* The server on top of what was loaded. */
static int open_server(evserve *server, const struct evserve_config *config, char *err, size_t errlen)
{
    int rv = server_create(&server->server, server->reactor, server->site, &server->log);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot start: %s", strerror(-rv));
    }
    struct listen_call call = {.server = server->server, .err = err, .errlen = errlen};
    rv = each_address(server, config, listen_on, &call);
    if (rv < 0) {
        return rv;
    }
    return server->script == NULL ? 0 : script_start(server->script, server->server, err, errlen);
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
    return 0;
}

/* A handle with nothing in it yet. */
static evserve *create(const struct evserve_config *config)
{
    evserve *server = mem_zalloc(sizeof *server);
    if (server != NULL) {
        enum log_level level = config->log_level == 0 ? LOG_INFO : (enum log_level)config->log_level;
        server->log = (struct log){.sink = config->log, .arg = config->arg, .level = level};
        atomic_init(&server->stop_ms, NO_STOP);
    }
    return server;
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
    if (load(server, &copy, err, errlen) < 0 || open_server(server, &copy, err, errlen) < 0) {
        evserve_free(server);
        return NULL;
    }
    return server;
}

static void on_drained(void *arg, unsigned cut)
{
    evserve *server = arg;
    server->is_drained = true;
    server->cut = cut;
    reactor_stop(server->reactor);
}

int evserve_wait(evserve *server)
{
    while (!server->is_drained) {
        int rv = reactor_run(server->reactor);
        if (rv < 0) {
            return rv;
        }
        int64_t stop_ms = atomic_exchange(&server->stop_ms, NO_STOP);
        if (stop_ms != NO_STOP) {
            server_drain(server->server, (uint32_t)stop_ms, on_drained, server);
        }
    }
    if (server->script != NULL) {
        script_stop(server->script);
    }
    return (int)server->cut;
}

void evserve_stop(evserve *server, uint32_t drain_ms)
{
    atomic_store(&server->stop_ms, drain_ms);
    reactor_stop(server->reactor);
}

void evserve_free(evserve *server)
{
    if (server == NULL) {
        return;
    }
    server_destroy(server->server);
    script_close(server->script);
    site_destroy(server->site);
    reactor_destroy(server->reactor);
    mem_free(server);
}

const char *evserve_address(const evserve *server, unsigned listener)
{
    return server_address(server->server, listener);
}

int evserve_port(const evserve *server, unsigned listener)
{
    return server_port(server->server, listener);
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
    int rv = server == NULL ? error_text(err, errlen, -ENOMEM, "cannot check: %s", strerror(ENOMEM))
                            : load(server, &copy, err, errlen);
    if (rv >= 0) {
        struct check_call call = {.line = line, .arg = arg, .err = err, .errlen = errlen};
        describe_settings(limit_table, limit_table_len, &server->site->limits, &call);
        if (server->script != NULL) {
            describe_settings(setting_table, setting_table_len, script_settings(server->script), &call);
        }
        rv = each_address(server, &copy, describe_address, &call);
        describe_site(server->site, &call);
    }
    evserve_free(server);
    return rv < 0 ? -1 : 0;
}
