#ifndef EVSERVE_HTTP_CONN_LINES_H
#define EVSERVE_HTTP_CONN_LINES_H

/* Lines of the log that clients can cause as often as they like: the first few in a span of time are written, and one
 * line counts the others when the span is over. One thread. */

#include <stdbool.h>
#include <stdint.h>

struct service;

enum {
    CONN_LINES_SPAN_MS = 10000, /* in which */
    CONN_LINES_MAX = 5,         /* so many lines are written */
};

struct conn_lines {
    struct service *service; /* whose log and clock; borrowed */
    const char *what;        /* what the others did: "more TLS handshakes have failed"; static text */
    uint64_t timer;          /* runs when others are to be counted; else 0 */
    int64_t until_ms;        /* when the span is over */
    unsigned count;          /* of the span */
};

/* Something happened. Returns whether its line may be written. Without memory for a timer, the others are counted
 * when the next thing happens. */
bool conn_lines_take(struct conn_lines *lines);

/* Count what has not been counted yet. Due before the reactor goes; zeroed, it does nothing. */
void conn_lines_done(struct conn_lines *lines);

#endif
