/* Happy path: a definition is checked and becomes a metric; own_metric_add() finds the set of label values in the shard
 * of its thread, or makes it, and adds.
 *
 * Failure modes: what is wrong with a definition is a text in err. Without memory for a set the value is lost,
 * and the caller learns so. */

#include "http/metrics_own.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/utf8.h"
#include "http/metrics_counts.h"
#include "http/metrics_own_internal.h"
#include "http/words.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct metrics_own {
    const struct log *log; /* borrowed */
    unsigned shard_count;
    pthread_mutex_t lock;                        /* of defining */
    size_t count;                                /* of metrics; atomic */
    struct own_metric *metrics[OWN_METRICS_MAX]; /* in the order of definition */
};

int metrics_own_create(struct metrics_own **own, unsigned count, const struct log *log)
{
    struct metrics_own *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->log = log;
    made->shard_count = count + 1;
    pthread_mutex_init(&made->lock, NULL);
    *own = made;
    return 0;
}

static void free_shard(struct own_shard *shard)
{
    for (size_t i = 0; i < SET_SLOTS; i++) {
        while (shard->slots[i] != NULL) {
            struct own_set *set = shard->slots[i];
            shard->slots[i] = set->next;
            mem_free(set);
        }
    }
    pthread_mutex_destroy(&shard->lock);
}

void metrics_own_destroy(struct metrics_own *own)
{
    for (size_t i = 0; own != NULL && i < own->count; i++) {
        struct own_metric *metric = own->metrics[i];
        for (size_t n = 0; n < metric->shard_count; n++) {
            free_shard(&metric->shards[n]);
        }
        mem_free(metric);
    }
    if (own != NULL) {
        pthread_mutex_destroy(&own->lock);
    }
    mem_free(own);
}

/* Defining. */

/* Letters, digits and '_', no digit first. */
static bool is_metric_name(const char *name)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";
    size_t len = strlen(name);
    return len > 0 && len <= OWN_NAME_MAX && strspn(name, letters) == len && strchr("0123456789", name[0]) == NULL;
}

static bool ends_in(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

static int check_metric_name(const struct own_definition *definition, char *err, size_t errlen)
{
    static const char *const taken[] = {"_total", "_count", "_sum", "_bucket", "_info", "_created"};
    const char *name = definition->name;
    if (!is_metric_name(name)) {
        return error_text(err, errlen, -EINVAL,
                          "the name \"%.200s\" must be up to %d letters, digits and '_', and not begin with a digit",
                          name, (int)OWN_NAME_MAX);
    }
    if (strncmp(name, "evserve_", 8) == 0 && !definition->is_ours) {
        return error_text(err, errlen, -EINVAL, "%s: names that begin with evserve_ are the server's own", name);
    }
    if (definition->kind == METRIC_COUNTER) {
        return ends_in(name, "_total") && name[0] != '_'
                   ? 0
                   : error_text(err, errlen, -EINVAL, "%s: the name of a counter ends in _total, as in %.100s_total",
                                name, name);
    }
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (ends_in(name, taken[i])) {
            return error_text(err, errlen, -EINVAL, "%s: only a counter, or a part of a histogram, ends in %s", name,
                              taken[i]);
        }
    }
    return 0;
}

static int check_labels(const struct own_definition *definition, char *err, size_t errlen)
{
    for (size_t i = 0; i < definition->label_count; i++) {
        const char *label = definition->labels[i];
        if (!is_metric_name(label) || strncmp(label, "__", 2) == 0 || strcmp(label, "le") == 0) {
            return error_text(
                err, errlen, -EINVAL,
                "%s: the label \"%.200s\" must be up to %d letters, digits and '_', not begin with a digit "
                "or \"__\", and not be \"le\"",
                definition->name, label, (int)OWN_NAME_MAX);
        }
        for (size_t n = 0; n < i; n++) {
            if (strcmp(label, definition->labels[n]) == 0) {
                return error_text(err, errlen, -EINVAL, "%s: the label %s is there twice", definition->name, label);
            }
        }
    }
    return 0;
}

