/* The request half of evserve.h: thin wrappers over exchange.h, response.h and url.h.
 *
 * Happy path: the router calls serve() as it calls any handler, and that the host's function. The host asks for texts
 * and answers, at once or later; whatever completes the answer parts with the exchange first.
 *
 * Texts end with NUL. A slice of the head is followed by a byte of syntax, which nobody needs once the head is parsed:
 * NUL takes its place. Parameters and decoded query values are copied, each to a place of its own in exchange->texts,
 * so that asking again gives the same pointer and asking a thousand times costs no more memory than asking once.
 *
 * Failure modes: without memory a text is NULL, as if it were absent, and what answers says -ENOMEM or becomes a
 * 503. */

#include "http/evs.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "evserve.h"
#include "http/exchange.h"
#include "http/file_reply.h"
#include "http/response.h"
#include "http/router.h"
#include "http/server_internal.h"
#include "http/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct host_route {
    struct handler handler; /* with this struct as its context */
    void (*serve)(evs_request *request, void *arg);
    void *arg; /* handed to serve */
};

struct evs_routes {
    size_t count;
    struct host_route list[];
};

static struct exchange *exchange_of(evs_request *request)
{
    return (struct exchange *)(void *)request;
}

static evs_request *request_of(struct exchange *exchange)
{
    return (evs_request *)(void *)exchange;
}

/* Events. */

static void stop_timer(struct exchange *exchange)
{
    if (exchange->evs.timer != 0) {
        reactor_cancel_timer(exchange->server->reactor, exchange->evs.timer);
        exchange->evs.timer = 0;
    }
}

static void tell(struct exchange *exchange, enum evs_event event)
{
    if (exchange->evs.fn != NULL) {
        exchange->evs.fn(request_of(exchange), (int)event, exchange->evs.arg);
    }
}

static void on_drain(struct exchange *exchange)
{
    tell(exchange, EVS_DRAIN);
}

static void on_data(struct exchange *exchange)
{
    tell(exchange, EVS_DATA);
}

static void on_gone(struct exchange *exchange)
{
    stop_timer(exchange);
    tell(exchange, EVS_GONE);
}

static void on_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct exchange *exchange = arg;
    exchange->evs.timer = 0;
    tell(exchange, EVS_TIMER);
}

void evs_on(evs_request *request, void (*fn)(evs_request *request, int event, void *arg), void *arg)
{
    struct exchange *exchange = exchange_of(request);
    exchange->evs.fn = fn;
    exchange->evs.arg = arg;
}

int evs_after(evs_request *request, uint32_t ms)
{
    struct exchange *exchange = exchange_of(request);
    stop_timer(exchange);
    exchange->evs.timer = reactor_set_timeout(exchange->server->reactor, ms, on_timer, exchange);
    return exchange->evs.timer == 0 ? -ENOMEM : 0;
}

/* The answer is about to be complete: the host hears no more of it. */
static struct exchange *part(evs_request *request)
{
    struct exchange *exchange = exchange_of(request);
    stop_timer(exchange);
    exchange->on_drain = NULL;
    exchange->on_data = NULL;
    exchange->on_gone = NULL;
    return exchange;
}

/* Routes. */

static void serve(struct exchange *exchange, void *ctx)
{
    const struct host_route *route = ctx;
    exchange->evs = (struct evs_state){0};
    exchange->on_drain = on_drain;
    exchange->on_data = on_data;
    exchange->on_gone = on_gone;
    route->serve(request_of(exchange), route->arg);
}

/* The set of methods in text[0..len): "GET", "GET,POST" or "*". */
static int parse_methods(const char *text, size_t len, unsigned *methods, char *err, size_t errlen)
{
    const char *end = text + len;
    *methods = len == 1 && text[0] == '*' ? (1U << METHOD_COUNT) - 1 : 0;
    while (*methods != (1U << METHOD_COUNT) - 1) {
        size_t name_len = strcspn(text, ", ");
        enum method method = method_find(text, name_len);
        if (method == METHOD_COUNT) {
            char all[64];
            router_format_methods((1U << METHOD_COUNT) - 1, all);
            return error_text(err, errlen, -EINVAL, "\"%.*s\" is no method; there are %s", (int)name_len, text, all);
        }
        *methods |= 1U << method;
        text += name_len + 1;
        if (text > end) {
            break;
        }
    }
    return 0;
}

