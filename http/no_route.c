/* What the server or its host responds in the place of a route. No failure modes. */

#include "http/no_route.h"

#include "http/exchange.h"
#include "http/metrics_counts.h"
#include "http/refusal.h"
#include "http/response.h"
#include "http/service.h"
#include "http/vhost.h"

#include <string.h>

/* The fields that the mount of the path has added are those of the host for this response: a handler may set them
 * anew. */
static bool pass_refusal(struct exchange *exchange, int status)
{
    if (exchange->vhost->no_route == NULL) {
        return false;
    }
    response_keep_fields(exchange);
    return refusal_pass_no_route(exchange, status);
}

bool no_route_serve(struct exchange *exchange, int status)
{
    if (exchange->handler != &exchange->service->static_handler || !pass_refusal(exchange, status)) {
        return false;
    }
    exchange->handler->serve(exchange, exchange->handler->ctx);
    return true;
}

void no_route_answer_options(struct exchange *exchange, uint64_t methods)
{
    exchange->match.allowed = methods | METHOD_BIT(METHOD_OPTIONS);
    if (exchange->is_served ? no_route_serve(exchange, 204) : pass_refusal(exchange, 204)) {
        return;
    }
    char allow[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(exchange->vhost->router, exchange->match.allowed, allow);
    response_add_field(exchange, "Allow", 5, allow, strlen(allow));
    response_send(exchange, 204, NULL, NULL, 0);
}

void no_route_refuse(struct exchange *exchange, int status)
{
    if (!pass_refusal(exchange, status)) {
        response_error(exchange, status, NULL);
    }
}

bool no_route_go_on(struct exchange *exchange)
{
    if (exchange->handler != &exchange->service->files_first) {
        return false;
    }
    response_clear_fields(exchange);
    exchange->hold = HOLD_OVER;
    exchange_resume(exchange);
    return true;
}

bool no_route_ask_host(struct exchange *exchange)
{
    const struct handler *handler = &exchange->service->not_found_handler;
    if (handler->serve == NULL || exchange->match.allowed != 0) {
        return false;
    }
    exchange->handler = handler;
    exchange->series = SERIES_NONE;
    exchange->outlives_end = handler->half_close;
    exchange->is_unlogged = handler->is_unlogged;
    handler->serve(exchange, handler->ctx);
    return true;
}
