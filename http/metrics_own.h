#ifndef EVSERVE_HTTP_METRICS_OWN_H
#define EVSERVE_HTTP_METRICS_OWN_H

/* Metrics of the application: counters, gauges and histograms with labels, defined by scripts and hosts.
 *
 * Values are kept in shards, one for each reactor's thread and one for everyone else, each with a lock of its own; so
 * threads that count do not wait for each other. The page shows the sums of the shards. Metrics last as long as the
 * server: one that is defined again, after a reload or on another thread, is the same one. */

#include "http/metrics_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;
struct metrics_own;
struct own_metric;

enum {
    OWN_METRICS_MAX = 256, /* of a server */
    OWN_LABELS_MAX = 8,    /* of a metric */
    OWN_SETS_MAX = 1000,   /* sets of label values of a metric in a shard; all further ones are counted as "other" */
    OWN_BOUNDS_MAX = 32,   /* of a histogram */
    OWN_NAME_MAX = 128,    /* bytes of a name, of a metric or a label */
    OWN_HELP_MAX = 512,    /* bytes of a help text */
    OWN_VALUE_MAX = 128,   /* bytes of a label's value: what is longer is cut */
};

/* What is to be defined. All is copied. */
struct own_definition {
    enum metric_kind kind;
    const char *name, *help;
    const char *labels[OWN_LABELS_MAX];
    size_t label_count;
    bool is_ours;         /* its name begins with evserve_: the server's own */
    const double *bounds; /* of a histogram; NULL: those of request durations */
    size_t bound_count;
};

/* Values of labels, in the order of their definition: not NUL-terminated. */
struct own_value {
    const char *text;
    size_t len;
};

/* Make the metrics of a server with count reactors; free them, when no thread uses them any more (NULL is allowed).
 * log, which may be NULL, is borrowed: a metric that has more than OWN_SETS_MAX sets is named there, once. */
int metrics_own_create(struct metrics_own **own, unsigned count, const struct log *log); /* 0 or -ENOMEM */
void metrics_own_destroy(struct metrics_own *own);

/* Define a metric, or find the one that has been defined in the same way. Returns 0 with *metric, which lives as long
 * as own; or -EINVAL, -EEXIST (it exists in another way), -ENOSPC or -ENOMEM with a text in err. Any thread. */
int metrics_own_define(struct metrics_own *own, const struct own_definition *definition, struct own_metric **metric,
                       char *err, size_t errlen);

/* The n-th metric, in the order of definition; NULL past the last. */
struct own_metric *metrics_own_get(struct metrics_own *own, size_t n);

uint32_t own_metric_number(const struct own_metric *metric); /* for metrics_own_get() */
enum metric_kind own_metric_kind(const struct own_metric *metric);
size_t own_metric_labels(const struct own_metric *metric); /* how many */
const char *own_metric_name(const struct own_metric *metric);

/* Add to a counter or a gauge, or observe a value for a histogram. values are as many as the metric has labels. shard
 * is the number of the calling reactor's thread, or count for every other thread. Returns 0; -EINVAL: value is not a
 * number, or it is negative and the metric a counter; -ENOMEM. Any thread. */
int own_metric_add(struct own_metric *metric, unsigned shard, double value, const struct own_value *values);

/* Set a gauge, in this shard. Returns 0; -EINVAL for others than gauges; -ENOMEM. */
int own_metric_set(struct own_metric *metric, unsigned shard, double value, const struct own_value *values);

#endif
