#ifndef EVSERVE_HTTP_METRICS_H
#define EVSERVE_HTTP_METRICS_H

/* What a server counts, as a monitoring system reads it: a route in C whose response has the sums over all reactors. */

struct exchange;

/* Respond with all numbers of the board, in OpenMetrics' format if the client accepts it, else in Prometheus' own. A
 * handler: ctx is not used. */
void metrics_serve(struct exchange *exchange, void *ctx);

#endif
