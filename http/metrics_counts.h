#ifndef EVSERVE_HTTP_METRICS_COUNTS_H
#define EVSERVE_HTTP_METRICS_COUNTS_H

/* What the exchanges of one reactor add up to, by route and status: requests, bytes, durations. There are counts only
 * where something asks for metrics; a service without them pays for a branch. The reactor's thread writes, any thread
 * may read (relaxed atomics); memory is never given back before the end.
 *
 * Exchanges are counted in series: one for each route, whatever reload it came with, and three for all others. Where
 * the site lists hosts (http/metrics_hosts.h), each of them has series of its own. A series has memory only on the
 * threads that have had a request of it.
 *
 * The clock is not read for it. A request begins with the tick that it came in, or with its first byte if somebody else
 * wants to know, and what ends in a tick ends with the tick, so its duration is added before the next one. */

#include "http/outcome.h"

#include <stdbool.h>
#include <stdint.h>

struct exchange;
struct metrics_counts;
struct reactor;
struct service;

enum {
    SERIES_NONE,            /* neither a route nor a file fitted, or the request was refused before */
    SERIES_FILES,           /* mounted directories */
    SERIES_MORE,            /* routes beyond SERIES_MAX */
    SERIES_FIRST,           /* of a route */
    SERIES_MAX = 1024,      /* all of them, in the whole life of a server */
    COUNT_CODES = 24,       /* statuses of one series that are told apart; the last one counts all others */
    COUNT_BOUNDS = 15,      /* buckets of durations, and one for those above all bounds */
    COUNT_PENDING_MAX = 64, /* exchanges of one tick whose duration is open; with more, the clock is read */
};

extern const double count_bounds_s[COUNT_BOUNDS]; /* upper bounds of durations in seconds, ascending */

/* One series on one thread. codes[n] is written before the numbers beside it; 0 is not used yet. */
struct series_counts {
    uint32_t codes[COUNT_CODES];
    uint64_t requests[COUNT_CODES], bytes[COUNT_CODES];
    uint64_t buckets[COUNT_BOUNDS + 1]; /* exchanges by duration, each in one of them */
    uint64_t duration_ns;               /* of all of them */
};

enum { COUNT_NO_STATUS = 1, COUNT_OTHER_STATUS = 2 }; /* in codes, beside statuses */

/* Make the counts of a reactor's thread. reactor is borrowed, and times its ticks from now on. Returns 0 or -ENOMEM. */
int metrics_counts_create(struct metrics_counts **counts, struct reactor *reactor);

/* Free them. NULL is allowed. */
void metrics_counts_destroy(struct metrics_counts *counts);

/* The tick ends in which an exchange began, and the exchange goes on. */
void metrics_counts_begin(struct exchange *exchange);

/* An exchange is over: count it. bytes: of its response, head and framing included. */
void metrics_counts_add(struct exchange *exchange, enum outcome_end end, uint64_t bytes);

/* Why a client was turned away before there was an exchange. */
enum refusal { REFUSED_CONNECTIONS, REFUSED_ADDRESS, REFUSED_MEMORY, REFUSED_FDS, REFUSALS };

/* One was, with status. */
void metrics_counts_add_refused(struct metrics_counts *counts, enum refusal why, int status, uint64_t bytes);

/* Add the clients that were turned away to sum. Any thread. */
void metrics_counts_sum_refused(const struct metrics_counts *counts, uint64_t sum[REFUSALS]);

/* Add the durations that are open: up to the end of their tick, or until now if it still runs. The reactor's thread. */
void metrics_counts_settle(struct metrics_counts *counts);

/* Add the numbers of a series to sum: codes are joined. Those of a host are requests and bytes alone; durations of all
 * hosts are with HOST_OTHER. Returns whether there is such a series. Any thread. */
bool metrics_counts_sum(const struct metrics_counts *counts, unsigned host, unsigned series, struct series_counts *sum);

#endif