static int check_bounds(const struct own_definition *definition, char *err, size_t errlen)
{
    if (definition->bounds != NULL && (definition->bound_count == 0 || definition->bound_count > OWN_BOUNDS_MAX)) {
        return error_text(err, errlen, -EINVAL, "%s: 1 to %d bounds of buckets expected, got %zu", definition->name,
                          (int)OWN_BOUNDS_MAX, definition->bound_count);
    }
    for (size_t i = 0; definition->bounds != NULL && i < definition->bound_count; i++) {
        double bound = definition->bounds[i];
        if (!isfinite(bound) || (i > 0 && bound <= definition->bounds[i - 1])) {
            return error_text(err, errlen, -EINVAL, "%s: bounds of buckets must be finite numbers that ascend",
                              definition->name);
        }
    }
    return 0;
}

static int check_definition(const struct own_definition *definition, char *err, size_t errlen)
{
    int rv = check_metric_name(definition, err, errlen);
    rv = rv < 0 ? rv : check_labels(definition, err, errlen);
    rv = rv < 0 ? rv : check_bounds(definition, err, errlen);
    size_t len = strlen(definition->help);
    return rv < 0 || (len > 0 && len <= OWN_HELP_MAX)
               ? rv
               : error_text(err, errlen, -EINVAL, "%s: a help text of 1 to %d bytes expected, got %zu",
                            definition->name, (int)OWN_HELP_MAX, len);
}

/* Bytes of the name that OpenMetrics gives to its family: that of a counter goes without "_total". */
static size_t family_len(const char *name)
{
    return strlen(name) - (ends_in(name, "_total") ? strlen("_total") : 0);
}

static bool is_same(const struct own_metric *metric, const struct own_definition *definition, const double *bounds,
                    size_t bound_count)
{
    bool same = metric->kind == definition->kind && metric->label_count == definition->label_count &&
                metric->bound_count == bound_count;
    for (size_t i = 0; same && i < bound_count; i++) {
        same = !(metric->bounds[i] < bounds[i]) && !(metric->bounds[i] > bounds[i]);
    }
    for (size_t i = 0; same && i < definition->label_count; i++) {
        same = strcmp(metric->labels[i], definition->labels[i]) == 0;
    }
    return same;
}

static struct own_metric *make_metric(const struct own_definition *definition, const double *bounds, size_t bound_count,
                                      unsigned shard_count)
{
    struct own_metric *made = mem_zalloc(sizeof *made + shard_count * sizeof made->shards[0]);
    if (made == NULL) {
        return NULL;
    }
    made->kind = definition->kind;
    made->label_count = definition->label_count;
    made->bound_count = bound_count;
    made->shard_count = shard_count;
    strcpy(made->name, definition->name); /* lengths are checked */
    strcpy(made->help, definition->help);
    for (size_t i = 0; i < definition->label_count; i++) {
        strcpy(made->labels[i], definition->labels[i]);
    }
    memcpy(made->bounds, bounds, bound_count * sizeof *bounds);
    for (unsigned i = 0; i < shard_count; i++) {
        pthread_mutex_init(&made->shards[i].lock, NULL);
    }
    return made;
}

