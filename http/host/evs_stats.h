#ifndef EVSERVE_HTTP_HOST_EVS_STATS_H
#define EVSERVE_HTTP_HOST_EVS_STATS_H

/* The totals of a server: evserve_stats(). */

struct evs_stats;
struct metrics_board;
struct reload;

/* Fill in as much of stats as stats->size says. Any thread. Returns 0, or -EINVAL for a size that no release has. */
int evs_stats_fill(struct evs_stats *stats, const struct metrics_board *board, const struct reload *reload);

#endif
