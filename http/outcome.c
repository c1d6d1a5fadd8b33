/* Happy path: outcome_begin() when the first byte of a request is looked at, outcome_end() when the last byte of its
 * response was handed to the kernel, or when its connection closes before that. */

#include "http/outcome.h"

#include "core/sys.h"
#include "http/char_class.h"
#include "http/exchange.h"
#include "http/peer.h"
#include "http/router.h"
#include "http/service.h"
#include "http/slow_log.h"

#include <string.h>

void outcome_begin(struct exchange *exchange, size_t queued)
{
    exchange->sent_bytes = 0;
    exchange->queued_before = (uint32_t)queued;
    exchange->began_ns = sys_now_ns();
    if (exchange->service->times_requests) {
        slow_log_begin(exchange, exchange->began_ns);
    }
}

/* The element of a request line at *at, ended in place; "" if it is not all there. */
static const char *take_element(char **at, char *end, enum char_class of)
{
    char *start = *at;
    while (*at < end && char_is(**at, of)) {
        ++*at;
    }
    if (*at == start || *at == end || (**at != ' ' && **at != '\r')) {
        *at = end;
        return "";
    }
    *(*at)++ = '\0';
    return start;
}

/* The method and target of a request whose head was never parsed to its end. */
static void read_request_line(struct outcome *outcome, char *data, size_t len)
{
    char *end = len == 0 ? data : data + len;
    while (data < end && (*data == '\r' || *data == '\n')) {
        data++;
    }
    outcome->method = take_element(&data, end, CLASS_TOKEN);
    outcome->target = take_element(&data, end, CLASS_QUERY);
}

static void report_end(struct exchange *exchange, enum outcome_end end, char *raw, size_t raw_len)
{
    struct service *service = exchange->service;
    const struct route *route = exchange_route(exchange);
    struct outcome outcome = {
        .service = service,
        .status = exchange->status,
        .bytes = exchange->sent_bytes,
        .duration_us = (sys_now_ns() - exchange->began_ns) / 1000,
        .end = end,
    };
    if (exchange->head_data == NULL) {
        read_request_line(&outcome, raw, raw_len);
    } else {
        outcome.exchange = exchange;
        outcome.method = exchange_end_text(exchange, exchange->head.method_text);
        outcome.target = exchange_end_text(exchange, exchange->head.target);
        outcome.route = route == NULL ? NULL : route->pattern;
    }
    peer_format(exchange_client(exchange), outcome.peer, sizeof outcome.peer);
    service->hooks.finished(service->hooks.arg, &outcome);
}

void outcome_end(struct exchange *exchange, enum outcome_end end, char *raw, size_t raw_len)
{
    bool is_something = exchange->head_data != NULL || exchange->response_state != RESPONSE_NONE;
    if (is_something && exchange->service->hooks.finished != NULL) {
        report_end(exchange, end, raw, raw_len);
    }
    void (*on_over)(struct exchange *) = exchange->on_over; /* which the hook may have set */
    exchange->dues.is_watched = false;
    exchange->on_over = NULL;
    if (on_over != NULL) {
        on_over(exchange);
    }
}

void outcome_turned_away(struct service *service, const struct peer *newcomer, int status, uint64_t bytes, char *scrap,
                         size_t len, enum outcome_end end)
{
    struct outcome outcome = {.service = service, .status = status, .bytes = bytes, .end = end};
    read_request_line(&outcome, scrap, len);
    if (newcomer != NULL) {
        peer_format(newcomer, outcome.peer, sizeof outcome.peer);
    }
    service->hooks.finished(service->hooks.arg, &outcome);
}
