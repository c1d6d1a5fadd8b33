/* Proxies of a host: struct evs_proxy of evserve.h, made proxies of each site.
 *
 * Failure modes: an invalid one is refused with a text that names it:
 *
 *     evserve_config.proxies[1]: the upstream "ftp://x" ... */

#include "http/host/evs_proxies.h"

#include "core/log.h"
#include "core/mem.h"
#include "evserve.h"
#include "http/handler.h"
#include "http/host/evs_config.h"
#include "http/limits.h"
#include "http/proxy/proxy.h"
#include "http/router.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PROXY_WHY_MAX = 512, PROXIES_NAME_MAX = 64 };

struct host_proxy {
    struct proxy *proxy;          /* owned */
    const struct evs_limits *own; /* of the host's config; NULL without any */
    struct limits limits;         /* of the server and its own, of own */
};

struct evs_proxies {
    char name[PROXIES_NAME_MAX]; /* where they come from: "evserve_config.proxies" */
    size_t count;
    struct host_proxy list[];
};

static size_t count_given_upstreams(const char *const *upstreams)
{
    size_t count = 0;
    while (upstreams != NULL && upstreams[count] != NULL) {
        count++;
    }
    return count;
}

/* Making. */

static int register_proxy(struct router *router, const struct evs_proxy *given, struct proxy *proxy, const char *where,
                          char *err, size_t errlen)
{
    size_t len = strlen(given->prefix) + sizeof "/*rest";
    char *pattern = mem_alloc(len);
    if (pattern == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    bool is_root = strcmp(given->prefix, "/") == 0;
    snprintf(pattern, len, "%s/*rest", is_root ? "" : given->prefix);
    struct handler *handler = proxy_handler(proxy);
    int rv = is_root ? 0 : router_add(router, METHODS_ALL, given->prefix, handler, where, err, errlen);
    rv = rv < 0 ? rv : router_add(router, METHODS_ALL, pattern, handler, where, err, errlen);
    mem_free(pattern);
    return rv;
}

static int create_proxy(struct host_proxy *made, const struct evs_proxy *given, const struct evs_proxies_place *place,
                        const char *where, char *err, size_t errlen)
{
    char why[PROXY_WHY_MAX];
    struct proxy_field fields[PROXY_FIELDS_MAX + 1]; /* one more than allowed, so that too many are noticed */
    struct proxy_options options = {
        .prefix = given->prefix,
        .upstreams = given->upstreams,
        .upstream_count = count_given_upstreams(given->upstreams),
        .host = given->host,
        .fields = fields,
        .connect_timeout_ms = given->connect_timeout_ms,
        .timeout_ms = given->timeout_ms,
        .tunnel_timeout_ms = given->tunnel_timeout_ms,
        .fail_timeout_ms = given->fail_timeout_ms,
        .max_fails = given->max_fails,
        .tries = given->tries,
        .keepalive = given->keepalive > 0 ? (unsigned)given->keepalive : 0,
        .never_keeps = given->keepalive < 0,
        .strips_prefix = given->strip_prefix != 0,
        .trusts_anybody = given->trust_anybody != 0,
        .ca_file = given->ca_file,
        .cert_file = given->cert_file,
        .key_file = given->key_file,
        .server_name = given->server_name,
        .base_fd = place->base_fd,
    };
    const struct evs_field *headers = given->headers;
    for (; headers != NULL && headers->name != NULL && options.field_count <= PROXY_FIELDS_MAX; headers++) {
        fields[options.field_count++] = (struct proxy_field){headers->name, headers->value};
    }
    if ((given->flags & ~(unsigned)(EVS_HALF_CLOSE | EVS_NO_ACCESS_LOG)) != 0) {
        return error_text(err, errlen, -EINVAL, "%s: flags that do not exist: %#x", where, given->flags);
    }
    int rv = proxy_create(&made->proxy, &options, place->outbound, why, sizeof why);
    if (rv < 0) {
        return error_text(err, errlen, rv, "%s: %s", where, why);
    }
    struct handler *handler = proxy_handler(made->proxy);
    made->own = given->limits;
    handler->limits = made->own == NULL ? NULL : &made->limits;
    handler->half_close = (given->flags & EVS_HALF_CLOSE) != 0;
    handler->is_unlogged = (given->flags & EVS_NO_ACCESS_LOG) != 0;
    return register_proxy(place->router, given, made->proxy, where, err, errlen);
}

int evs_proxies_create(struct evs_proxies **made, const struct evs_proxy *proxies,
                       const struct evs_proxies_place *place, char *err, size_t errlen)
{
    size_t count = 0;
    while (proxies[count].prefix != NULL) {
        count++;
    }
    *made = mem_zalloc(sizeof **made + count * sizeof(*made)->list[0]);
    if (*made == NULL) {
        return error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM));
    }
    snprintf((*made)->name, sizeof(*made)->name, "%s", place->name);
    int rv = 0;
    for (size_t i = 0; rv == 0 && i < count; i++) {
        char where[128];
        snprintf(where, sizeof where, "%s[%zu]", place->name, i);
        rv = create_proxy(&(*made)->list[(*made)->count++], &proxies[i], place, where, err, errlen);
    }
    return rv;
}

int evs_proxies_settle_limits(struct evs_proxies *proxies, const struct limits *limits, char *err, size_t errlen)
{
    for (size_t i = 0; proxies != NULL && i < proxies->count; i++) {
        struct host_proxy *proxy = &proxies->list[i];
        char why[PROXY_WHY_MAX];
        proxy->limits = *limits;
        int rv = proxy->own == NULL ? 0 : evs_config_apply_route(&proxy->limits, proxy->own, why, sizeof why);
        if (rv < 0) {
            return error_text(err, errlen, rv, "%s[%zu].limits: %s", proxies->name, i, why);
        }
    }
    return 0;
}

void evs_proxies_destroy(struct evs_proxies *proxies)
{
    for (size_t i = 0; proxies != NULL && i < proxies->count; i++) {
        proxy_destroy(proxies->list[i].proxy);
    }
    mem_free(proxies);
}
