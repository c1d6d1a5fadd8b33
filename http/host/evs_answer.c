/* Answers of a host: thin wrappers over response.h and file_reply.h. Whatever completes the answer parts with the exchange
 * first.
 *
 * Failure modes: without memory, what answers says -ENOMEM or becomes a 503. */

#include "http/host/evs_internal.h"

#include "core/log.h"
#include "http/exchange.h"
#include "http/file_reply.h"
#include "http/response.h"
#include "http/router.h"
#include "http/server_internal.h"

#include <errno.h>
#include <string.h>

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
        response_abort(evs_part(request));
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
        response_send(evs_part(request), status, type, content, len);
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
        file_reply_send(replies, evs_part(request), &reply);
    }
    return rv;
}

void evs_begin(evs_request *request, int status, const char *type, int64_t length)
{
    if (can_begin(request, status, type, NULL, 0, "evs_begin")) {
        response_begin(exchange_of(request), status, type, length < 0 ? RESPONSE_LENGTH_UNKNOWN : length);
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
        evs_end_without_content(exchange);
        return -1;
    }
    return response_write(exchange, content, len);
}

void evs_end(evs_request *request)
{
    struct exchange *exchange = evs_part(request);
    if (exchange->response_state == RESPONSE_NONE) {
        response_send(exchange, 204, NULL, NULL, 0);
    } else {
        response_end(exchange);
    }
}

void evs_abort(evs_request *request)
{
    response_abort(evs_part(request));
}
