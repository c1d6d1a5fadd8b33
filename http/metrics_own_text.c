/* Happy path: the sets of all shards of a metric are copied under their locks, sorted by their label values, and the
 * sums of equal ones written.
 *
 * Failure mode: without memory for the copies the text is marked as short. */

#include "http/metrics_own_text.h"

#include "core/mem.h"
#include "http/metrics_own_internal.h"
#include "http/metrics_text.h"

#include <stdlib.h>
#include <string.h>

/* A copy of a set. The key stays where it is: sets live as long as the metric. */
struct set_copy {
    const char *key;
    uint32_t key_len;
    double value;
    uint64_t buckets[OWN_BOUNDS_MAX + 1];
};

struct copies {
    struct set_copy *list;
    size_t count, capacity;
};

static int compare_copies(const void *one, const void *other)
{
    const struct set_copy *a = one, *b = other;
    size_t len = a->key_len < b->key_len ? a->key_len : b->key_len;
    int order = memcmp(a->key, b->key, len);
    return order != 0 ? order : a->key_len < b->key_len ? -1 : a->key_len > b->key_len;
}

static void copy_set(const struct own_metric *metric, const struct own_set *set, struct set_copy *copy)
{
    *copy = (struct set_copy){.key = set->key, .key_len = set->key_len, .value = set->value};
    if (metric->kind == METRIC_HISTOGRAM) {
        memcpy(copy->buckets, set->buckets, (metric->bound_count + 1) * sizeof copy->buckets[0]);
    }
}

/* Copy what a shard has. Returns whether there was memory. */
static bool copy_shard(const struct own_metric *metric, struct own_shard *shard, struct copies *copies)
{
    pthread_mutex_lock(&shard->lock);
    size_t needed = copies->count + shard->count;
    struct set_copy *list = needed <= copies->capacity ? copies->list : mem_resize(copies->list, needed * sizeof *list);
    bool has_memory = list != NULL || needed == 0;
    if (list != NULL) {
        copies->list = list;
        copies->capacity = needed > copies->capacity ? needed : copies->capacity;
        for (size_t i = 0; i < SET_SLOTS; i++) {
            for (const struct own_set *set = shard->slots[i]; set != NULL; set = set->next) {
                copy_set(metric, set, &list[copies->count++]);
            }
        }
    }
    pthread_mutex_unlock(&shard->lock);
    return has_memory;
}

static void add_copy(struct set_copy *sum, const struct set_copy *copy)
{
    sum->value += copy->value;
    for (size_t i = 0; i <= OWN_BOUNDS_MAX; i++) {
        sum->buckets[i] += copy->buckets[i];
    }
}

static void write_set(struct metrics_text *text, const struct own_metric *metric, const struct set_copy *set)
{
    struct metric_label labels[OWN_LABELS_MAX];
    const char *value = set->key;
    for (size_t i = 0; i < metric->label_count; i++) {
        labels[i] = (struct metric_label){metric->labels[i], value};
        value += strlen(value) + 1;
    }
    if (metric->kind == METRIC_HISTOGRAM) {
        metrics_text_histogram(text, labels, metric->label_count, metric->bounds, set->buckets, metric->bound_count,
                               set->value);
    } else {
        metrics_text_number(text, labels, metric->label_count, set->value);
    }
}

static void write_metric(struct metrics_text *text, struct own_metric *metric)
{
    struct copies copies = {0};
    for (size_t i = 0; i < metric->shard_count && !text->is_short; i++) {
        text->is_short = !copy_shard(metric, &metric->shards[i], &copies);
    }
    if (copies.count > 0) {
        qsort(copies.list, copies.count, sizeof *copies.list, compare_copies);
    }
    metrics_text_family(text, metric->kind, metric->name, metric->help);
    if (copies.count == 0 && metric->label_count == 0) { /* so that a graph begins with 0 */
        static const struct set_copy zero = {.key = ""};
        write_set(text, metric, &zero);
    }
    for (size_t i = 0; i < copies.count;) {
        struct set_copy *sum = &copies.list[i++];
        for (; i < copies.count && compare_copies(sum, &copies.list[i]) == 0; i++) {
            add_copy(sum, &copies.list[i]);
        }
        write_set(text, metric, sum);
    }
    mem_free(copies.list);
}

void metrics_own_write(struct metrics_text *text, struct metrics_own *own)
{
    struct own_metric *metric;
    for (size_t i = 0; (metric = metrics_own_get(own, i)) != NULL; i++) {
        write_metric(text, metric);
    }
}
