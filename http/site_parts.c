/* Composition of what is served. */

#include "http/site_parts.h"

#include "core/broker.h"
#include "core/destinations.h"
#include "core/log.h"
#include "core/mem.h"
#include "http/access_format.h"
#include "http/access_hosts.h"
#include "http/acme.h"
#include "http/file_cache.h"
#include "http/file_reply.h"
#include "http/forwarded.h"
#include "http/metrics_hosts.h"
#include "http/site.h"
#include "http/trusted_proxies.h"
#include "http/vhost_parts.h"
#include "http/vhosts.h"

#include <errno.h>

int site_create(struct site **site, const struct log *log)
{
    struct site *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    limits_init(&made->limits);
    made->forwarded = FORWARDED_BY_DEFAULT;
    int rv = file_cache_create(&made->cache, &made->limits, log);
    rv = rv < 0 ? rv : vhost_init(&made->default_host, made->cache);
    rv = rv < 0 ? rv : file_replies_create(&made->replies, made->cache);
    if (rv < 0) {
        site_destroy(made);
        return rv;
    }
    *site = made;
    return 0;
}

void site_destroy(struct site *site)
{
    if (site == NULL) {
        return;
    }
    struct vhost *vhost;
    access_hosts_destroy(site->access_hosts);
    for (size_t n = 0; (vhost = vhosts_get(site->hosts, n)) != NULL; n++) {
        vhost_destroy(vhost);
    }
    vhosts_destroy(site->hosts);
    vhost_done(&site->default_host);
    file_replies_destroy(site->replies);
    file_cache_destroy(site->cache);
    acme_destroy(site->acme);
    trusted_proxies_destroy(site->trusted);
    destinations_destroy(site->denied);
    mem_free(site->broker);
    metrics_hosts_destroy(site->metrics_hosts);
    mem_free(site->access_log);
    mem_free(site->access_format);
    mem_free(site);
}

int site_add_host(struct site *site, const char *where, struct vhost **made)
{
    struct vhost *vhost = NULL;
    int rv = site->hosts == NULL ? vhosts_create(&site->hosts) : 0;
    rv = rv < 0 ? rv : vhost_create(&vhost, site->cache, where);
    rv = rv < 0 ? rv : vhosts_add(site->hosts, vhost);
    if (rv < 0) {
        vhost_destroy(vhost);
        return rv;
    }
    vhost_set_base(vhost, site->base_fd);
    *made = vhost;
    return 0;
}

int site_settle_hosts(struct site *site, char *err, size_t errlen)
{
    int rv = 0;
    struct vhost *vhost;
    site->default_host.compress = site->default_host.own_compress;
    for (size_t n = 0; rv == 0 && (vhost = vhosts_get(site->hosts, n)) != NULL; n++) {
        rv = vhost_settle(vhost, &site->default_host, &site->limits, err, errlen);
    }
    return rv;
}

void site_set_base(struct site *site, int base_fd)
{
    site->base_fd = base_fd;
    const struct vhost *vhost;
    for (size_t n = 0; (vhost = site_host(site, n)) != NULL; n++) {
        vhost_set_base(vhost, base_fd);
    }
    file_replies_set_base(site->replies, base_fd);
}

int site_set_acme(struct site *site, const char *directory)
{
    struct acme *acme;
    int rv = acme_create(&acme, directory, site->base_fd);
    if (rv == 0) {
        acme_destroy(site->acme);
        site->acme = acme;
    }
    return rv;
}

int site_set_trusted_proxies(struct site *site, const char *text, char *err, size_t errlen)
{
    struct trusted_proxies *trusted;
    int rv = trusted_proxies_parse(&trusted, text, err, errlen);
    if (rv == 0) {
        trusted_proxies_destroy(site->trusted);
        site->trusted = trusted;
    }
    return rv;
}

int site_set_forwarded(struct site *site, const char *text, char *err, size_t errlen)
{
    return forwarded_parse_setting(&site->forwarded, text, err, errlen);
}

int site_set_deny_connect(struct site *site, const char *text, char *err, size_t errlen)
{
    struct destinations *denied;
    int rv = destinations_parse_denied(&denied, text, err, errlen);
    if (rv == 0) {
        destinations_destroy(site->denied);
        site->denied = denied;
    }
    return rv;
}

static int set_own_text(char **place, const char *text)
{
    char *copy = mem_copy_text(text);
    if (copy == NULL) {
        return -ENOMEM;
    }
    mem_free(*place);
    *place = copy;
    return 0;
}

int site_set_broker(struct site *site, const char *url, char *err, size_t errlen)
{
    int rv = broker_check(url, err, errlen);
    return rv < 0 ? rv : set_own_text(&site->broker, url);
}

int site_set_access_log(struct site *site, const char *target)
{
    return set_own_text(&site->access_log, target);
}

int site_silence(struct site *site)
{
    int rv = site_set_access_log(site, "off");
    struct vhost *vhost;
    for (size_t n = 0; rv == 0 && (vhost = vhosts_get(site->hosts, n)) != NULL; n++) {
        rv = vhost_set_access_log(vhost, "off");
    }
    return rv;
}

int site_set_access_format(struct site *site, const char *text, char *err, size_t errlen)
{
    struct access_format *format;
    int rv = access_format_parse(&format, text, err, errlen);
    if (rv == 0) {
        access_format_put(format);
        rv = set_own_text(&site->access_format, text);
    }
    return rv == -ENOMEM ? error_text(err, errlen, rv, "%s", errno_text(ENOMEM)) : rv;
}

void site_abandon(struct site *site)
{
    const struct vhost *vhost;
    for (size_t n = 0; (vhost = site_host(site, n)) != NULL; n++) {
        vhost_abandon(vhost);
    }
    file_replies_abandon(site->replies);
    file_cache_abandon(site->cache);
}
