/* No failure modes: addresses that are not valid are left to offer_listen(). */

#include "http/host/clear_text.h"

#include "core/log.h"
#include "core/net_address.h"
#include "http/host/offer.h"
#include "http/rules/rules.h"
#include "http/site.h"

#include <stddef.h>
#include <string.h>

struct clear_call {
    const struct log *log;
    const char *asker; /* the rule that asks for passwords */
};

/* What the first rule is called that asks for passwords; NULL: none does. */
static const char *find_asker(const struct site *site)
{
    const struct vhost *host;
    for (size_t n = 0; (host = site_host(site, n)) != NULL; n++) {
        if (host->rules != NULL && host->rules->first[RULE_AUTH] != NULL) {
            return rule_name(host->rules->first[RULE_AUTH]);
        }
    }
    return NULL;
}

/* Returns -1 behind the first such address: one line will do. */
static int warn_of_address(void *arg, const char *address, const char *place)
{
    const struct clear_call *call = arg;
    struct net_address parsed;
    if (net_address_parse(&parsed, address, NULL, 0) < 0 || parsed.tls || parsed.redirects || parsed.proxy ||
        net_address_is_local(&parsed)) {
        return 0;
    }
    log_write(call->log, LOG_WARN,
              "%s%slisten address \"%.200s\" has no TLS, so everybody on the way can read the passwords that "
              "%s asks for: listen on \"%.200s%ctls\", or name the proxy in trusted_proxies",
              place == NULL ? "" : place, place == NULL ? "" : ": ", address, call->asker, address,
              strchr(address, '?') != NULL ? '&' : '?');
    return -1;
}

void clear_text_warn(const struct offer *offer, const char *listen, const struct log *log)
{
    struct clear_call call = {log, find_asker(offer->site)};
    if (call.asker != NULL && offer->site->trusted == NULL) {
        (void)offer_each_address(offer, listen, warn_of_address, &call);
    }
}
