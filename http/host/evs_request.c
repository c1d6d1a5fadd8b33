/* What a host reads of its request: thin wrappers over exchange.h.
 *
 * Texts end with NUL. A slice of the head is followed by a byte of syntax, no longer needed once the head is parsed,
 * which the NUL replaces. Parameters are copied, each to a place of its own in exchange->texts, so asking again gives
 * the same pointer and costs no more memory.
 *
 * Failure mode: without memory a text is NULL, as if it were absent. */

#include "http/host/evs_internal.h"

#include "core/ascii.h"
#include "core/mem.h"
#include "http/exchange.h"
#include "http/exchange_log.h"
#include "http/host/evs_blame.h"
#include "http/host/evs_parsed.h"
#include "http/peer.h"
#include "http/request_id.h"
#include "http/router.h"
#include "http/service.h"

#include <errno.h>
#include <string.h>

const char *evs_method(evs_request *request)
{
    struct exchange *exchange = exchange_of(request);
    enum method method = exchange->head.method;
    return method == METHOD_OTHER ? exchange_end_text(exchange, exchange->head.method_text) : method_name(method);
}

const char *evs_target(evs_request *request)
{
    struct exchange *exchange = exchange_of(request);
    return exchange_end_text(exchange, exchange->head.target);
}

const char *evs_path(evs_request *request)
{
    return exchange_of(request)->path;
}

const char *evs_query_string(evs_request *request)
{
    struct exchange *exchange = exchange_of(request);
    return exchange->head.query.len == 0 ? "" : exchange_end_text(exchange, exchange->head.query);
}

const char *evs_request_id(evs_request *request)
{
    return request_id(exchange_of(request));
}

void evs_log(evs_request *request, int level, const char *text)
{
    if (text != NULL && level >= EVSERVE_LOG_ERROR && level <= EVSERVE_LOG_DEBUG) {
        exchange_log(exchange_of(request), (enum log_level)level, NULL, "%s", text);
    }
}

const char *evs_header(evs_request *request, const char *name)
{
    struct exchange *exchange = exchange_of(request);
    size_t len;
    const char *value = name == NULL ? NULL : exchange_field(exchange, name, &len);
    if (value == NULL) {
        return NULL;
    }
    struct slice slice = {.offset = (uint32_t)(value - exchange->head_data), .len = (uint32_t)len};
    return exchange_end_text(exchange, slice);
}

int evs_header_at(evs_request *request, unsigned index, const char **name, const char **value)
{
    struct exchange *exchange = exchange_of(request);
    if (index >= exchange->head.field_count) {
        return 0;
    }
    *name = exchange_end_text(exchange, exchange->head.fields[index].name);
    *value = exchange_end_text(exchange, exchange->head.fields[index].value);
    return 1;
}

/* Room for all parameters of this request. NULL without memory. The size is the same each time, so nothing moves during
 * a request. */
static char *text_room(struct exchange *exchange)
{
    size_t size = exchange->path_len + ROUTE_PARAMS_MAX + 1;
    if (exchange->texts_capacity < size) {
        char *texts = mem_resize(exchange->texts, size);
        if (texts == NULL) {
            return NULL;
        }
        exchange->texts = texts;
        exchange->texts_capacity = (uint32_t)size;
    }
    return exchange->texts;
}

const char *evs_param(evs_request *request, const char *name)
{
    struct exchange *exchange = exchange_of(request);
    const struct route *route = name == NULL ? NULL : exchange_route(exchange);
    for (unsigned i = 0; route != NULL && i < route->param_count; i++) {
        char *room = strcmp(route->param_names[i], name) == 0 ? text_room(exchange) : NULL;
        if (room != NULL) {
            struct slice slice = exchange->match.params[i];
            room += slice.offset + i; /* behind the previous ones and their NULs */
            memcpy(room, exchange->path + slice.offset, slice.len);
            room[slice.len] = '\0';
            return room;
        }
    }
    return NULL;
}

const void *evs_body(evs_request *request, size_t *len)
{
    const struct exchange *exchange = exchange_of(request);
    *len = exchange->body_len;
    return exchange->body_len == 0 ? "" : exchange->body;
}

int evs_read(evs_request *request, const void **data, size_t *len)
{
    struct exchange *exchange = exchange_of(request);
    const char *piece = NULL;
    if (exchange->parsed != NULL && exchange->parsed->parts != NULL) {
        evs_blame(exchange, LOG_ERROR, "evs_read", "evs_part_next() has already begun to read the body");
        return -EINVAL;
    }
    if (!evs_streams_body(exchange)) {
        bool is_over = exchange->evs.has_read || exchange->body_len == 0;
        exchange->evs.has_read = true;
        *data = exchange->body;
        *len = exchange->body_len;
        return is_over ? EVS_END : EVS_PIECE;
    }
    int rv = exchange_read_body(exchange, &piece, len);
    *data = piece;
    return rv < 0 ? rv : rv == BODY_DATA ? EVS_PIECE : rv == BODY_END ? EVS_END : EVS_WAIT;
}

const char *evs_peer(evs_request *request, char *text, size_t size)
{
    peer_format(exchange_of(request)->peer, text, size);
    return text;
}

const char *evs_client(evs_request *request, char *text, size_t size)
{
    peer_format_host(exchange_client(exchange_of(request)), text, size);
    return text;
}

size_t evs_host_name(evs_request *request, char *text, size_t size)
{
    size_t len;
    const char *host = exchange_host(exchange_of(request), &len);
    if (size > 0) {
        size_t taken = len < size ? len : size - 1;
        ascii_copy_lower(text, host, taken);
        text[taken] = '\0';
    }
    return len;
}

evserve *evs_server(evs_request *request)
{
    return exchange_of(request)->service->owner;
}

unsigned evs_thread(evs_request *request)
{
    return exchange_of(request)->service->owner_index;
}
