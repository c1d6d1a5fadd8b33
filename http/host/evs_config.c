/* Happy path: evs_config_read() and evs_config_keep() when the server starts, evs_config_apply() for each site,
 * evs_config_drop() at the end.
 *
 * Failure modes: values out of range, with a text, and lack of memory. */

#include "http/host/evs_config.h"

#include "core/broker.h"
#include "core/destinations.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/net_address.h"
#include "core/net_handed.h"
#include "evserve.h"
#include "http/access_format.h"
#include "http/forwarded.h"
#include "http/host/evs_auth.h"
#include "http/host/evs_certificates.h"
#include "http/host/evs_mounts.h"
#include "http/host/evs_proxy_copies.h"
#include "http/host/evs_rules.h"
#include "http/host/evs_vhosts.h"
#include "http/host/reload.h"
#include "http/hsts.h"
#include "http/limits.h"
#include "http/metrics_hosts.h"
#include "http/trusted_proxies.h"
#include "http/vhost.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* The format of the access log; its file is opened later. */
static int check_access_log(const struct evserve_config *config, char *err, size_t errlen)
{
    struct access_format *format = NULL;
    char text[EVSERVE_ERROR_MAX];
    if (config->access_log != NULL && config->access_log[0] == '\0') {
        return error_text(err, errlen, -EINVAL,
                          "evserve_config.access_log is empty, expected a file, \"stdout\", \"syslog:\", or \"off\"");
    }
    if (config->access_log_format != NULL &&
        access_format_parse(&format, config->access_log_format, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "evserve_config.access_log_format: %s", text);
    }
    access_format_put(format);
    return 0;
}

/* The sockets that another program has handed over. */
static int check_inherited(const struct evserve_config *config, char *err, size_t errlen)
{
    char text[EVSERVE_ERROR_MAX];
    if (config->inherited == NULL && config->inherited_count > 0) {
        return error_text(err, errlen, -EINVAL, "evserve_config.inherited is NULL, but inherited_count is %u",
                          config->inherited_count);
    }
    for (unsigned i = 0; i < config->inherited_count; i++) {
        const struct evs_inherited *listener = &config->inherited[i];
        struct net_address parsed;
        if (listener->fd <= STDERR_FILENO) {
            return error_text(err, errlen, -EINVAL,
                              "evserve_config.inherited[%u].fd is %d, expected a listening socket, above %d", i,
                              listener->fd, STDERR_FILENO);
        }
        if (memchr(listener->address, '\0', sizeof listener->address) == NULL) {
            return error_text(err, errlen, -EINVAL, "evserve_config.inherited[%u].address has no end", i);
        }
        if (strcmp(listener->address, NET_HANDED_TICKET_KEYS) != 0 &&
            net_address_parse(&parsed, listener->address, text, sizeof text) < 0) {
            return error_text(err, errlen, -EINVAL, "evserve_config.inherited[%u].address: %s", i, text);
        }
    }
    return 0;
}

static int check_numbers(const struct evserve_config *config, char *err, size_t errlen)
{
    if (config->sandbox < 0 || config->sandbox > EVSERVE_SANDBOX_REQUIRE) {
        return error_text(err, errlen, -ERANGE,
                          "evserve_config.sandbox is %d, expected 0, EVSERVE_SANDBOX or EVSERVE_SANDBOX_REQUIRE",
                          config->sandbox);
    }
    if (config->reactors > EVSERVE_REACTORS_MAX) {
        return error_text(err, errlen, -ERANGE, "evserve_config.reactors is %u: at most %d threads, or 0 for none",
                          config->reactors, EVSERVE_REACTORS_MAX);
    }
    if (config->log_level < 0 || config->log_level > EVSERVE_LOG_DEBUG) {
        return error_text(err, errlen, -ERANGE, "evserve_config.log_level is %d: the levels are %d to %d",
                          config->log_level, EVSERVE_LOG_ERROR, EVSERVE_LOG_DEBUG);
    }
    if (config->reload_timeout_ms > EVSERVE_RELOAD_TIMEOUT_MAX_MS) {
        return error_text(err, errlen, -ERANGE,
                          "evserve_config.reload_timeout_ms is %llu, expected at most %d, a day, or 0 for %d",
                          (unsigned long long)config->reload_timeout_ms, EVSERVE_RELOAD_TIMEOUT_MAX_MS,
                          RELOAD_TIMEOUT_MS);
    }
    return 0;
}

