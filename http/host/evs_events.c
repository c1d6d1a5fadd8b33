/* Events of a host's request: evs_on() and evs_after(). */

#include "http/host/evs_events.h"

#include "core/reactor.h"
#include "http/host/evs_internal.h"
#include "http/host/evs_parsed.h"
#include "http/host/evs_stalls.h"
#include "http/host/evs_ticket.h"
#include "http/response.h"
#include "http/service.h"

#include <errno.h>

static void stop_timer(struct exchange *exchange)
{
    if (exchange->evs.timer != 0) {
        reactor_cancel_timer(exchange->service->reactor, exchange->evs.timer);
        exchange->evs.timer = 0;
    }
}

void evs_tell(struct exchange *exchange, enum evs_event event)
{
    if (exchange->evs.fn != NULL) {
        const struct route *route = exchange_route(exchange);
        struct reactor *reactor = exchange->service->reactor;
        exchange->evs.fn(request_of(exchange), (int)event, exchange->evs.arg);
        evs_stalls_note_event(reactor, route);
    }
}

static void on_drain(struct exchange *exchange)
{
    evs_ticket_ease(exchange);
    evs_tell(exchange, EVS_DRAIN);
}

static void on_data(struct exchange *exchange)
{
    evs_tell(exchange, EVS_DATA);
}

/* After this the exchange belongs to the next request, so nothing may be left that leads to it: timers and tickets are
 * refused from here on. */
static void on_gone(struct exchange *exchange)
{
    exchange->evs.is_unwanted = true;
    stop_timer(exchange);
    evs_ticket_end(exchange);
    evs_tell(exchange, EVS_GONE);
}

/* A host that has not called evs_on() yet gets the event when it does. */
static void on_stopping(struct exchange *exchange)
{
    if (exchange->evs.fn != NULL) {
        exchange->on_stopping = NULL;
        evs_tell(exchange, EVS_STOPPING);
    }
}

static void on_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct exchange *exchange = arg;
    exchange->evs.timer = 0;
    evs_tell(exchange, EVS_TIMER);
}

void evs_on(evs_request *request, void (*fn)(evs_request *request, int event, void *arg), void *arg)
{
    struct exchange *exchange = exchange_of(request);
    exchange->evs.fn = fn;
    exchange->evs.arg = arg;
    if (exchange->on_stopping != NULL && exchange_should_end(exchange)) {
        exchange_resume(exchange); /* EVS_STOPPING comes with the next turn of the loop */
    }
}

int evs_after(evs_request *request, uint32_t ms)
{
    struct exchange *exchange = exchange_of(request);
    if (exchange->response_state >= RESPONSE_COMPLETE || exchange->evs.is_unwanted) {
        return -EALREADY; /* when the time comes, the exchange may belong to another request */
    }
    stop_timer(exchange);
    exchange->evs.timer = reactor_set_timeout(exchange->service->reactor, ms, on_timer, exchange);
    return exchange->evs.timer == 0 ? -ENOMEM : 0;
}

void evs_hook(struct exchange *exchange)
{
    exchange->evs.fn = NULL;
    exchange->evs.arg = NULL;
    exchange->evs.timer = 0;
    exchange->evs.has_read = false;
    exchange->evs.is_unwanted = false;
    evs_drop_parsed(exchange); /* of the previous request on this connection */
    exchange->on_drain = on_drain;
    exchange->on_data = on_data;
    exchange->on_gone = on_gone;
    exchange->on_stopping = on_stopping;
}

struct exchange *evs_part(evs_request *request)
{
    struct exchange *exchange = exchange_of(request);
    stop_timer(exchange);
    evs_ticket_end(exchange);
    exchange->on_drain = NULL;
    exchange->on_data = NULL;
    exchange->on_gone = NULL;
    exchange->on_stopping = NULL;
    return exchange;
}

/* The content is discarded, so nothing would ever slow down a host that produces it without end. */
static void on_unwanted(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct exchange *exchange = arg;
    exchange->evs.timer = 0;
    evs_tell(exchange, EVS_GONE);
    response_end(evs_part(request_of(exchange)));
}

void evs_end_without_content(struct exchange *exchange)
{
    if (exchange->evs.is_unwanted) {
        return; /* EVS_GONE is due, or is being delivered */
    }
    stop_timer(exchange);
    exchange->evs.is_unwanted = true;
    exchange->on_stopping = NULL;
    exchange->evs.timer = reactor_set_timeout(exchange->service->reactor, 0, on_unwanted, exchange);
    if (exchange->evs.timer == 0) {
        response_abort(exchange);
    }
}
