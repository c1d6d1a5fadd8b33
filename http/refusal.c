/* A refusal is one more call of a handler's serve(), so all that holds for a handler (waiting, clients that leave,
 * deadlines) holds for it. A handler for refusals has none itself, which is why a request is refused once. */

#include "http/refusal.h"

#include "http/exchange.h"
#include "http/handler.h"
#include "http/metrics_counts.h"
#include "http/response_fields.h"
#include "http/vhost.h"

#include <stddef.h>

static void give_to(struct exchange *exchange, const struct handler *handler, int status, const char *why)
{
    exchange->handler = handler;
    exchange->refusal = status;
    exchange->refusal_why = why;
}

bool refusal_pass(struct exchange *exchange, int status, const char *why)
{
    const struct handler *refusals = exchange->handler == NULL ? NULL : exchange->handler->refusals;
    if (refusals == NULL || exchange->response_state != RESPONSE_NONE) {
        return false;
    }
    give_to(exchange, refusals, status, why);
    exchange->is_served = false;
    exchange->wants_body = false;
    exchange->on_stopping = NULL;
    response_clear_fields(exchange);
    return true;
}

bool refusal_pass_no_route(struct exchange *exchange, int status)
{
    const struct handler *handler = exchange->vhost->no_route;
    if (handler == NULL) {
        return false;
    }
    give_to(exchange, handler, status, NULL);
    exchange->series = SERIES_NONE;
    exchange->outlives_end = handler->half_close;
    return true;
}
