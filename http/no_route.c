/* What the server or its host responds in the place of a route. No failure modes. */

#include "http/no_route.h"

#include "http/exchange.h"
#include "http/metrics_counts.h"
#include "http/response.h"
#include "http/service.h"
#include "http/vhost.h"

#include <string.h>

void no_route_answer_options(struct exchange *exchange, uint64_t methods)
{
    char allow[ROUTE_METHODS_TEXT_MAX];
    router_format_methods(exchange->vhost->router, methods | METHOD_BIT(METHOD_OPTIONS), allow);
    response_add_field(exchange, "Allow", 5, allow, strlen(allow));
    response_send(exchange, 204, NULL, NULL, 0);
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
