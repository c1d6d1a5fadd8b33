/* Happy path: the name in Upgrade comes back with 101.
 * Failure mode: an upstream that agrees to something else is malformed. */

#include "http/proxy/proxied_upgrade.h"

#include "core/ascii.h"
#include "http/client/fetch_head.h"
#include "http/exchange.h"
#include "http/limits.h"
#include "http/proxy/proxied_fields.h"
#include "http/proxy/proxy_state.h"
#include "http/proxy/tunnel.h"

#include <errno.h>
#include <string.h>

/* The value of the only field of this name in a response; NULL if there is none, or more than one. */
static const char *only_field(const struct fetch_head *head, const char *data, const char *name, size_t *len)
{
    struct fetch_head_walk walk = {0};
    struct field field;
    const char *value = NULL;
    while (fetch_head_next(head, data, &walk, &field)) {
        if (!ascii_is(data + field.name.offset, field.name.len, name)) {
            continue;
        }
        if (value != NULL) {
            return NULL;
        }
        value = data + field.value.offset;
        *len = field.value.len;
    }
    return value;
}

int proxied_upgrade_accept(struct exchange *exchange, const struct proxy *proxy, const struct upstream *upstream,
                           struct link *link, const struct fetch_head *head, const char *data, const char *early,
                           size_t len)
{
    size_t asked_len = 0, given_len = 0;
    uint32_t ignored = UINT32_MAX;
    const char *asked = exchange_field(exchange, "Upgrade", &asked_len);
    const char *given = only_field(head, data, "Upgrade", &given_len);
    if (asked == NULL || given == NULL || asked_len != given_len || !ascii_equals(asked, given, given_len)) {
        return -EPROTO;
    }
    char name[TUNNEL_NAME_MAX + 1];
    memcpy(name, given, given_len);
    name[given_len] = '\0';
    int rv = proxied_fields_add(exchange, proxy, upstream, head, data, &ignored);
    const struct tunnel_plan plan = {
        .link = link,
        .name = name,
        .early = early,
        .early_len = len,
        .idle_timeout_ms = proxy->tunnel_timeout_ms,
        .write_timeout_ms = (uint32_t)exchange->limits->write_timeout_ms, /* at most a day */
    };
    return rv < 0 ? rv : tunnel_open(exchange, &plan);
}
