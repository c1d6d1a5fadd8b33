#ifndef EVSERVE_HTTP_HOST_EVS_INTERNAL_H
#define EVSERVE_HTTP_HOST_EVS_INTERNAL_H

/* What the files of the C binding share. An evs_request is a struct exchange. */

#include "evserve.h"
#include "http/exchange.h"

static inline struct exchange *exchange_of(evs_request *request)
{
    return (struct exchange *)(void *)request;
}

static inline evs_request *request_of(struct exchange *exchange)
{
    return (evs_request *)(void *)exchange;
}

/* Whether the handler takes the body piece by piece. */
static inline bool evs_streams_body(const struct exchange *exchange)
{
    return exchange->handler != NULL && exchange->handler->body_mode == BODY_STREAM;
}

#endif
