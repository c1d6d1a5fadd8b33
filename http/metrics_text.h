#ifndef EVSERVE_HTTP_METRICS_TEXT_H
#define EVSERVE_HTTP_METRICS_TEXT_H

/* Numbers as monitoring systems read them: Prometheus' text format 0.0.4, or OpenMetrics 1.0.0. In short:
 *
 *     # HELP evserve_requests_total Responses begun.
 *     # TYPE evserve_requests_total counter
 *     evserve_requests_total{route="/users/:id",code="200"} 17
 *
 * A family is its two comment lines and the samples that follow them. OpenMetrics names the family of a counter without
 * "_total", and ends with "# EOF". No state beside the struct; one thread at a time. */

#include "core/write_buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    METRICS_TEXT_MAX = 16 << 20, /* bytes of one text */
    METRIC_LABELS_MAX = 12,      /* labels of one sample */
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* The media type of a format. */
const char *metrics_text_type(bool is_open);

struct metric_label {
    const char *name;  /* letters, digits and '_' */
    const char *value; /* any text: it is escaped, and what is not UTF-8 is replaced */
};

struct metrics_text {
    struct write_buffer out;
    bool is_open;     /* OpenMetrics */
    bool is_short;    /* the text is of no use: memory was short, or METRICS_TEXT_MAX is full */
    bool is_full;     /* it is short for the latter reason */
    const char *name; /* of the family: borrowed */
    enum metric_kind kind;
};

/* Start an empty text. */
void metrics_text_init(struct metrics_text *text, bool is_open);

/* Free it. */
void metrics_text_done(struct metrics_text *text);

/* Begin a family. name is that of its samples, so that of a counter ends with "_total"; it is borrowed until the next
 * family. help is one or more sentences; what is not UTF-8 in it is replaced. */
void metrics_text_family(struct metrics_text *text, enum metric_kind kind, const char *name, const char *help);

/* Add a sample of the family. labels are count of them, up to METRIC_LABELS_MAX; a label whose value is NULL or empty
 * is left out, since that means the same. */
void metrics_text_count(struct metrics_text *text, const struct metric_label *labels, size_t count, uint64_t value);
void metrics_text_number(struct metrics_text *text, const struct metric_label *labels, size_t count, double value);

/* Add the samples of a histogram. bounds are bucket_count upper bounds, ascending; counts are bucket_count + 1 numbers
 * of values, each in its bucket alone, the last ones above all bounds. count is at most METRIC_LABELS_MAX - 1. */
void metrics_text_histogram(struct metrics_text *text, const struct metric_label *labels, size_t count,
                            const double *bounds, const uint64_t *counts, size_t bucket_count, double sum);

/* End the text. Returns whether it is whole. */
bool metrics_text_end(struct metrics_text *text);

#endif
