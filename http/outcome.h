#ifndef EVSERVE_HTTP_OUTCOME_H
#define EVSERVE_HTTP_OUTCOME_H

/* What became of each request: for hosts that keep an account of them, and the place where an access log is written.
 *
 * An exchange is watched if somebody wants to hear of its end: the server's finished hook, of all of them, or
 * exchange->on_over, of this one. The response of a watched exchange is handed to the kernel before the next request of
 * its connection is begun, and its head is kept until then. Others have none of this. */

#include "core/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;
struct peer;
struct service;

/* How it ended. */
enum outcome_end {
    OUTCOME_GONE, /* the client closed or reset the connection before all of the response was handed to the kernel */
    OUTCOME_COMPLETE, /* all of it was */
    OUTCOME_TIMEOUT,  /* a deadline was over */
    OUTCOME_ABORTED,  /* the response could not be completed: given up, too long, no memory, its file has changed */
    OUTCOME_STOPPED,  /* the server stopped, and waited no longer */
};

/* The status that logs and metrics have for a request that got no response: as in nginx, 499 if the client left and 408
 * if it was too slow; else 0. */
static inline int outcome_status_without(enum outcome_end end)
{
    return end == OUTCOME_GONE ? 499 : end == OUTCOME_TIMEOUT ? 408 : 0;
}

/* Whether an exchange has a line in the access log, or may have one in the log since it is slow. */
enum exchange_logged {
    LOGGED_NOT,
    LOGGED_SOON, /* its response is begun and ended in one turn, as far as can be told yet */
    LOGGED_LATE, /* its response was begun in an earlier turn, or there is no access log */
};

/* What decides how fast the bytes of a response leave. */
enum exchange_paced {
    PACED_NOT,       /* the client alone */
    PACED_BY_LIMITS, /* rate_limit of exchange->limits */
    PACED_OWN,       /* exchange->rate_bytes: response_set_rate() */
};

/* What is due for an exchange beside its response. */
union exchange_dues {
    struct {
        bool is_watched;   /* outcome_end(), when its response is sent, or its connection lost */
        uint8_t is_logged; /* enum exchange_logged: its lines in the logs: http/access_log.h, http/slow_log.h */
        bool is_measured;  /* its place in the metrics: http/metrics_counts.h */
        bool is_begun;     /* outcome_begin(), when its first byte is looked at */
        uint8_t is_paced;  /* enum exchange_paced: its response is sent before the next request is looked at */
    };
    uint64_t any; /* not 0: something is */
};

/* Valid during the call. */
struct outcome {
    struct service *service;   /* of the server that it came to */
    struct exchange *exchange; /* to ask for more of the request; NULL if its head has not arrived */
    const char *method;        /* as sent; "" if the request line has not arrived */
    const char *target;        /* the same */
    int status;                /* of the response; 0 if there is none */
    uint64_t bytes;            /* of the response that the kernel took, head and framing included */
    int64_t duration_us;       /* from the request's first byte to the end */
    char peer[NET_TEXT_MAX];   /* as peer_format() writes it; "" if it is not known */
    const char *route;         /* pattern of the route that responded; NULL if none did */
    enum outcome_end end;
};

/* An exchange for which that is due: its request begins now. queued: bytes of earlier responses that are still in its
 * connection's queue. */
void outcome_begin(struct exchange *exchange, size_t queued);

/* A watched exchange is over: report it to the observers, and stop watching it. Nothing is reported for a
 * connection that ended between requests, or in the middle of a head. raw is what has come of a head that was never
 * complete: raw_len bytes, which may be written to; unused otherwise. */
void outcome_end(struct exchange *exchange, enum outcome_end end, char *raw, size_t raw_len);

/* A client was turned away with status and bytes of a response. scrap is what it has sent: len bytes, which may be
 * written to. newcomer knows its address, or is NULL. */
void outcome_turned_away(struct service *service, const struct peer *newcomer, int status, uint64_t bytes, char *scrap,
                         size_t len, enum outcome_end end);

#endif
