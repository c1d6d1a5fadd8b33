#ifndef EVSERVE_HTTP_METRICS_OWN_TEXT_H
#define EVSERVE_HTTP_METRICS_OWN_TEXT_H

/* The metrics of the application as families of a text. */

struct metrics_own;
struct metrics_text;

/* Write all of them: the sums over their shards. Without memory for these the text is short. Any thread. */
void metrics_own_write(struct metrics_text *text, struct metrics_own *own);

#endif
