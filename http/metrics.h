#ifndef EVSERVE_HTTP_METRICS_H
#define EVSERVE_HTTP_METRICS_H

/* What a server counts, as a monitoring system reads it: a route in C whose response has the sums over all reactors.
 *
 * The board is what the reactors of a server share. Each reactor writes its own numbers, without locks, and any of them
 * reads those of all (http/service.h: stat_add()). */

#include <stddef.h>

struct exchange;
struct metrics_board;
struct service;

/* Make the board of a server with count reactors. Returns 0 or -ENOMEM. */
int metrics_board_create(struct metrics_board **board, unsigned count);

/* Free it. No reactor runs any more. NULL is allowed. */
void metrics_board_destroy(struct metrics_board *board);

/* The service of the n-th reactor, which is borrowed, counts from now on. Before any reactor runs. */
void metrics_board_join(struct metrics_board *board, unsigned n, struct service *service);

/* Respond with all numbers, in OpenMetrics' format if the client accepts it, else in Prometheus' own. A handler: ctx is
 * not used. */
void metrics_serve(struct exchange *exchange, void *ctx);

#endif