static int add_route(struct host_route *added, const struct evs_route *route, size_t number, struct router *router,
                     char *err, size_t errlen)
{
    char where[64];
    char why[512];
    unsigned methods;
    snprintf(where, sizeof where, "evserve_config.routes[%zu]", number);
    size_t methods_len = strcspn(route->route, " ");
    const char *pattern = route->route + methods_len + strspn(route->route + methods_len, " ");
    if (pattern[0] != '/') {
        return error_text(err, errlen, -EINVAL, "%s: \"%s\" must be methods and a path, as in \"GET /users/:id\"",
                          where, route->route);
    }
    if (route->serve == NULL) {
        return error_text(err, errlen, -EINVAL, "%s: \"%s\" has no function", where, route->route);
    }
    if (parse_methods(route->route, methods_len, &methods, why, sizeof why) < 0) {
        return error_text(err, errlen, -EINVAL, "%s: \"%s\": %s", where, route->route, why);
    }
    /* A body means something only with these methods; GET's is drained (RFC 9110 section 9.3.1). */
    bool takes_body = (methods & ~(1U << METHOD_GET | 1U << METHOD_HEAD)) != 0;
    if ((route->flags & ~(unsigned)EVS_STREAM_BODY) != 0) {
        return error_text(err, errlen, -EINVAL, "%s: \"%s\" has flags that do not exist: %#x", where, route->route,
                          route->flags);
    }
    enum body_mode wanted = route->flags & EVS_STREAM_BODY ? BODY_STREAM : BODY_WHOLE;
    *added = (struct host_route){
        .handler = {.serve = serve, .ctx = added, .body_mode = takes_body ? wanted : BODY_UNWANTED},
        .serve = route->serve,
        .arg = route->arg,
    };
    return router_add(router, methods, pattern, &added->handler, where, err, errlen);
}

int evs_routes_create(struct evs_routes **added, const struct evs_route *routes, struct router *router, char *err,
                      size_t errlen)
{
    size_t count = 0;
    while (routes[count].route != NULL) {
        count++;
    }
    struct evs_routes *made = mem_alloc(sizeof *made + count * sizeof made->list[0]);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "cannot start: %s", errno_text(ENOMEM));
    }
    made->count = count;
    for (size_t i = 0; i < count; i++) {
        int rv = add_route(&made->list[i], &routes[i], i, router, err, errlen);
        if (rv < 0) {
            mem_free(made);
            return rv;
        }
    }
    *added = made;
    return 0;
}

void evs_routes_destroy(struct evs_routes *routes)
{
    mem_free(routes);
}

/* Texts. */

/* The text of a slice of the head, ended in place. */
static const char *end_text(struct exchange *exchange, struct slice slice)
{
    bool is_copy = exchange->head_data == exchange->head_copy;
    char *head = is_copy ? exchange->head_copy : exchange->input.data + (exchange->head_data - exchange->input.data);
    head[slice.offset + slice.len] = '\0';
    return head + slice.offset;
}

const char *evs_method(evs_request *request)
{
    return method_name(exchange_of(request)->head.method);
}

const char *evs_target(evs_request *request)
{
    struct exchange *exchange = exchange_of(request);
    return end_text(exchange, exchange->head.target);
}

const char *evs_path(evs_request *request)
{
    return exchange_of(request)->path;
}

const char *evs_query_string(evs_request *request)
{
    struct exchange *exchange = exchange_of(request);
    return exchange->head.query.len == 0 ? "" : end_text(exchange, exchange->head.query);
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
    return end_text(exchange, slice);
}

int evs_header_at(evs_request *request, unsigned index, const char **name, const char **value)
{
    struct exchange *exchange = exchange_of(request);
    if (index >= exchange->head.field_count) {
        return 0;
    }
    *name = end_text(exchange, exchange->head.fields[index].name);
    *value = end_text(exchange, exchange->head.fields[index].value);
    return 1;
}

/* Room for every parameter and every query value of this request: first the path's, then the query's. NULL without
 * memory. The size is the same each time, so nothing moves during a request. */
static char *text_room(struct exchange *exchange)
{
    size_t size = exchange->path_len + ROUTE_PARAMS_MAX + 1 + exchange->head.query.len + 1;
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
    const struct route *route = name == NULL ? NULL : exchange->match.route;
    for (unsigned i = 0; route != NULL && i < route->param_count; i++) {
        char *room = strcmp(route->param_names[i], name) == 0 ? text_room(exchange) : NULL;
        if (room != NULL) {
            struct slice slice = exchange->match.params[i];
            room += slice.offset + i; /* each one behind those before, and their NULs */
            memcpy(room, exchange->path + slice.offset, slice.len);
            room[slice.len] = '\0';
            return room;
        }
    }
    return NULL;
}