int evs_config_read(struct evserve_config *copy, const struct evserve_config *config, char *err, size_t errlen)
{
    *copy = (struct evserve_config){0};
    if (config == NULL) {
        return error_text(err, errlen, -EINVAL, "the evserve_config is NULL");
    }
    if (config->size < offsetof(struct evserve_config, listen) || config->size > sizeof *copy) {
        return error_text(err, errlen, -EINVAL,
                          "evserve_config.size is %zu, expected sizeof(struct evserve_config), %zu", config->size,
                          sizeof *copy);
    }
    memcpy(copy, config, config->size);
    if (copy->script != NULL && copy->script[0] == '\0') {
        return error_text(err, errlen, -EINVAL, "evserve_config.script is empty, expected a file, or NULL for none");
    }
    if (check_numbers(copy, err, errlen) < 0) {
        return -ERANGE;
    }
    if (copy->acme != NULL && copy->acme[0] == '\0') {
        return error_text(err, errlen, -EINVAL, "evserve_config.acme is empty, expected a directory, or NULL for none");
    }
    if (copy->unknown_host != 0 && copy->unknown_host != 200 && copy->unknown_host != 404 &&
        copy->unknown_host != 421) {
        return error_text(err, errlen, -EINVAL, "evserve_config.unknown_host is %llu, expected 200, 404 or 421",
                          (unsigned long long)copy->unknown_host);
    }
    if (check_access_log(copy, err, errlen) < 0) {
        return -EINVAL;
    }
    if (check_inherited(copy, err, errlen) < 0) {
        return -EINVAL;
    }
    struct hsts hsts;
    char text[EVSERVE_ERROR_MAX];
    if (copy->hsts != NULL && hsts_parse(&hsts, copy->hsts, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "evserve_config.%s", text);
    }
    struct trusted_proxies *trusted = NULL;
    if (copy->trusted_proxies != NULL &&
        trusted_proxies_parse(&trusted, copy->trusted_proxies, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "evserve_config.trusted_proxies: %s", text);
    }
    trusted_proxies_destroy(trusted);
    uint8_t sources;
    if (copy->forwarded != NULL && forwarded_parse_setting(&sources, copy->forwarded, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "evserve_config.forwarded: %s", text);
    }
    struct destinations *list = NULL;
    int rv;
    if (copy->deny_connect != NULL && destinations_parse_denied(&list, copy->deny_connect, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "evserve_config.deny_connect: %s", text);
    }
    destinations_destroy(list);
    list = NULL;
    if (copy->broker != NULL && (rv = broker_check(copy->broker, text, sizeof text)) < 0) {
        return error_text(err, errlen, rv, "evserve_config.broker: %s", text);
    }
    if (copy->allow_connect != NULL && destinations_parse_allowed(&list, copy->allow_connect, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "evserve_config.allow_connect: %s", text);
    }
    destinations_destroy(list);
    struct metrics_hosts *hosts = NULL;
    rv = copy->metrics_hosts == NULL ? 0 : metrics_hosts_add_list(&hosts, copy->metrics_hosts, text, sizeof text);
    metrics_hosts_destroy(hosts);
    if (rv < 0) {
        return error_text(err, errlen, rv, "evserve_config.metrics_hosts: %s", text);
    }
    return evs_certificates_check(copy, err, errlen);
}

static void drop_routes(struct evs_route *routes)
{
    for (size_t i = 0; routes != NULL && routes[i].route != NULL; i++) {
        mem_free((void *)(uintptr_t)routes[i].route); /* our copy */
        mem_free((void *)(uintptr_t)routes[i].limits);
    }
    mem_free(routes);
}

/* The size of one route in the array of a program whose config has this size: routes got limits in the release in which
 * configs got mounts. */
static size_t route_size(size_t config_size)
{
    return config_size <= offsetof(struct evserve_config, mounts) ? offsetof(struct evs_route, limits)
                                                                  : sizeof(struct evs_route);
}

/* The n-th route of an array of routes of that size. */
static struct evs_route read_route(const struct evs_route *routes, size_t size, size_t n)
{
    struct evs_route route = {0};
    memcpy(&route, (const char *)routes + n * size, size);
    return route;
}

/* Limits may be shorter than today's, too. An invalid size is kept, to be refused later with the route's name. */
static struct evs_limits *copy_limits(const struct evs_limits *limits)
{
    struct evs_limits *copy = mem_zalloc(sizeof *copy);
    if (copy != NULL) {
        memcpy(copy, limits, limits->size < sizeof *copy ? limits->size : sizeof *copy);
        copy->size = limits->size;
    }
    return copy;
}

/* Copy the host's routes, of size bytes each. */
static struct evs_route *copy_routes(const struct evs_route *routes, size_t size)
{
    size_t count = 0;
    while (read_route(routes, size, count).route != NULL) {
        count++;
    }
    struct evs_route *copy = mem_zalloc((count + 1) * sizeof *copy);
    for (size_t i = 0; copy != NULL && i < count; i++) {
        struct evs_route route = read_route(routes, size, i);
        copy[i] = route;
        copy[i].route = mem_copy_text(route.route);
        copy[i].limits = route.limits == NULL || copy[i].route == NULL ? NULL : copy_limits(route.limits);
        if (copy[i].route == NULL || (copy[i].limits == NULL) != (route.limits == NULL)) {
            drop_routes(copy);
            return NULL;
        }
    }
    return copy;
}

