/* Failure mode: a name that is too long, which costs the next request a connection. */

#include "http/client/fetch_kept.h"

#include "core/ascii.h"
#include "core/kept_links.h"
#include "http/client/fetch_state.h"
#include "http/head_text.h"

#include <string.h>

enum { KEPT_LESS_MS = 500 }; /* how long before the server's own limit a kept connection is closed */

size_t fetch_kept_name(const struct fetch *fetch, char name[FETCH_KEPT_NAME_MAX])
{
    const struct fetch_order *order = &fetch->order;
    const char *path = order->unix_path != NULL ? order->unix_path : fetch->url.unix_path;
    const char *parts[] = {path,           fetch->url.host,  order->server_name,
                           order->ca_file, order->cert_file, order->key_file};
    bool is_secured = fetch->url.is_secured;
    char *at = put_number(put_text(name, "H"), fetch->url.port);
    *at++ = is_secured ? order->trusts_anybody ? 'u' : 's' : 'p';
    size_t len = (size_t)(at - name);

    /* None of the parts has a NUL, so two names are the same only if all parts are. */
    for (size_t i = 0; i < (is_secured ? sizeof parts / sizeof parts[0] : 2); i++) {
        size_t part_len = parts[i] != NULL ? strlen(parts[i]) : 0;
        if (part_len >= FETCH_KEPT_NAME_MAX - len) {
            return 0;
        }
        name[len++] = '\0';
        if (part_len > 0) {
            memcpy(name + len, parts[i], part_len);
            len += part_len;
        }
    }
    return len;
}

uint32_t fetch_kept_ms(const struct fetch *fetch)
{
    const struct fetch_field *field = fetch_reply_find(&fetch->reply, "Keep-Alive");
    const char *at = field != NULL ? strstr(field->value, "timeout=") : NULL;
    uint64_t seconds;

    if (at == NULL) {
        return KEPT_IDLE_MS;
    }
    at += strlen("timeout=");
    if (!ascii_parse_number(at, strspn(at, "0123456789"), KEPT_IDLE_MS / 1000, &seconds)) {
        return KEPT_IDLE_MS;
    }
    return seconds == 0 ? 1 : (uint32_t)seconds * 1000 - KEPT_LESS_MS;
}
