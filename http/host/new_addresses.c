/* Happy path: each address of the new script either is open already, or is opened; what is left is gone. Nobody is
 * accepted at a new address before the whole reload has succeeded.
 *
 * Failure modes: an address that cannot be bound, or that the server may not open any more: in the sandbox, as another
 * user, or because it would be the first one with HTTPS. */

#include "http/host/new_addresses.h"

#include "core/log.h"
#include "core/net_address.h"
#include "core/tls_context.h"
#include "http/host/offer.h"
#include "http/host/plan.h"
#include "http/host/worker.h"
#include "http/server.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct change {
    struct worker *worker;
    uint32_t kept;   /* listeners that stay, or are new */
    uint32_t before; /* that were open */
    char *err;
    size_t errlen;
};

/* Whether an address that is open was asked for with other options: it cannot be opened a second time. */
static const char *find_other_options(const struct change *change, const char *address)
{
    size_t len = strcspn(address, "?");
    const char *asked;
    for (unsigned i = 0; (asked = server_listener_text(change->worker->server, i)) != NULL; i++) {
        if ((change->before >> i & 1) != 0 && strcspn(asked, "?") == len && strncmp(asked, address, len) == 0 &&
            strcmp(asked, address) != 0) {
            return asked;
        }
    }
    return NULL;
}

/* Why the server cannot open an address while it runs, or NULL. */
static const char *find_obstacle(const struct change *change, const struct net_address *address)
{
    struct plan *plan = change->worker->plan;
    struct tls_context *context = tls_keeper_get(&plan->tls);
    bool has_tls = context != NULL;
    tls_context_put(context);
    return address->inherited_fd >= 0       ? "a reload cannot take a socket over"
           : plan->config.sandbox != 0      ? "the sandbox allows no new address"
           : address->tls && !has_tls       ? "a reload cannot add HTTPS to a server without it"
           : address->redirects && !has_tls ? "there is no HTTPS to redirect to"
                                            : NULL;
}

static int open_address(void *arg, const char *address, const char *place)
{
    struct change *change = arg;
    struct worker *worker = change->worker;
    int number = server_find_listener(worker->server, address, change->kept);
    if (number >= 0) {
        change->kept |= UINT32_C(1) << number;
        return 0;
    }
    char text[EVSERVE_ERROR_MAX];
    struct net_address parsed;
    const char *at = place == NULL ? worker->plan->config.script : place;
    int rv = net_address_parse(&parsed, address, text, sizeof text);
    const char *obstacle = rv < 0 ? NULL : find_obstacle(change, &parsed);
    const char *other = rv < 0 ? NULL : find_other_options(change, address);
    if (obstacle != NULL || other != NULL) {
        return error_text(change->err, change->errlen, -EINVAL,
                          "%s: listen address \"%.200s\": %s%s%s: restart the server", at, address,
                          obstacle != NULL ? obstacle : "it is open as \"", obstacle != NULL ? "" : other,
                          obstacle != NULL ? "" : "\", and a reload cannot change its options");
    }
    rv = rv < 0              ? rv
         : worker->count > 1 ? server_listen_shared(worker->server, address, text, sizeof text)
                             : server_listen(worker->server, address, text, sizeof text);
    if (rv < 0) {
        return error_text(change->err, change->errlen, rv, "%s: %s%s", at, text,
                          rv == -ENOSPC ? ", counting those that reloads have closed: restart the server" : "");
    }
    change->kept |= UINT32_C(1) << rv;
    return 0;
}

/* Whether the last address with HTTPS goes while others still redirect to it: a start refuses that, too. */
static int check_redirects(const struct offer *next, char *err, size_t errlen)
{
    char address[OFFER_ADDRESS_MAX];
    return offer_find_tls(next, NULL, address) || !offer_find_redirect(next, NULL, address)
               ? 0
               : error_text(err, errlen, -EINVAL, "%s: there would be no HTTPS to redirect to any more", address);
}

int new_addresses_open(struct worker *first, const struct offer *next, uint32_t *gone, char *err, size_t errlen)
{
    const struct evserve_config *config = &first->plan->config;
    unsigned count = server_count_listeners(first->server);
    struct change change = {.worker = first,
                            .before = server_open_listeners(first->server),
                            .err = err,
                            .errlen = errlen};
    *gone = 0;
    if (config->listen != NULL || config->script == NULL || first->is_stopping) {
        return 0; /* the host's addresses stay, and a server that stops opens no others */
    }
    int rv = config->tls_dev == NULL || config->tls_dev_anywhere != 0 ? 0 : offer_check_local(next, NULL, err, errlen);
    rv = rv < 0 ? rv : offer_each_address(next, NULL, open_address, &change);
    rv = rv < 0 ? rv : check_redirects(next, err, errlen);
    server_hold_listeners(first->server, count);
    *gone = rv < 0 ? 0 : change.before & ~change.kept;
    return rv < 0 ? rv : 0;
}

void new_addresses_log(const struct worker *first, unsigned number, uint32_t gone)
{
    const char *address;
    for (unsigned i = 0; (address = server_address(first->server, i)) != NULL; i++) {
        if (i >= number) {
            bool is_https = strcmp(server_scheme(first->server, i), "https") == 0;
            bool is_proxied = server_expects_proxy(first->server, i) == 1;
            const char *plain = is_proxied ? " (PROXY protocol)" : "";
            const char *secured = is_proxied ? " (HTTPS, PROXY protocol)" : " (HTTPS)";
            log_write(first->log, LOG_INFO, "listening on %s%s", address, is_https ? secured : plain);
        } else if ((gone >> i & 1) != 0) {
            log_write(first->log, LOG_INFO, "no longer listening on %s", address);
        }
    }
}