void evs_config_drop(struct evserve_config *kept)
{
    mem_free((void *)(uintptr_t)kept->listen);
    mem_free((void *)(uintptr_t)kept->root);
    mem_free((void *)(uintptr_t)kept->script);
    mem_free((void *)(uintptr_t)kept->tls_dev);
    drop_routes((struct evs_route *)(uintptr_t)kept->routes);
    mem_free((void *)(uintptr_t)kept->mounts);
    mem_free((void *)(uintptr_t)kept->rules);
    mem_free((void *)(uintptr_t)kept->hosts);
    mem_free((void *)(uintptr_t)kept->error_pages);
    mem_free((void *)(uintptr_t)kept->proxies);
    mem_free((void *)(uintptr_t)kept->acme);
    mem_free((void *)(uintptr_t)kept->hsts);
    mem_free((void *)(uintptr_t)kept->access_log);
    mem_free((void *)(uintptr_t)kept->access_log_format);
    mem_free((void *)(uintptr_t)kept->trusted_proxies);
    mem_free((void *)(uintptr_t)kept->forwarded);
    mem_free((void *)(uintptr_t)kept->metrics_hosts);
    mem_free((void *)(uintptr_t)kept->deny_connect);
    mem_free((void *)(uintptr_t)kept->broker);
    mem_free((void *)(uintptr_t)kept->allow_connect);
}

int evs_config_keep(struct evserve_config *kept, const struct evserve_config *config)
{
    *kept = *config;
    kept->size = sizeof *kept;
    kept->listen = config->listen == NULL ? NULL : mem_copy_text(config->listen);
    kept->root = config->root == NULL ? NULL : mem_copy_text(config->root);
    kept->script = config->script == NULL ? NULL : mem_copy_text(config->script);
    kept->routes = config->routes == NULL ? NULL : copy_routes(config->routes, route_size(config->size));
    kept->mounts = config->mounts == NULL ? NULL : evs_mounts_copy(config->mounts);
    kept->rules = config->rules == NULL ? NULL : evs_rules_copy(config->rules);
    kept->hosts = config->hosts == NULL ? NULL : evs_vhosts_copy(config->hosts);
    kept->error_pages = config->error_pages == NULL ? NULL : evs_error_pages_copy(config->error_pages);
    kept->proxies = config->proxies == NULL ? NULL : evs_proxies_copy(config->proxies);
    kept->acme = config->acme == NULL ? NULL : mem_copy_text(config->acme);
    kept->hsts = config->hsts == NULL ? NULL : mem_copy_text(config->hsts);
    kept->access_log = config->access_log == NULL ? NULL : mem_copy_text(config->access_log);
    kept->access_log_format = config->access_log_format == NULL ? NULL : mem_copy_text(config->access_log_format);
    kept->trusted_proxies = config->trusted_proxies == NULL ? NULL : mem_copy_text(config->trusted_proxies);
    kept->forwarded = config->forwarded == NULL ? NULL : mem_copy_text(config->forwarded);
    kept->metrics_hosts = config->metrics_hosts == NULL ? NULL : mem_copy_text(config->metrics_hosts);
    kept->broker = config->broker == NULL ? NULL : mem_copy_text(config->broker);
    kept->deny_connect = config->deny_connect == NULL ? NULL : mem_copy_text(config->deny_connect);
    kept->allow_connect = config->allow_connect == NULL ? NULL : mem_copy_text(config->allow_connect);
    kept->allow_read = kept->allow_write = NULL; /* used at the start only */
    kept->inherited = NULL;                      /* likewise */
    kept->inherited_count = 0;
    kept->certificates = NULL; /* evs_certificates.h copies them */
    kept->tls_dev = config->tls_dev == NULL ? NULL : mem_copy_text(config->tls_dev);
    kept->tls_min_version = kept->tls_ciphers = kept->tls_groups = NULL;
    bool is_whole = (kept->listen == NULL) == (config->listen == NULL) &&
                    (kept->root == NULL) == (config->root == NULL) &&
                    (kept->script == NULL) == (config->script == NULL) &&
                    (kept->tls_dev == NULL) == (config->tls_dev == NULL) &&
                    (kept->routes == NULL) == (config->routes == NULL) &&
                    (kept->mounts == NULL) == (config->mounts == NULL) &&
                    (kept->rules == NULL) == (config->rules == NULL) &&
                    (kept->hosts == NULL) == (config->hosts == NULL) &&
                    (kept->error_pages == NULL) == (config->error_pages == NULL) &&
                    (kept->proxies == NULL) == (config->proxies == NULL) &&
                    (kept->acme == NULL) == (config->acme == NULL) && (kept->hsts == NULL) == (config->hsts == NULL) &&
                    (kept->access_log == NULL) == (config->access_log == NULL) &&
                    (kept->access_log_format == NULL) == (config->access_log_format == NULL) &&
                    (kept->trusted_proxies == NULL) == (config->trusted_proxies == NULL) &&
                    (kept->forwarded == NULL) == (config->forwarded == NULL) &&
                    (kept->metrics_hosts == NULL) == (config->metrics_hosts == NULL) &&
                    (kept->broker == NULL) == (config->broker == NULL) &&
                    (kept->deny_connect == NULL) == (config->deny_connect == NULL) &&
                    (kept->allow_connect == NULL) == (config->allow_connect == NULL);
    return is_whole ? 0 : -ENOMEM;
}

