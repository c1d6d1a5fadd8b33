/* Hosts of a C host: struct evs_vhost of evserve.h, copied when the server starts, then made hosts of each site.
 *
 * Failure modes: what is invalid is refused with a text that names its member:
 *
 *     evserve_config.hosts[1].names: "a:80" is no name of a host: a name without a port is expected */

#include "http/host/evs_vhosts.h"

#include "core/log.h"
#include "core/mem.h"
#include "evserve.h"
#include "http/host/evs_auth.h"
#include "http/host/evs_block.h"
#include "http/host/evs_config.h"
#include "http/host/evs_mounts.h"
#include "http/host/evs_proxies.h"
#include "http/host/evs_proxy_copies.h"
#include "http/host/evs_routes.h"
#include "http/host/evs_rules.h"
#include "http/site.h"
#include "http/site_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { VHOST_WHY_MAX = 768, VHOST_MEMBER_MAX = 64 };

struct evs_vhosts {
    size_t count; /* of list */
    struct {
        struct vhost *vhost;         /* borrowed from the site */
        struct evs_routes *routes;   /* owned, or NULL */
        struct evs_proxies *proxies; /* likewise */
    } list[];
};

/* Copying. */

static size_t count_vhosts(const struct evs_vhost *hosts)
{
    size_t count = 0;
    while (hosts[count].names != NULL) {
        count++;
    }
    return count;
}

static const struct evs_route *put_host_routes(struct evs_block *block, const struct evs_route *routes)
{
    size_t count = 0;
    while (routes[count].route != NULL) {
        count++;
    }
    struct evs_route *copy = evs_block_put(block, routes, (count + 1) * sizeof routes[0]);
    for (size_t i = 0; i < count; i++) {
        struct evs_route route = routes[i];
        route.route = evs_block_text(block, route.route);
        route.limits = evs_block_limits(block, route.limits);
        if (copy != NULL) {
            copy[i] = route;
        }
    }
    return copy;
}

static struct evs_vhost *put_vhosts(struct evs_block *block, const struct evs_vhost *hosts)
{
    size_t count = count_vhosts(hosts);
    struct evs_vhost *copy = evs_block_put(block, hosts, (count + 1) * sizeof hosts[0]);
    for (size_t i = 0; i < count; i++) {
        struct evs_vhost host = hosts[i];
        host.names = evs_block_texts(block, host.names);
        host.routes = host.routes == NULL ? NULL : put_host_routes(block, host.routes);
        host.mounts = host.mounts == NULL ? NULL : evs_mounts_put(block, host.mounts);
        host.rules = host.rules == NULL ? NULL : evs_rules_put(block, host.rules);
        host.error_pages = host.error_pages == NULL ? NULL : evs_error_pages_put(block, host.error_pages);
        host.proxies = host.proxies == NULL ? NULL : evs_proxies_put(block, host.proxies);
        host.limits = evs_block_limits(block, host.limits);
        host.access_log = host.access_log == NULL ? NULL : evs_block_text(block, host.access_log);
        host.access_log_format = host.access_log_format == NULL ? NULL : evs_block_text(block, host.access_log_format);
        if (copy != NULL) {
            copy[i] = host;
        }
    }
    return copy;
}

struct evs_vhost *evs_vhosts_copy(const struct evs_vhost *hosts)
{
    struct evs_block block = {0};
    put_vhosts(&block, hosts);
    block = (struct evs_block){.data = mem_alloc(block.used)};
    return block.data == NULL ? NULL : put_vhosts(&block, hosts);
}

/* Adding. */

static int add_names(struct site *site, struct vhost *vhost, const struct evs_vhost *host, size_t number, char *err,
                     size_t errlen)
{
    char why[VHOST_WHY_MAX];
    int rv = host->names[0] == NULL ? error_text(why, sizeof why, -EINVAL, "there is none") : 0;
    for (size_t i = 0; rv == 0 && host->names[i] != NULL; i++) {
        rv = vhosts_add_name(site->hosts, vhost, host->names[i], why, sizeof why);
    }
    return rv < 0 ? error_text(err, errlen, rv, "evserve_config.hosts[%zu].names: %s", number, why) : 0;
}

static int add_limits(struct vhost *vhost, const struct evs_limits *limits, size_t number, char *err, size_t errlen)
{
    char why[VHOST_WHY_MAX];
    int rv = limits == NULL ? 0 : evs_config_apply_host(vhost, limits, why, sizeof why);
    return rv < 0 ? error_text(err, errlen, rv, "evserve_config.hosts[%zu].limits: %s", number, why) : 0;
}