/* Say what the metric is that has the name already. */
static int refuse_other(const struct own_metric *metric, char *err, size_t errlen)
{
    static const char *const kinds[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    char labels[256] = "no labels";
    size_t len = 0;
    for (size_t i = 0; i < metric->label_count && len < sizeof labels; i++) {
        len += (size_t)snprintf(labels + len, sizeof labels - len, "%s%s", i == 0 ? "labels " : ", ",
                                metric->labels[i]);
    }
    return error_text(
        err, errlen, -EEXIST,
        "%s: there is a %s of this name already, with %s%s; it lasts until the server stops, so use another "
        "name, or restart the server",
        metric->name, kinds[metric->kind], labels, metric->kind == METRIC_HISTOGRAM ? " and buckets of its own" : "");
}

static int find_or_make(struct metrics_own *own, const struct own_definition *definition, struct own_metric **metric,
                        char *err, size_t errlen)
{
    bool has_bounds = definition->bounds != NULL;
    const double *bounds = has_bounds ? definition->bounds : count_bounds_s;
    size_t bound_count = definition->kind != METRIC_HISTOGRAM ? 0 : has_bounds ? definition->bound_count : COUNT_BOUNDS;
    for (size_t i = 0; i < own->count; i++) {
        if (strcmp(own->metrics[i]->name, definition->name) == 0) {
            if (!is_same(own->metrics[i], definition, bounds, bound_count)) {
                return refuse_other(own->metrics[i], err, errlen);
            }
            *metric = own->metrics[i];
            return 0;
        }
        size_t len = family_len(definition->name);
        if (len == family_len(own->metrics[i]->name) && memcmp(own->metrics[i]->name, definition->name, len) == 0) {
            return error_text(
                err, errlen, -EEXIST,
                "%s: the metric %s exists, and OpenMetrics does not tell names apart that differ in _total "
                "alone",
                definition->name, own->metrics[i]->name);
        }
    }
    if (own->count == OWN_METRICS_MAX) {
        return error_text(err, errlen, -ENOSPC, "%s: a server has at most %d metrics of its own", definition->name,
                          (int)OWN_METRICS_MAX);
    }
    struct own_metric *made = make_metric(definition, bounds, bound_count, own->shard_count);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "%s: %s", definition->name, errno_text(ENOMEM));
    }
    made->log = own->log;
    made->number = (uint32_t)own->count;
    own->metrics[own->count] = *metric = made;
    __atomic_store_n(&own->count, own->count + 1, __ATOMIC_RELEASE);
    return 0;
}

int metrics_own_define(struct metrics_own *own, const struct own_definition *definition, struct own_metric **metric,
                       char *err, size_t errlen)
{
    int rv = check_definition(definition, err, errlen);
    if (rv == 0) {
        pthread_mutex_lock(&own->lock);
        rv = find_or_make(own, definition, metric, err, errlen);
        pthread_mutex_unlock(&own->lock);
    }
    return rv;
}

struct own_metric *metrics_own_get(struct metrics_own *own, size_t n)
{
    return n < __atomic_load_n(&own->count, __ATOMIC_ACQUIRE) ? own->metrics[n] : NULL;
}

uint32_t own_metric_number(const struct own_metric *metric)
{
    return metric->number;
}

enum metric_kind own_metric_kind(const struct own_metric *metric)
{
    return metric->kind;
}

const char *own_metric_name(const struct own_metric *metric)
{
    return metric->name;
}

size_t own_metric_labels(const struct own_metric *metric)
{
    return metric->label_count;
}

/* Values. */

/* Copy a label's value, as far as there is room, up to a NUL. What is not UTF-8 becomes U+FFFD here, as it would on the
 * page: two sets that look the same there would be one too many. Returns the end of the copy. */
static char *put_label_value(char *at, const struct own_value *value)
{
    const char *end = at + OWN_VALUE_MAX;
    for (size_t i = 0, taken; i < value->len && value->text[i] != '\0'; i += taken) {
        size_t whole = utf8_len((const unsigned char *)value->text + i, value->len - i);
        const char *from = whole == 0 ? "\xef\xbf\xbd" : value->text + i;
        size_t len = whole == 0 ? 3 : whole;
        taken = whole == 0 ? 1 : whole;
        if ((size_t)(end - at) < len) {
            break;
        }
        memcpy(at, from, len);
        at += len;
    }
    return at;
}

/* The key of a set of label values. Returns its length. */
static size_t write_key(char key[KEY_MAX], const struct own_value *values, size_t count)
{
    char *at = key;
    for (size_t i = 0; i < count; i++) {
        at = put_label_value(at, &values[i]);
        *at++ = '\0';
    }
    return (size_t)(at - key);
}

