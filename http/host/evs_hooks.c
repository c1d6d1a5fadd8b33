/* The hooks of a config, which a server calls with the config as their argument. */

#include "http/host/evs_hooks.h"

#include "http/host/evs_internal.h"
#include "http/outcome.h"
#include "http/server.h"
#include "http/server_internal.h"

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

/* Nothing that the host asks for here may be left for the next request of the connection, of which a handler of its own
 * may know nothing. */
static void forget_parsed(struct exchange *exchange)
{
    if (exchange != NULL && exchange->parsed != NULL) {
        evs_drop_parsed(exchange);
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
        .thread = outcome->server->owner_index,
        .request = outcome->exchange == NULL ? NULL : request_of(outcome->exchange),
    };
    config->finished(config->arg, &told);
    forget_parsed(outcome->exchange);
}

void evs_hooks_set(struct server *server, const struct evserve_config *config)
{
    const struct server_hooks hooks = {
        .finished = config->finished == NULL ? NULL : on_finished,
        .arg = (void *)(uintptr_t)config,
    };
    server_set_hooks(server, &hooks);
}
