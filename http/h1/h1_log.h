#ifndef EVSERVE_HTTP_H1_LOG_H
#define EVSERVE_HTTP_H1_LOG_H

/* What is due when an exchange of HTTP/1 is over: its place in the metrics, and its lines in the logs. */

#include "http/outcome.h"

struct h1;

/* Its response is complete: sent, or in the queue with those of requests behind it. */
void h1_log_complete(struct h1 *h1);

/* It ends before that. */
void h1_log_cut(struct h1 *h1, enum outcome_end end);

#endif