const char *evs_query(evs_request *request, const char *name)
{
    struct exchange *exchange = exchange_of(request);
    const char *query = exchange_text(exchange, exchange->head.query);
    size_t len = exchange->head.query.len;
    struct url_pair pair;
    char *room = len == 0 || name == NULL ? NULL : text_room(exchange);
    if (room == NULL) {
        return NULL;
    }
    room += exchange->path_len + ROUTE_PARAMS_MAX + 1;
    for (const char *at = query; url_next_pair(&at, &len, &pair);) { /* decoded, nothing gets longer than it was */
        char *name_place = room + (pair.name - query);
        size_t name_len = url_decode_component(pair.name, pair.name_len, name_place);
        if (name_len == strlen(name) && memcmp(name_place, name, name_len) == 0) {
            char *place = pair.value_len == 0 ? name_place + pair.name_len : room + (pair.value - query);
            place[url_decode_component(pair.value, pair.value_len, place)] = '\0';
            return place;
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
    if (exchange->handler->body_mode != BODY_STREAM) {
        return EVS_END;
    }
    int rv = exchange_read_body(exchange, &piece, len);
    *data = piece;
    return rv < 0 ? rv : rv == BODY_DATA ? EVS_PIECE : rv == BODY_END ? EVS_END : EVS_WAIT;
}

const char *evs_peer(evs_request *request, char *text, size_t size)
{
    exchange_peer(exchange_of(request), text, size);
    return text;
}

evserve *evs_server(evs_request *request)
{
    return exchange_of(request)->server->owner;
}

unsigned evs_thread(evs_request *request)
{
    return exchange_of(request)->server->owner_index;
}

/* Answers. */

/* A host's mistake is told to its log. */
static void blame(const struct exchange *exchange, const char *function, const char *why)
{
    const struct route *route = exchange->match.route;
    log_write(exchange->server->log, LOG_ERROR, "route %s (%s): %s: %s", route->pattern, route->where, function, why);
}

/* Whether the answer may begin in this way, with len bytes of content. After a mistake the client gets a 500, or, when
 * the answer has begun already, an end that says that something is wrong. */
static bool can_begin(evs_request *request, int status, const char *type, const void *content, size_t len,
                      const char *function)
{
    struct exchange *exchange = exchange_of(request);
    const char *why = NULL;
    if (exchange->response_state != RESPONSE_NONE) {
        why = "the answer has begun already";
    } else if (status < 200 || status > 599) {
        why = "the status is not one from 200 to 599";
    } else if (type != NULL && response_check_field("Content-Type", 12, type, strlen(type)) < 0) {
        why = "the type has control characters";
    } else if (content == NULL && len > 0) {
        why = "the content is NULL";
    }
    if (why != NULL) {
        blame(exchange, function, why);
        response_abort(part(request));
    }
    return why == NULL;
}

/* What evs_header() and the like gave for a text that is not there may be handed on to an answer. */
static int can_set_field(evs_request *request, const char *name, const char *value)
{
    return exchange_of(request)->response_state != RESPONSE_NONE ? -EALREADY
           : name == NULL || value == NULL                       ? -EINVAL
                                                                 : 0;
}

int evs_set_header(evs_request *request, const char *name, const char *value)
{
    int rv = can_set_field(request, name, value);
    return rv < 0 ? rv : response_set_field(exchange_of(request), name, strlen(name), value, strlen(value));
}

int evs_add_header(evs_request *request, const char *name, const char *value)
{
    int rv = can_set_field(request, name, value);
    return rv < 0 ? rv : response_add_field(exchange_of(request), name, strlen(name), value, strlen(value));
}

void evs_reply(evs_request *request, int status, const char *type, const void *content, size_t len)
{
    if (can_begin(request, status, type, content, len, "evs_reply")) {
        response_send(part(request), status, type, content, len);
    }
}

int evs_file(evs_request *request, const char *root, const char *path)
{
    struct file_replies *replies = exchange_of(request)->site->replies;
    if (root == NULL || path == NULL) {
        return -EINVAL;
    }
    struct file_reply reply = {.root = root, .path = path, .path_len = strlen(path), .status = 200};
    int rv = file_reply_check(replies, &reply, NULL, 0);
    if (rv == 0 && can_begin(request, 200, NULL, NULL, 0, "evs_file")) {
        file_reply_send(replies, part(request), &reply);
    }
    return rv;
}

void evs_begin(evs_request *request, int status, const char *type, int64_t length)
{
    if (can_begin(request, status, type, NULL, 0, "evs_begin")) {
        response_begin(exchange_of(request), status, type, length < 0 ? RESPONSE_LENGTH_UNKNOWN : length);
    }
}

/* Nobody takes the content, so nothing would ever hold up a host that makes it without an end. */
static void on_unwanted(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct exchange *exchange = arg;
    exchange->evs.timer = 0;
    tell(exchange, EVS_GONE);
    response_end(part(request_of(exchange)));
}

/* The answer has no content (HEAD, 204, 304): it is complete as it is. The host, which is in the middle of its work, is
 * told with the next turn of the loop. */
static void end_without_content(struct exchange *exchange)
{
    stop_timer(exchange);
    exchange->evs.timer = reactor_set_timeout(exchange->server->reactor, 0, on_unwanted, exchange);
    if (exchange->evs.timer == 0) {
        response_abort(exchange);
    }
}

int evs_write(evs_request *request, const void *content, size_t len)
{
    struct exchange *exchange = exchange_of(request);
    if (exchange->response_state == RESPONSE_NONE) {
        response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    }
    if (content == NULL && len > 0) {
        blame(exchange, "evs_write", "the content is NULL");
        response_abort(exchange);
        return -1;
    }
    if (exchange->head_only && exchange->response_state == RESPONSE_STREAMING && len > 0) {
        end_without_content(exchange);
        return -1;
    }
    return response_write(exchange, content, len);
}

void evs_end(evs_request *request)
{
    struct exchange *exchange = part(request);
    if (exchange->response_state == RESPONSE_NONE) {
        response_send(exchange, 204, NULL, NULL, 0);
    } else {
        response_end(exchange);
    }
}

void evs_abort(evs_request *request)
{
    response_abort(part(request));
}
