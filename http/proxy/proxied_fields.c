/* Happy path: one reservation takes all lines, which the parser has checked.
 * Failure mode: without memory nothing is added. */

#include "http/proxy/proxied_fields.h"

#include "core/ascii.h"
#include "core/write_buffer.h"
#include "http/client/fetch_head.h"
#include "http/exchange.h"
#include "http/head_text.h"
#include "http/proxy/connection_options.h"
#include "http/proxy/proxied_location.h"
#include "http/proxy/proxy_state.h"
#include "http/response_fields.h"

#include <string.h>

enum { KEPT_MARGIN_MS = 500 }; /* how long before the upstream's own limit a kept connection is closed */

#define IS_FIELD(name, len, ours) ((len) == sizeof(ours) - 1 && ascii_equals(name, ours, sizeof(ours) - 1))

/* "timeout=5" of Keep-Alive. */
static void note_keep_alive(const char *value, size_t len, uint32_t *keep_ms)
{
    static const char name[] = "timeout=";
    const char *at = memmem(value, len, name, sizeof name - 1);
    uint64_t seconds = 0;
    if (at == NULL) {
        return;
    }
    at += sizeof name - 1;
    size_t digits = 0;
    while (at + digits < value + len && at[digits] >= '0' && at[digits] <= '9') {
        digits++;
    }
    if (ascii_parse_number(at, digits, *keep_ms / 1000, &seconds)) {
        *keep_ms = seconds == 0 ? 1 : (uint32_t)seconds * 1000 - KEPT_MARGIN_MS;
    }
}

/* Whether a field ends here. */
static bool ends_here(const char *name, size_t len)
{
    switch (ascii_lower(name[0])) {
    case 'c':
        return IS_FIELD(name, len, "connection") || IS_FIELD(name, len, "content-length");
    case 'd':
        return IS_FIELD(name, len, "date"); /* each response has ours */
    case 'k':
        return IS_FIELD(name, len, "keep-alive");
    case 'p':
        return IS_FIELD(name, len, "proxy-connection") || IS_FIELD(name, len, "proxy-authenticate");
    case 't':
        return IS_FIELD(name, len, "te") || IS_FIELD(name, len, "trailer") || IS_FIELD(name, len, "transfer-encoding");
    case 'u':
        return IS_FIELD(name, len, "upgrade");
    default:
        return false;
    }
}

/* List what the Connection fields of the head name. Of very many names only the first ones count. */
static void list_options_of(const struct fetch_head *head, const char *data, struct connection_options *options)
{
    struct fetch_head_walk walk = {0};
    struct field field;
    options->count = 0;
    options->has_more = false;
    while (head->has_options && fetch_head_next(head, data, &walk, &field)) {
        if (ascii_is(data + field.name.offset, field.name.len, "Connection")) {
            connection_options_add(options, data + field.value.offset, field.value.len);
        }
    }
}

/* What was added before, such as by a hook of the host, stays the only one. */
static bool has_rival(const struct exchange *exchange, const char *name, size_t len)
{
    size_t ignored;
    return write_buffer_len(&exchange->fields) > 0 && response_is_single_field(name, len) &&
           response_added_field(exchange, name, len, &ignored) != NULL;
}

/* What clients and the upstream call the same places. */
static struct proxied_places places_of(const struct exchange *exchange, const struct proxy *proxy,
                                       const struct upstream *upstream)
{
    struct proxied_places places = {
        .authority = upstream->url.authority,
        .authority_len = upstream->url.authority_len,
        .base = upstream->base,
        .base_len = upstream->base_len,
        .prefix = proxy->prefix,
        .prefix_len = proxy->prefix_len,
        .is_secured = upstream->url.is_secured,
        .is_client_secured = strcmp(exchange_scheme(exchange), "https") == 0,
    };
    if (proxy->host != NULL) {
        places.host = proxy->host;
        places.host_len = strlen(proxy->host);
    } else if (!proxy->sends_upstream_host) {
        places.host = exchange_text(exchange, exchange->head.authority);
        places.host_len = exchange->head.authority.len;
    }
    return places;
}

/* Bytes by which the values of a head may grow. */
static size_t room_for_locations(const struct fetch_head *head, const char *data, const struct proxy *proxy)
{
    struct fetch_head_walk walk = {0};
    struct field field;
    size_t room = 0;
    while (fetch_head_next(head, data, &walk, &field)) {
        if (proxied_location_is_in(data + field.name.offset, field.name.len)) {
            room += 3 * proxy->prefix_len + PROXIED_LOCATION_EXTRA;
        }
    }
    return room;
}

int proxied_fields_add(struct exchange *exchange, const struct proxy *proxy, const struct upstream *upstream,
                       const struct fetch_head *head, const char *data, uint32_t *keep_ms)
{
    const size_t room = room_for_locations(head, data, proxy);
    struct fetch_head_walk walk = {0};
    struct field field;
    int error = 0;
    char *start = write_buffer_reserve(&exchange->fields, (size_t)head->len + 2 * (size_t)head->field_count + room,
                                       SIZE_MAX, &error);
    if (start == NULL) {
        return error;
    }
    char *at = start;
    struct connection_options options;
    list_options_of(head, data, &options);
    while (fetch_head_next(head, data, &walk, &field)) {
        const char *name = data + field.name.offset, *value = data + field.value.offset;
        size_t len = field.name.len;
        if (ends_here(name, len)) {
            if (IS_FIELD(name, len, "keep-alive")) {
                note_keep_alive(value, field.value.len, keep_ms);
            }
            continue;
        }
        if (connection_options_have(&options, name, len) || has_rival(exchange, name, len)) {
            continue;
        }
        at = put(at, name, len);
        *at++ = ':';
        *at++ = ' ';
        if (room > 0 && proxied_location_is_in(name, len)) {
            struct proxied_places places = places_of(exchange, proxy, upstream);
            at = proxied_location_put(at, &places, name, value, field.value.len);
        } else {
            at = put(at, value, field.value.len);
        }
        *at++ = '\r';
        *at++ = '\n';
    }
    write_buffer_commit(&exchange->fields, (size_t)(at - start));
    return 0;
}

int proxied_fields_interim(struct exchange *exchange, const struct proxy *proxy, const struct upstream *upstream,
                           const struct fetch_head *head, const char *data)
{
    struct write_buffer *fields = &exchange->fields;
    size_t before = write_buffer_len(fields);
    uint32_t ignored = 0;
    int rv = proxied_fields_add(exchange, proxy, upstream, head, data, &ignored);
    if (rv == 0) {
        size_t len = write_buffer_len(fields) - before;
        const char *lines = len == 0 ? "" : write_buffer_data(fields) + before;
        rv = exchange->framing->interim(exchange, head->status, lines, len);
        fields->end -= (uint32_t)len;
    }
    return rv;
}