/* Where a host writes one limit. */
struct setting {
    const char *name;       /* in limits.def */
    enum limit_scope scope; /* a route has it, too */
    size_t of_config;       /* offset of its uint64_t in struct evserve_config */
    size_t of_route;        /* in struct evs_limits, of LIMIT_ROUTE */
};

/* This compiles only if each limit is in the config, and in the limits of a route if it may differ from route to
 * route. */
static const struct setting settings[] = {
#define FIELD_MS(name)        name##_ms
#define FIELD_BYTES(name)     name
#define FIELD_COUNT(name)     name
#define OF_ROUTE_ROUTE(name)  offsetof(struct evs_limits, name)
#define OF_ROUTE_SERVER(name) 0
#define LIMIT(name, scope, unit, initial, least, most, what)                                                           \
    {#name, LIMIT_##scope, offsetof(struct evserve_config, FIELD_##unit(name)), OF_ROUTE_##scope(FIELD_##unit(name))},
#include "http/limits.def"
#undef LIMIT
};

enum { SETTING_COUNT = sizeof settings / sizeof settings[0] };

/* Set a limit to the value at an offset in values, if the host gave one. */
static int apply(struct limits *limits, const struct setting *setting, const void *values, size_t offset, char *err,
                 size_t errlen)
{
    uint64_t value;
    memcpy(&value, (const char *)values + offset, sizeof value);
    return value == 0 ? 0
                      : limits_set(limits, limits_find(setting->name), value == EVSERVE_ZERO ? 0 : value, err, errlen);
}

int evs_config_apply(struct limits *limits, const struct evserve_config *config, char *err, size_t errlen)
{
    int rv = 0;
    for (size_t i = 0; i < SETTING_COUNT && rv == 0; i++) {
        rv = apply(limits, &settings[i], config, settings[i].of_config, err, errlen);
    }
    return rv < 0 ? rv : limits_check(limits, err, errlen);
}

static int check_limits_size(const struct evs_limits *own, char *err, size_t errlen)
{
    if (own->size < offsetof(struct evs_limits, body_timeout_ms) || own->size > sizeof *own) {
        return error_text(err, errlen, -EINVAL, "size is %zu, expected sizeof(struct evs_limits), %zu", own->size,
                          sizeof *own);
    }
    return 0;
}

int evs_config_apply_route(struct limits *limits, const struct evs_limits *own, char *err, size_t errlen)
{
    int rv = check_limits_size(own, err, errlen);
    for (size_t i = 0; i < SETTING_COUNT && rv == 0; i++) {
        if (settings[i].scope == LIMIT_ROUTE) {
            rv = apply(limits, &settings[i], own, settings[i].of_route, err, errlen);
        }
    }
    return rv < 0 ? rv : limits_check(limits, err, errlen);
}

int evs_config_apply_host(struct vhost *vhost, const struct evs_limits *own, char *err, size_t errlen)
{
    struct limits checked;
    limits_init(&checked);
    int rv = check_limits_size(own, err, errlen);
    for (size_t i = 0; i < SETTING_COUNT && rv == 0; i++) {
        uint64_t value;
        memcpy(&value, (const char *)own + settings[i].of_route, sizeof value);
        if (settings[i].scope != LIMIT_ROUTE || value == 0) {
            continue;
        }
        const struct limit_info *limit = limits_find(settings[i].name);
        value = value == EVSERVE_ZERO ? 0 : value;
        rv = limits_set(&checked, limit, value, err, errlen);
        if (rv == 0 && vhost_set_limit(vhost, limit, value) < 0) {
            rv = error_text(err, errlen, -ENOMEM, "%s", errno_text(ENOMEM));
        }
    }
    return rv;
}
