/* The hooks of a config. A server calls them with the config as their argument. */

#include "http/host/evs_hooks.h"

#include "http/host/evs_blame.h"
#include "http/host/evs_events.h"
#include "http/host/evs_internal.h"
#include "http/host/evs_parsed.h"
#include "http/host/evs_stalls.h"
#include "http/outcome.h"
#include "http/response.h"
#include "http/server.h"
#include "http/service.h"

static enum evs_end end_of(enum outcome_end end)
{
    switch (end) {
    case OUTCOME_COMPLETE:
        return EVS_END_COMPLETE;
    case OUTCOME_TIMEOUT:
        return EVS_END_TIMEOUT;
    case OUTCOME_ABORTED:
        return EVS_END_ABORTED;
    case OUTCOME_STOPPED:
        return EVS_END_STOPPED;
    case OUTCOME_GONE:
        break;
    }
    return EVS_END_GONE;
}

/* What a hook has asked for must not be left for the next request of the connection, whose handler may not be the
 * host's. */
static void forget_parsed(struct exchange *exchange)
{
    if (exchange != NULL) {
        evs_drop_parsed(exchange);
    }
}

/* The host sees a request for the first time. If before does not respond, what it has asked for is undone. */
static bool on_before(struct exchange *exchange, void *arg)
{
    const struct evserve_config *config = arg;
    struct reactor *reactor = exchange->service->reactor;
    evs_hook(exchange);
    int responds = config->before(request_of(exchange), config->arg);
    evs_stalls_note(reactor, "evserve_config.before");
    if (responds != 0 || exchange->response_state != RESPONSE_NONE) {
        return true;
    }
    evs_part(request_of(exchange));
    return false;
}

static void on_not_found(struct exchange *exchange, void *arg)
{
    const struct evserve_config *config = arg;
    struct reactor *reactor = exchange->service->reactor;
    evs_hook(exchange);
    config->not_found(request_of(exchange), config->arg);
    evs_stalls_note(reactor, "evserve_config.not_found");
}

/* What a handler has asked for; it may still use the exchange when on_error is called. */
struct handler_wishes {
    void (*on_drain)(struct exchange *exchange);
    void (*on_data)(struct exchange *exchange);
    void (*on_gone)(struct exchange *exchange);
    void (*on_stopping)(struct exchange *exchange);
    struct evs_state evs;      /* except for the ticket, which has ended, and the calls of evs_on_done() */
    struct evs_parsed *parsed; /* the handler may be on the stack, and use the texts again */
};

static struct handler_wishes put_aside(struct exchange *exchange)
{
    const struct handler_wishes wishes = {exchange->on_drain,    exchange->on_data, exchange->on_gone,
                                          exchange->on_stopping, exchange->evs,     exchange->parsed};
    exchange->parsed = NULL;
    evs_hook(exchange);
    return wishes;
}

static void take_back(struct exchange *exchange, const struct handler_wishes *wishes)
{
    evs_part(request_of(exchange)); /* leaves no timer */
    forget_parsed(exchange);
    exchange->parsed = wishes->parsed;
    exchange->on_drain = wishes->on_drain;
    exchange->on_data = wishes->on_data;
    exchange->on_gone = wishes->on_gone;
    exchange->on_stopping = wishes->on_stopping;
    exchange->evs.fn = wishes->evs.fn;
    exchange->evs.arg = wishes->evs.arg;
    exchange->evs.timer = wishes->evs.timer;
    exchange->evs.has_read = wishes->evs.has_read;
    exchange->evs.is_unwanted = wishes->evs.is_unwanted;
}

/* When this returns, the response is complete or does not exist: the caller, about to send an error page, does not
 * wait. */
static void on_error_page(struct exchange *exchange, int status, void *arg)
{
    const struct evserve_config *config = arg;
    const struct handler_wishes wishes = put_aside(exchange);
    config->on_error(request_of(exchange), status, config->arg);
    evs_stalls_note(exchange->service->reactor, "evserve_config.on_error");
    take_back(exchange, &wishes);
    if (exchange->response_state == RESPONSE_STREAMING && exchange->head_only) {
        response_end(exchange); /* evs_write() has refused the rest, which nobody wants */
    } else if (exchange->response_state == RESPONSE_STREAMING) {
        evs_blame(exchange, LOG_ERROR, "on_error", "the response must be complete when it returns");
        response_abort(exchange);
    }
}

static void on_finished(void *arg, const struct outcome *outcome)
{
    const struct evserve_config *config = arg;
    const struct evs_outcome told = {
        .size = sizeof told,
        .method = outcome->method,
        .target = outcome->target,
        .peer = outcome->peer,
        .route = outcome->route,
        .status = outcome->status,
        .end = (int)end_of(outcome->end),
        .bytes = outcome->bytes,
        .duration_us = (uint64_t)outcome->duration_us,
        .thread = outcome->service->owner_index,
        .request = outcome->exchange == NULL ? NULL : request_of(outcome->exchange),
    };
    if (outcome->exchange != NULL) {
        outcome->exchange->evs.is_unwanted = true; /* a timer or a ticket would lead to the next request */
    }
    config->finished(config->arg, &told);
    forget_parsed(outcome->exchange);
}

void evs_hooks_set(struct server *server, const struct evserve_config *config)
{
    const struct server_hooks hooks = {
        .before = config->before == NULL ? NULL : on_before,
        .not_found = config->not_found == NULL ? NULL : on_not_found,
        .on_error = config->on_error == NULL ? NULL : on_error_page,
        .finished = config->finished == NULL ? NULL : on_finished,
        .arg = (void *)(uintptr_t)config,
        .before_name = "evserve_config.before",
        .not_found_name = "evserve_config.not_found",
    };
    service_set_hooks(server_service(server), &hooks);
}
