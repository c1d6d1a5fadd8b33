/* A handler that is waited for: its client may leave, its time may be over, and the server may stop.
 *
 * In each case a callback of the exchange runs. It is called from the event loop, never inside a function that the
 * handler has called. */

#include "http/h1/h1_handler.h"

#include "http/exchange_log.h"
#include "http/h1/h1.h"
#include "http/h1/h1_deadline.h"
#include "http/refusal.h"
#include "http/response.h"
#include "http/service.h"

#include <inttypes.h>
#include <stdio.h>

void h1_tell_gone(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    void (*on_gone)(struct exchange * exchange) = exchange->on_gone;
    exchange->on_drain = NULL;
    exchange->on_data = NULL;
    exchange->on_stopping = NULL;
    exchange->on_gone = NULL;
    exchange->wants_body = false;
    if (on_gone != NULL) {
        on_gone(exchange);
    }
}

bool h1_waits_for_handler(const struct h1 *h1)
{
    const struct exchange *exchange = &h1->exchange;
    return h1->state == H1_PROCESSING && exchange->is_served && exchange->response_state < RESPONSE_COMPLETE &&
           !exchange->is_stalled && exchange->hold != HOLD_OVER && h1_waits_for(h1) == WAIT_HANDLER;
}

bool h1_is_left(const struct h1 *h1)
{
    return !h1->exchange.outlives_end && h1_waits_for_handler(h1);
}

enum {
    LATE_PLACE_MAX = 512, /* bytes of the place where a script waits, with its NUL */
    LATE_FATE_MAX = 128,  /* bytes of what becomes of a handler that is late, with its NUL */
};

/* Say what becomes of which handler: its route and the places of that and of its wait, or the host's hook and the
 * path. */
static void log_fate(struct exchange *exchange, const char *fate)
{
    const struct route *route = exchange_route(exchange);
    if (route != NULL) {
        char place[LATE_PLACE_MAX] = "";
        if (route->handler->say_place != NULL && exchange->on_gone != NULL) {
            route->handler->say_place(exchange, place, sizeof place);
        }
        exchange_log(exchange, LOG_WARN, route, "route %s (%s): %s%s%s", route->pattern, route->where, fate,
                     place[0] == '\0' ? "" : "; it waits at ", place);
    } else {
        const char *name = exchange->handler->name == NULL ? "no route" : exchange->handler->name;
        exchange_log(exchange, LOG_WARN, name, "%s, for %s: %s", name, exchange->path, fate);
    }
}

static void log_late(struct exchange *exchange, const char *what, uint64_t late_ms, const char *limit)
{
    char fate[LATE_FATE_MAX];
    snprintf(fate, sizeof fate, "%s %" PRIu64 " ms (%s)", what, late_ms, limit);
    log_fate(exchange, fate);
}

void h1_log_stopped(struct h1 *h1)
{
    if (h1->exchange.on_gone != NULL && h1->exchange.response_state < RESPONSE_COMPLETE) {
        log_fate(&h1->exchange, "cut, since the server stops");
    }
}

bool h1_replace_handler(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (exchange->response_state != RESPONSE_NONE) {
        log_late(exchange, "cut, since its stream wrote nothing for", exchange->limits->stream_timeout_ms,
                 "stream_timeout");
        return false;
    }
    bool is_before = exchange->handler == &exchange->service->before_handler;
    log_late(exchange,
             is_before                      ? "503, since it returned 1 and did not answer within"
             : exchange->hold == HOLD_WAITS ? "503, since it did not decide within"
                                            : "503, since its handler did not answer within",
             exchange->limits->handler_timeout_ms, "handler_timeout");
    exchange->response_state = RESPONSE_ABORTED; /* what on_gone() still writes is not sent */
    h1_tell_gone(h1);
    exchange->response_state = RESPONSE_NONE;
    if (refusal_pass(exchange, 503, "the handler did not answer within handler_timeout")) {
        h1->conn->waits_for = WAIT_NONE; /* the handler for refusals has as much time again */
        return true;
    }
    response_error(exchange, 503, NULL); /* of all else only the host's page for errors sees the exchange from now on */
    return true;
}

void h1_announce_stop(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (exchange->on_stopping != NULL && h1->state == H1_PROCESSING && exchange->is_served &&
        exchange->response_state < RESPONSE_COMPLETE && exchange_should_end(exchange)) {
        exchange->on_stopping(exchange);
    }
}
