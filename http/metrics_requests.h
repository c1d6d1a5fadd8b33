#ifndef EVSERVE_HTTP_METRICS_REQUESTS_H
#define EVSERVE_HTTP_METRICS_REQUESTS_H

/* The families about requests, by host, route and status. */

struct metrics_board;
struct metrics_text;

/* Write them. */
void metrics_requests_write(struct metrics_text *text, const struct metrics_board *board);

#endif
