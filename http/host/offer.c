/* Happy path: offer_create() makes a site and fills it: the root, the mounts, the routes in C, the script.
 * offer_listen() opens its addresses on the server that serves it.
 *
 * Failure modes: a step that fails leaves its text in err, and the half-built offer is destroyed. */

#include "http/host/offer.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/net.h"
#include "http/access_hosts.h"
#include "http/host/evs_auth.h"
#include "http/host/evs_mounts.h"
#include "http/host/evs_proxies.h"
#include "http/host/evs_routes.h"
#include "http/host/evs_rules.h"
#include "http/host/evs_vhosts.h"
#include "http/metrics_hosts.h"
#include "http/server.h"
#include "http/site.h"
#include "http/site_parts.h"
#include "http/static_mounts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    ADDRESS_MAX = 4096,    /* bytes of one address of a list with its NUL */
    LOAD_ERROR_MAX = 1024, /* as EVSERVE_ERROR_MAX */
};

static const char default_address[] = "127.0.0.1:8080";

void offer_destroy(struct offer *offer)
{
    if (offer != NULL) {
        if (offer->script != NULL) {
            offer->kind->close(offer->script);
        }
        site_destroy(offer->site);
        evs_routes_destroy(offer->routes);
        evs_proxies_destroy(offer->proxies);
        evs_vhosts_destroy(offer->hosts);
        mem_free(offer);
    }
}

static int open_script(struct offer *offer, const struct offer_config *config, struct reactor *reactor,
                       const struct log *log, char *err, size_t errlen)
{
    if (config->kind == NULL) {
        return error_text(err, errlen, -ENOTSUP,
                          "%s: this evserve was built without Lua (EVSERVE_LUA=OFF), so it cannot run scripts",
                          config->script);
    }
    offer->kind = config->kind;
    return offer->kind->open(&offer->script, config->script, offer->site, reactor, log, &config->host, err, errlen);
}

/* What the host has set wins over the script. */
static int set_own(struct offer *offer, const struct offer_config *config, char *err, size_t errlen)
{
    char text[LOAD_ERROR_MAX];
    if (config->adds_tls) {
        offer->site->hsts.len = 0; /* browsers would keep to HTTPS on localhost when the certificate is long gone */
    }
    if (config->hsts != NULL && hsts_parse(&offer->site->hsts, config->hsts, text, sizeof text) < 0) {
        return error_text(err, errlen, -EINVAL, "%s", text);
    }
    int rv = config->acme == NULL ? 0 : site_set_acme(offer->site, config->acme);
    if (rv == 0 && config->access_log != NULL) {
        rv = strcmp(config->access_log, "off") == 0 ? site_silence(offer->site)
                                                    : site_set_access_log(offer->site, config->access_log);
    }
    if (rv == 0 && config->trusted_proxies != NULL) {
        rv = site_set_trusted_proxies(offer->site, config->trusted_proxies, text, sizeof text);
    }
    if (rv == 0 && config->forwarded != NULL) {
        rv = site_set_forwarded(offer->site, config->forwarded, text, sizeof text);
    }
    offer->site->strips_forwarded = offer->site->strips_forwarded || config->strip_forwarded;
    if (rv == 0 && config->deny_connect != NULL) {
        rv = site_set_deny_connect(offer->site, config->deny_connect, text, sizeof text);
    }
    if (rv == 0 && config->broker != NULL) {
        rv = site_set_broker(offer->site, config->broker, text, sizeof text);
    }
    if (rv == 0 && config->metrics_hosts != NULL) {
        rv = metrics_hosts_add_list(&offer->site->metrics_hosts, config->metrics_hosts, text, sizeof text);
    }
    if (rv == 0 && config->unknown_host != 0) {
        offer->site->unknown_host = config->unknown_host == 200 ? 0 : (int)config->unknown_host;
    }
    if (rv == -ENOSPC) { /* with those of the script */
        return error_text(err, errlen, rv, "evserve_config.metrics_hosts: %s", text);
    }
    if (rv == 0 && config->access_log_format != NULL) { /* it is valid, so nothing but memory can be missing */
        rv = site_set_access_format(offer->site, config->access_log_format, text, sizeof text);
    }
    return rv < 0 ? error_text(err, errlen, rv, "cannot start: %s", errno_text(-rv)) : 0;
}