static int add_host_access(struct vhost *vhost, const struct evs_vhost *host, size_t number, char *err, size_t errlen)
{
    char why[VHOST_WHY_MAX];
    const char *target = host->no_access_log != 0 ? "off" : host->access_log;
    if (host->access_log != NULL && host->access_log[0] == '\0') {
        return error_text(err, errlen, -EINVAL,
                          "evserve_config.hosts[%zu].access_log is empty, expected a file, \"stdout\", \"syslog:\", or "
                          "\"off\"",
                          number);
    }
    if (vhost_set_access_log(vhost, target) < 0) {
        return error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM));
    }
    int rv = host->access_log_format == NULL ? 0
                                             : vhost_set_access_format(vhost, host->access_log_format, why, sizeof why);
    return rv < 0 ? error_text(err, errlen, rv, "evserve_config.hosts[%zu].access_log_format: %s", number, why) : 0;
}

/* What responds to its requests; hosts->list[number] gets what has to be freed. */
static int add_handlers(struct evs_vhosts *hosts, const struct evs_vhost *host, size_t number, const struct site *site,
                        struct outbound *outbound, char *err, size_t errlen)
{
    struct router *router = hosts->list[number].vhost->router;
    char member[VHOST_MEMBER_MAX];
    int rv = 0;
    if (host->routes != NULL) {
        snprintf(member, sizeof member, "evserve_config.hosts[%zu].routes", number);
        rv = evs_routes_create(&hosts->list[number].routes, host->routes, router, member, err, errlen);
    }
    if (rv == 0 && host->proxies != NULL) {
        snprintf(member, sizeof member, "evserve_config.hosts[%zu].proxies", number);
        const struct evs_proxies_place place = {.router = router,
                                                .outbound = outbound,
                                                .base_fd = site->base_fd,
                                                .name = member};
        rv = evs_proxies_create(&hosts->list[number].proxies, host->proxies, &place, err, errlen);
    }
    return rv;
}

/* What else is served, or holds for it. */
static int add_files(struct vhost *vhost, const struct evs_vhost *host, size_t number, const struct site *site,
                     char *err, size_t errlen)
{
    char member[VHOST_MEMBER_MAX];
    int rv = 0;
    if (host->mounts != NULL) {
        snprintf(member, sizeof member, "evserve_config.hosts[%zu].mounts", number);
        rv = evs_mounts_add(vhost->mounts, host->mounts, member, err, errlen);
    }
    if (rv == 0 && host->rules != NULL) {
        snprintf(member, sizeof member, "evserve_config.hosts[%zu].rules", number);
        rv = evs_rules_add(&vhost->rules, host->rules, site->base_fd, member, err, errlen);
    }
    if (rv == 0 && host->error_pages != NULL) {
        snprintf(member, sizeof member, "evserve_config.hosts[%zu].error_pages", number);
        rv = evs_error_pages_add(vhost, site->cache, site->base_fd, host->error_pages, member, err, errlen);
    }
    return rv;
}

int evs_vhosts_create(struct evs_vhosts **added, const struct evs_vhost *hosts, struct site *site,
                      struct outbound *outbound, char *err, size_t errlen)
{
    size_t count = count_vhosts(hosts);
    struct evs_vhosts *made = mem_zalloc(sizeof *made + count * sizeof made->list[0]);
    int rv = made == NULL ? error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM)) : 0;
    for (size_t i = 0; rv == 0 && i < count; i++) {
        struct vhost *vhost = NULL;
        if (site_add_host(site, "", &vhost) < 0) {
            rv = error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM));
            break;
        }
        vhost->is_pinned = true;
        made->list[made->count++].vhost = vhost;
        rv = add_names(site, vhost, &hosts[i], i, err, errlen);
        rv = rv < 0 ? rv : add_host_access(vhost, &hosts[i], i, err, errlen);
        rv = rv < 0 ? rv : add_limits(vhost, hosts[i].limits, i, err, errlen);
        rv = rv < 0 ? rv : add_files(vhost, &hosts[i], i, site, err, errlen);
        rv = rv < 0 ? rv : add_handlers(made, &hosts[i], i, site, outbound, err, errlen);
    }
    if (rv < 0) {
        evs_vhosts_destroy(made);
        return rv;
    }
    *added = made;
    return 0;
}

void evs_vhosts_destroy(struct evs_vhosts *hosts)
{
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        evs_routes_destroy(hosts->list[i].routes);
        evs_proxies_destroy(hosts->list[i].proxies);
    }
    mem_free(hosts);
}

bool evs_vhosts_have_metrics(const struct evs_vhosts *hosts)
{
    bool has_some = false;
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        has_some = has_some || evs_routes_have_metrics(hosts->list[i].routes);
    }
    return has_some;
}

int evs_vhosts_settle_limits(struct evs_vhosts *hosts, const struct site *site, char *err, size_t errlen)
{
    int rv = 0;
    for (size_t i = 0; rv == 0 && hosts != NULL && i < hosts->count; i++) {
        const struct limits *limits = vhost_limits(hosts->list[i].vhost, &site->limits);
        rv = evs_routes_settle_limits(hosts->list[i].routes, limits, err, errlen);
        rv = rv < 0 ? rv : evs_proxies_settle_limits(hosts->list[i].proxies, limits, err, errlen);
    }
    return rv;
}
