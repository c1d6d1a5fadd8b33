#ifndef EVSERVE_HTTP_METRICS_OWN_INTERNAL_H
#define EVSERVE_HTTP_METRICS_OWN_INTERNAL_H

/* The inside of a metric of the application's, for metrics_own.c, which changes it, and metrics_own_text.c, which shows
 * it. */

#include "http/metrics_own.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
    SET_SLOTS = 256, /* of the table of a shard's sets */
    KEY_MAX = OWN_LABELS_MAX * (OWN_VALUE_MAX + 1),
};

/* The values of one set of labels in one shard. */
struct own_set {
    struct own_set *next; /* in its slot */
    double value;         /* of a counter or gauge; of a histogram the sum */
    uint64_t *buckets;    /* of a histogram: bound_count + 1; behind the key */
    uint32_t key_len;
    char key[]; /* the label values, each with its NUL */
};

struct own_shard {
    pthread_mutex_t lock;
    size_t count; /* of sets */
    struct own_set *slots[SET_SLOTS];
};

struct own_metric {
    const struct log *log;     /* borrowed */
    atomic_bool has_said_full; /* the log has said that a shard is full */
    enum metric_kind kind;
    uint32_t number; /* of metrics_own_get() */
    size_t label_count, bound_count, shard_count;
    char name[OWN_NAME_MAX + 1];
    char help[OWN_HELP_MAX + 1];
    char labels[OWN_LABELS_MAX][OWN_NAME_MAX + 1];
    double bounds[OWN_BOUNDS_MAX];
    struct own_shard shards[];
};

#endif