static size_t write_other_key(char key[KEY_MAX], size_t count)
{
    static const struct own_value other = {"other", 5};
    struct own_value values[OWN_LABELS_MAX];
    for (size_t i = 0; i < count; i++) {
        values[i] = other;
    }
    return write_key(key, values, count);
}

static struct own_set **find_set(struct own_shard *shard, const char *key, size_t len)
{
    struct own_set **place = &shard->slots[words_hash(0, key, len) % SET_SLOTS];
    while (*place != NULL && ((*place)->key_len != len || memcmp((*place)->key, key, len) != 0)) {
        place = &(*place)->next;
    }
    return place;
}

static struct own_set *make_set(const struct own_metric *metric, const char *key, size_t len)
{
    size_t counts = metric->kind == METRIC_HISTOGRAM ? metric->bound_count + 1 : 0;
    size_t buckets_at = (sizeof(struct own_set) + len + sizeof(uint64_t) - 1) / sizeof(uint64_t) * sizeof(uint64_t);
    struct own_set *made = mem_zalloc(buckets_at + counts * sizeof(uint64_t));
    if (made != NULL) {
        made->buckets = counts == 0 ? NULL : (uint64_t *)(void *)((char *)made + buckets_at);
        made->key_len = (uint32_t)len;
        memcpy(made->key, key, len);
    }
    return made;
}

/* The set of these values; or that of all others, if the shard is full: *is_full. NULL without memory. The shard is
 * locked. */
static struct own_set *take_set(const struct own_metric *metric, struct own_shard *shard,
                                const struct own_value *values, bool *is_full)
{
    char key[KEY_MAX];
    size_t len = write_key(key, values, metric->label_count);
    struct own_set **place = find_set(shard, key, len);
    *is_full = *place == NULL && shard->count >= OWN_SETS_MAX;
    if (*is_full) {
        len = write_other_key(key, metric->label_count);
        place = find_set(shard, key, len);
    }
    if (*place == NULL) {
        *place = make_set(metric, key, len);
        shard->count += *place != NULL;
    }
    return *place;
}

/* Say once that further sets go together. No lock is held: the sink may be the host's. */
static void say_sets_full(struct own_metric *metric)
{
    if (!atomic_exchange(&metric->has_said_full, true)) {
        log_write(metric->log, LOG_WARN,
                  "metric %s: there are more than %d sets of label values; a thread counts further ones together, as "
                  "\"other\": use labels that have few values",
                  metric->name, (int)OWN_SETS_MAX);
    }
}

/* Add to a set, or set it, under the lock of its shard. */
static int change(struct own_metric *metric, unsigned shard_number, double value, const struct own_value *values,
                  bool is_set)
{
    struct own_shard *shard =
        &metric->shards[shard_number < metric->shard_count ? shard_number : metric->shard_count - 1];
    pthread_mutex_lock(&shard->lock);
    bool is_full;
    struct own_set *set = take_set(metric, shard, values, &is_full);
    if (set != NULL) {
        set->value = is_set ? value : set->value + value;
    }
    if (set != NULL && metric->kind == METRIC_HISTOGRAM) {
        size_t bucket = 0;
        while (bucket < metric->bound_count && value > metric->bounds[bucket]) {
            bucket++;
        }
        set->buckets[bucket]++;
    }
    pthread_mutex_unlock(&shard->lock);
    if (is_full) {
        say_sets_full(metric);
    }
    return set == NULL ? -ENOMEM : 0;
}

int own_metric_add(struct own_metric *metric, unsigned shard, double value, const struct own_value *values)
{
    return isnan(value) || (metric->kind == METRIC_COUNTER && value < 0) ? -EINVAL
                                                                         : change(metric, shard, value, values, false);
}

int own_metric_set(struct own_metric *metric, unsigned shard, double value, const struct own_value *values)
{
    return metric->kind == METRIC_GAUGE ? change(metric, shard, value, values, true) : -EINVAL;
}