static int fill(struct offer *offer, const struct offer_config *config, struct reactor *reactor, const struct log *log,
                char *err, size_t errlen)
{
    site_set_base(offer->site, config->base_fd);
    if (config->root != NULL) { /* before the script, whose own "/" then gives way */
        int rv = static_mounts_pin(offer->site->default_host.mounts, "/", config->root, NULL, err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    if (config->mounts != NULL) {
        int rv = evs_mounts_add(offer->site->default_host.mounts, config->mounts, "evserve_config.mounts", err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    if (config->rules != NULL) {
        int rv = evs_rules_add(&offer->site->default_host.rules, config->rules, config->base_fd, "evserve_config.rules",
                               err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    if (config->error_pages != NULL) {
        int rv = evs_error_pages_add(&offer->site->default_host, offer->site->cache, config->base_fd,
                                     config->error_pages, "evserve_config.error_pages", err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    if (config->routes != NULL) {
        int rv = evs_routes_create(&offer->routes, config->routes, offer->site->default_host.router,
                                   "evserve_config.routes", err, errlen);
        if (rv < 0) {
            return rv;
        }
        offer->site->has_metrics = evs_routes_have_metrics(offer->routes);
    }
    if (config->proxies != NULL) {
        const struct evs_proxies_place place = {.router = offer->site->default_host.router,
                                                .outbound = config->host.outbound,
                                                .base_fd = config->base_fd,
                                                .name = "evserve_config.proxies"};
        int rv = evs_proxies_create(&offer->proxies, config->proxies, &place, err, errlen);
        if (rv < 0) {
            return rv;
        }
    }
    if (config->hosts != NULL) {
        int rv = evs_vhosts_create(&offer->hosts, config->hosts, offer->site, config->host.outbound, err, errlen);
        if (rv < 0) {
            return rv;
        }
        offer->site->has_metrics = offer->site->has_metrics || evs_vhosts_have_metrics(offer->hosts);
    }
    int rv = config->script == NULL ? 0 : open_script(offer, config, reactor, log, err, errlen);
    return rv < 0 ? rv : set_own(offer, config, err, errlen);
}

int offer_create(struct offer **made, const struct offer_config *config, struct reactor *reactor, const struct log *log,
                 char *err, size_t errlen)
{
    struct offer *offer = mem_zalloc(sizeof *offer);
    int rv = offer == NULL ? -ENOMEM : site_create(&offer->site, log);
    if (rv < 0) {
        mem_free(offer);
        return error_text(err, errlen, rv, "cannot start: %s", errno_text(-rv));
    }
    offer->adds_tls = config->adds_tls;
    rv = fill(offer, config, reactor, log, err, errlen);
    if (rv < 0) {
        offer_destroy(offer);
        return rv;
    }
    *made = offer;
    return 0;
}

/* Addresses. */

/* Call fn with each address of a list separated by commas. */
static int each_of_list(const char *list, offer_address_fn fn, void *arg)
{
    int rv = 0;
    bool has_one = false;
    for (const char *at = list; rv >= 0 && *at != '\0';) {
        at += strspn(at, ", ");
        size_t len = strcspn(at, ",");
        if (len > 0) {
            char one[ADDRESS_MAX];
            snprintf(one, sizeof one, "%.*s", (int)len, at);
            rv = fn(arg, one, NULL);
            has_one = true;
        }
        at += len;
    }
    return has_one ? rv : fn(arg, list, NULL); /* an empty list is a mistake, and fn reports it */
}

/* The n-th address that the script asks for, or NULL. */
static const char *script_address(const struct offer *offer, size_t n)
{
    return offer->script == NULL ? NULL : offer->kind->listen(offer->script, n);
}

/* Call fn with each address that the script asks for, or with the default one. */
static int each_of_script(const struct offer *offer, offer_address_fn fn, void *arg)
{
    int rv = 0;
    for (size_t n = 0; rv >= 0; n++) {
        const char *address = script_address(offer, n);
        if (address == NULL) {
            return n == 0 ? fn(arg, default_address, NULL) : rv;
        }
        rv = fn(arg, address, offer->kind->listen_place(offer->script, n));
    }
    return rv;
}

/* Call fn with each address as it was given. */
static int each_given(const struct offer *offer, const char *listen, offer_address_fn fn, void *arg)
{
    if (listen == NULL) {
        return each_of_script(offer, fn, arg);
    }
    return strcmp(listen, "none") == 0 ? 0 : each_of_list(listen, fn, arg);
}

/* A search for an address. */
struct find_call {
    bool redirects; /* one that redirects to HTTPS, rather than one that speaks TLS */
    char *text;     /* OFFER_ADDRESS_MAX bytes */
};

/* Describe the first address that is searched for. */
static int find_address(void *arg, const char *address, const char *place)
{
    const struct find_call *call = arg;
    struct net_address parsed;
    if (call->text[0] == '\0' && net_address_parse(&parsed, address, NULL, 0) == 0 &&
        (call->redirects ? parsed.redirects : parsed.tls)) {
        snprintf(call->text, OFFER_ADDRESS_MAX, "%s%slisten address \"%.200s\"", place == NULL ? "" : place,
                 place == NULL ? "" : ": ", address);
    }
    return 0;
}

struct add_call {
    offer_address_fn fn;
    void *arg;
};

/* Pass an address on with "?tls", unless it redirects to HTTPS. One that is not valid is left as it is, for the error
 * about it. */
static int add_tls(void *arg, const char *address, const char *place)
{
    const struct add_call *call = arg;
    struct net_address parsed;
    char secured[ADDRESS_MAX + 8];
    bool is_changed = net_address_parse(&parsed, address, NULL, 0) == 0 && !parsed.redirects;
    snprintf(secured, sizeof secured, "%s%s", address, strchr(address, '?') == NULL ? "?tls" : "&tls");
    return call->fn(call->arg, is_changed ? secured : address, place);
}

/* Call fn with each address that offer_listen() listens on. */
int offer_each_address(const struct offer *offer, const char *listen, offer_address_fn fn, void *arg)
{
    char text[OFFER_ADDRESS_MAX] = "";
    struct find_call find = {.redirects = false, .text = text};
    struct add_call call = {fn, arg};
    if (offer->adds_tls && each_given(offer, listen, find_address, &find) >= 0 && text[0] == '\0') {
        return each_given(offer, listen, add_tls, &call);
    }
    return each_given(offer, listen, fn, arg);
}

int offer_check_address(const char *address, const char *place, char *err, size_t errlen)
{
    return place != NULL || strcmp(address, "none") != 0
               ? 0
               : error_text(err, errlen, -EINVAL,
                            "listen address \"none\": it cannot be combined with other addresses");
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
    char err[LOAD_ERROR_MAX];
    if (offer_check_address(address, place, call->err, call->errlen) < 0) {
        return -EINVAL;
    }
    int rv = call->is_shared ? server_listen_shared(call->server, address, err, sizeof err)
                             : server_listen(call->server, address, err, sizeof err);
    return rv >= 0 ? rv
                   : error_text(call->err, call->errlen, rv, "%s%s%s", place == NULL ? "" : place,
                                place == NULL ? "" : ": ", err);
}

int offer_listen(const struct offer *offer, const char *listen, struct server *server, bool is_shared, char *err,
                 size_t errlen)
{
    struct listen_call call = {.server = server, .is_shared = is_shared, .err = err, .errlen = errlen};
    return offer_each_address(offer, listen, listen_on, &call);
}

const struct tls_plan *offer_tls(const struct offer *offer)
{
    return offer->script == NULL ? NULL : offer->kind->tls(offer->script);
}

static bool has_address(const struct offer *offer, const char *listen, bool redirects, char text[OFFER_ADDRESS_MAX])
{
    struct find_call call = {.redirects = redirects, .text = text};
    text[0] = '\0';
    (void)offer_each_address(offer, listen, find_address, &call);
    return text[0] != '\0';
}

bool offer_find_tls(const struct offer *offer, const char *listen, char text[OFFER_ADDRESS_MAX])
{
    return has_address(offer, listen, false, text);
}

bool offer_find_redirect(const struct offer *offer, const char *listen, char text[OFFER_ADDRESS_MAX])
{
    return has_address(offer, listen, true, text);
}

static int find_passed(void *arg, const char *address, const char *place)
{
    bool *is_passed = arg;
    (void)place;
    *is_passed = *is_passed || strncmp(address, "fd:", 3) == 0;
    return 0;
}

bool offer_has_passed(const struct offer *offer, const char *listen)
{
    bool is_passed = false;
    (void)each_given(offer, listen, find_passed, &is_passed);
    return is_passed;
}

struct local_call {
    char *err;
    size_t errlen;
};

static int check_local(void *arg, const char *address, const char *place)
{
    const struct local_call *call = arg;
    struct net_address parsed;
    if (net_address_parse(&parsed, address, NULL, 0) < 0 || !parsed.tls || net_address_is_local(&parsed)) {
        return 0;
    }
    return error_text(call->err, call->errlen, -EINVAL,
                      "%s%slisten address \"%.200s\": other machines could connect to it, and the certificate of "
                      "--tls-dev (evserve_config.tls_dev) is for development: listen on \"127.0.0.1:8443?tls\" for "
                      "example, or add --tls-dev-anywhere (tls_dev_anywhere)",
                      place == NULL ? "" : place, place == NULL ? "" : ": ", address);
}

int offer_check_local(const struct offer *offer, const char *listen, char *err, size_t errlen)
{
    struct local_call call = {err, errlen};
    return offer_each_address(offer, listen, check_local, &call);
}

/* The script. */

int offer_each_folder(const struct offer *offer, int (*fn)(void *arg, const char *folder), void *arg)
{
    return offer->script == NULL ? 0 : offer->kind->each_folder(offer->script, fn, arg);
}

int offer_start(struct offer *offer, const struct server *server, char *err, size_t errlen)
{
    return offer->script == NULL ? 0 : offer->kind->start(offer->script, server, err, errlen);
}

int offer_adopt(struct offer *offer, const struct server *server)
{
    return offer->script == NULL ? 0 : offer->kind->adopt(offer->script, server);
}

void offer_announce_stop(struct offer *offer)
{
    if (offer->script != NULL) {
        offer->kind->announce_stop(offer->script);
    }
}

void offer_end_timers(struct offer *offer)
{
    if (offer->script != NULL) {
        offer->kind->end_timers(offer->script);
    }
}

void offer_get_memory(const struct offer *offer, uint64_t *held, uint64_t *limit)
{
    *held = *limit = 0;
    if (offer->script != NULL) {
        offer->kind->memory(offer->script, held, limit);
    }
}

bool offer_is_busy(const struct offer *offer, int64_t until_ms)
{
    return offer->script != NULL && offer->kind->is_busy(offer->script, until_ms);
}

void offer_stop(struct offer *offer)
{
    if (offer->script != NULL) {
        offer->kind->stop(offer->script);
    }
    access_hosts_flush(offer->site->access_hosts);
}
