/* Limits, settings and addresses, in that order.
 *
 * Failure modes: an address that is not valid is a text in err. */

#include "http/host/offer_describe.h"

#include "core/destinations.h"
#include "core/net.h"
#include "core/redis_url.h"
#include "http/acme.h"
#include "http/forwarded.h"
#include "http/host/offer.h"
#include "http/site.h"
#include "http/trusted_proxies.h"

#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 2048 }; /* of a description, with its NUL */

struct describe_call {
    void (*line)(void *arg, const char *text);
    void *arg;
    char *err;
    size_t errlen;
};

static int describe_address(void *arg, const char *address, const char *place)
{
    const struct describe_call *call = arg;
    struct net_address parsed;
    int rv = offer_check_address(address, place, call->err, call->errlen);
    rv = rv < 0 ? rv : net_address_parse(&parsed, address, call->err, call->errlen);
    if (rv < 0) {
        return rv;
    }
    char text[LINE_MAX_BYTES];
    snprintf(text, sizeof text, "listen  %s", address);
    call->line(call->arg, text);
    return 0;
}

static void describe_text(const struct describe_call *call, const char *name, const char *value, size_t len)
{
    char text[LINE_MAX_BYTES];
    snprintf(text, sizeof text, "set     %s = %.*s", name, (int)len, value);
    call->line(call->arg, text);
}

/* What is set for one host: "set     example.org: max_body = 4096". */
static void describe_host(const struct describe_call *call, const struct vhost *vhost)
{
    const char *const texts[][2] = {{"access_log", vhost->is_unlogged ? "off" : vhost->access_log},
                                    {"access_log_format", vhost->access_format}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char name[HOST_NAME_MAX_BYTES + 64];
        if (texts[i][1] != NULL) {
            snprintf(name, sizeof name, "%s: %s", vhost->name == NULL ? "" : vhost->name, texts[i][0]);
            describe_text(call, name, texts[i][1], strlen(texts[i][1]));
        }
    }
    for (size_t i = 0; vhost->limits != NULL && i < limit_table_len; i++) {
        char text[LINE_MAX_BYTES];
        if ((vhost->limits->is_own >> i & 1) != 0) {
            snprintf(text, sizeof text, "set     %s: %s = %llu%s", vhost->name == NULL ? "" : vhost->name,
                     limit_table[i].name, (unsigned long long)limits_get(&vhost->limits->own, &limit_table[i]),
                     limit_table[i].unit == LIMIT_MS ? " ms" : "");
            call->line(call->arg, text);
        }
    }
}

/* What is set beside numbers. */
static void describe_site(const struct describe_call *call, const struct site *site)
{
    if (site->hsts.len > 0) {
        const char *value = (const char *)memchr(site->hsts.line, ' ', site->hsts.len) + 1;
        describe_text(call, "hsts", value, (size_t)(site->hsts.line + site->hsts.len - 2 - value));
    }
    if (site->access_log != NULL) {
        describe_text(call, "access_log", site->access_log, strlen(site->access_log));
    }
    if (site->access_format != NULL) {
        describe_text(call, "access_log_format", site->access_format, strlen(site->access_format));
    }
    if (site->unknown_host != 0) {
        char status[16];
        describe_text(call, "unknown_host", status, (size_t)snprintf(status, sizeof status, "%d", site->unknown_host));
    }
    if (site->trusted != NULL) {
        const char *list = trusted_proxies_text(site->trusted);
        describe_text(call, "trusted_proxies", list, strlen(list));
    }
    if (site->forwarded != FORWARDED_BY_DEFAULT) {
        char text[FORWARDED_TEXT_MAX];
        forwarded_format_setting(site->forwarded, text);
        describe_text(call, "forwarded", text, strlen(text));
    }
    if (site->strips_forwarded) {
        describe_text(call, "strip_forwarded", "true", 4);
    }
    if (site->denied != NULL) {
        const char *list = destinations_text(site->denied);
        describe_text(call, "deny_connect", list, strlen(list));
    }
    struct redis_url url;
    if (site->broker != NULL && redis_url_parse(&url, site->broker, NULL, 0) == 0) {
        describe_text(call, "broker", url.name, strlen(url.name)); /* without a password */
    }
    if (site->acme != NULL) {
        describe_text(call, "acme", acme_directory(site->acme), strlen(acme_directory(site->acme)));
    }
}

/* A limit or a setting, unless it has its default value. */
static void describe_setting(void *arg, const struct limit_info *info, uint64_t value)
{
    const struct describe_call *call = arg;
    if (value != info->initial) {
        char text[LINE_MAX_BYTES];
        snprintf(text, sizeof text, "set     %s = %llu%s", info->name, (unsigned long long)value,
                 info->unit == LIMIT_MS ? " ms" : "");
        call->line(call->arg, text);
    }
}

int offer_describe(const struct offer *offer, const char *listen, void (*line)(void *arg, const char *text), void *arg,
                   char *err, size_t errlen)
{
    struct describe_call call = {.line = line, .arg = arg, .err = err, .errlen = errlen};
    for (size_t i = 0; i < limit_table_len; i++) {
        describe_setting(&call, &limit_table[i], limits_get(&offer->site->limits, &limit_table[i]));
    }
    if (offer->script != NULL) {
        offer->kind->each_setting(offer->script, describe_setting, &call);
    }
    describe_site(&call, offer->site);
    const struct vhost *vhost;
    for (size_t n = 1; (vhost = site_host(offer->site, n)) != NULL; n++) {
        describe_host(&call, vhost);
    }
    return offer_each_address(offer, listen, describe_address, &call);
}
