#ifndef EVSERVE_HTTP_EXCHANGE_DUES_H
#define EVSERVE_HTTP_EXCHANGE_DUES_H

/* What is due for an exchange beside its response, in one word: a request for which nothing is due pays one branch. */

#include <stdbool.h>
#include <stdint.h>

/* Whether an exchange has a line in the access log, or may have one in the log since it is slow. */
enum exchange_logged {
    LOGGED_NOT,
    LOGGED_SOON, /* its response is begun and ended in one turn, as far as can be told yet */
    LOGGED_LATE, /* its response was begun in an earlier turn, its host has a log of its own, or there is none */
};

/* What decides how fast the bytes of a response leave. */
enum exchange_paced {
    PACED_NOT,       /* the client alone */
    PACED_BY_LIMITS, /* rate_limit of exchange->limits */
    PACED_OWN,       /* exchange->rate_bytes: response_set_rate() */
};

/* All of it. */
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

#endif
