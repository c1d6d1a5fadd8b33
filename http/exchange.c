/* The life of an exchange, and what handlers ask of their requests.
 *
 * Happy path: exchange_start() for each request; the framing fills in the head, dispatch the handler, response.c the
 * response; exchange_clear() when it is over.
 * Failure mode: without memory a body cannot be collected, and its handler gets 503. */

#include "http/exchange.h"

#include "core/ascii.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/tls_info.h"
#include "http/limits.h"
#include "http/proxied.h"
#include "http/service.h"
#include "http/site.h"

#include <string.h>

size_t exchange_room(const struct limits *limits)
{
    return (size_t)limits->max_fields * sizeof(struct field) + (size_t)limits->max_request_line_bytes + 1;
}

void exchange_init(struct exchange *exchange, const struct framing *framing, struct service *service, char *room)
{
    const struct limits *limits = &service->site->limits;
    exchange->framing = framing;
    exchange->service = service;
    exchange->site = service->site;
    exchange->head.fields = (struct field *)(void *)room;
    exchange->head.field_capacity = (uint16_t)limits->max_fields;
    exchange->path = room + (size_t)limits->max_fields * sizeof(struct field);
    exchange_start(exchange);
}

void exchange_start(struct exchange *exchange)
{
    size_t first = offsetof(struct exchange, head_data);
    memset((char *)exchange + first, 0, offsetof(struct exchange, is_stalled) + sizeof(bool) - first);
    memset(exchange->head.first, 0, sizeof exchange->head.first);
    exchange->head.field_count = 0;
    exchange->head.minor_version = 1; /* until the request says otherwise */
    exchange->match.allowed = 0;
    exchange->vhost = &exchange->site->default_host;
    exchange->limits = &exchange->site->limits;
    exchange->is_body_read = true;
    exchange->dues = exchange->service->dues;
}

static void drop_body(struct exchange *exchange)
{
    if (exchange->body_filter != NULL) {
        exchange->body_filter->drop(exchange);
    }
    write_buffer_done(&exchange->body_block);
}

void exchange_clear(struct exchange *exchange)
{
    if (source_is_used(&exchange->source)) { /* seldom, and each request comes here: no call */
        source_release(&exchange->source);
    }
    write_buffer_consume(&exchange->fields, SIZE_MAX);
    if (exchange->body_block.block != NULL) { /* likewise */
        drop_body(exchange);
    }
    exchange->kept_fields = 0;
    exchange->response_state = RESPONSE_NONE;
    if (exchange->parsed != NULL) {
        exchange->drop_parsed(exchange);
    }
    if (exchange->on_end != NULL) {
        void (*on_end)(void *) = exchange->on_end;
        exchange->on_end = NULL;
        on_end(exchange->end_arg);
    }
}

void exchange_done(struct exchange *exchange)
{
    write_buffer_done(&exchange->fields);
    mem_free(exchange->texts);
}

const char *exchange_known_field(const struct exchange *exchange, enum known_field field, size_t *len)
{
    unsigned index = exchange->head.first[field];
    if (index == 0) {
        return NULL;
    }
    struct slice value = exchange->head.fields[index - 1].value;
    *len = value.len;
    return exchange_text(exchange, value);
}

const char *exchange_field(const struct exchange *exchange, const char *name, size_t *len)
{
    size_t name_len = strlen(name);
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct field *field = &exchange->head.fields[i];
        if (field->name.len == name_len && ascii_equals(exchange_text(exchange, field->name), name, name_len)) {
            *len = field->value.len;
            return exchange_text(exchange, field->value);
        }
    }
    return NULL;
}

bool exchange_is_secure(const struct exchange *exchange)
{
    struct tls_info info;
    if ((exchange->told & (FORWARDED_HTTP | FORWARDED_HTTPS)) != 0) {
        return (exchange->told & FORWARDED_HTTPS) != 0;
    }
    const struct proxied *proxied = exchange_proxied(exchange);
    return (proxied != NULL && proxied->is_tls) || exchange_tls(exchange, &info);
}

const char *exchange_scheme(const struct exchange *exchange)
{
    return exchange_is_secure(exchange) ? "https" : "http";
}

const char *exchange_host(const struct exchange *exchange, size_t *len)
{
    if (exchange->head_data == NULL) { /* the authority is that of an earlier request */
        *len = 0;
        return "";
    }
    const struct slice host = (exchange->told & FORWARDED_HOST) != 0 ? exchange->forwarded.host
                                                                     : exchange->head.authority;
    *len = host.len;
    return exchange_text(exchange, host);
}

bool exchange_should_end(const struct exchange *exchange)
{
    return exchange->service->is_draining || exchange->site != exchange->service->site;
}

void exchange_start_clock(struct exchange *exchange)
{
    exchange->is_timed = true;
    if (exchange->turn_end_ns == 0) {
        exchange->turn_end_ns = sys_now_ns() + TURN_NS;
    }
}

void exchange_stop_clock(struct exchange *exchange)
{
    if (sys_now_ns() >= exchange->turn_end_ns) {
        exchange_end_turn(exchange);
    }
}

int exchange_collect_body(struct exchange *exchange)
{
    struct write_buffer *block = &exchange->body_block;
    const char *data = NULL;
    size_t len = 0;
    int rv = BODY_END;
    if (exchange->body != NULL) {
        return BODY_END;
    }
    if (exchange->body_filter != NULL) {
        return exchange->body_filter->collect(exchange);
    }
    while ((rv = exchange_read_body(exchange, &data, &len)) == BODY_DATA) {
        if (exchange->is_body_read && write_buffer_len(block) == 0) { /* all in one piece: used where it lies */
            exchange->body = data;
            exchange->body_len = len;
            return BODY_END;
        }
        if (write_buffer_append(block, data, len, exchange->limits->max_body_bytes) < 0) {
            exchange->framing->fail_body(exchange, 503, "out of memory");
        }
    }
    if (rv == BODY_END && write_buffer_len(block) > 0) {
        exchange->body = write_buffer_data(block);
        exchange->body_len = write_buffer_len(block);
    }
    return rv;
}

void exchange_forget_body(struct exchange *exchange)
{
    exchange->body = NULL;
    exchange->body_len = 0;
    drop_body(exchange);
}
