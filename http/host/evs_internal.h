#ifndef EVSERVE_HTTP_HOST_EVS_INTERNAL_H
#define EVSERVE_HTTP_HOST_EVS_INTERNAL_H

/* What the files of the C binding share. An evs_request is a struct exchange. */

#include "evserve.h"
#include "http/exchange.h"
#include "http/host/evs.h"

static inline struct exchange *exchange_of(evs_request *request)
{
    return (struct exchange *)(void *)request;
}

static inline evs_request *request_of(struct exchange *exchange)
{
    return (evs_request *)(void *)exchange;
}

/* A handler of the host's is about to be called: from here on its events are the host's. */
void evs_hook(struct exchange *exchange);

/* Call the function of evs_on(), if there is one. */
void evs_tell(struct exchange *exchange, enum evs_event event);

void evs_stop_timer(struct exchange *exchange);

/* Whether the handler takes the body piece by piece. */
static inline bool evs_streams_body(const struct exchange *exchange)
{
    return exchange->handler != NULL && exchange->handler->body_mode == BODY_STREAM;
}

/* A mistake of the host's is a line in its log, with the route, the function and what is wrong. */
void evs_blame(const struct exchange *exchange, const char *function, const char *why);

/* The answer is about to be complete: the host hears no more of it. */
struct exchange *evs_part(evs_request *request);

/* The answer has no content (HEAD, 204, 304): it is complete as it is. The host, which is in the middle of its work, is
 * told with the next turn of the loop. */
void evs_end_without_content(struct exchange *exchange);

#endif
