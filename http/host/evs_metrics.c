/* The numbers of the server, for monitoring systems: a route of a host, and metrics of its own.
 *
 * Failure modes: definitions that are wrong are a text in err; calls that do not fit the metric return -EINVAL. */

#include "core/log.h"
#include "http/host/evs_host.h"
#include "http/host/evs_internal.h"
#include "http/metrics.h"
#include "http/metrics_own.h"

#include <errno.h>
#include <string.h>

void evs_metrics(evs_request *request, void *arg)
{
    metrics_serve(exchange_of(request), arg);
}

/* Of the handle: NULL in a forked child, where a lock may be held for ever. */
static struct metrics_own *own_of(const evserve *server, unsigned *shard)
{
    const struct evs_door *door = (const struct evs_door *)(const void *)server;
    *shard = door->thread_count; /* all threads share a place: those of the server have one more for scripts */
    return evs_host_is_in_child(&door->hosts[0]) ? NULL : door->metrics;
}

static int read_own_metric(const struct evs_metric *metric, struct own_definition *definition, char *err, size_t errlen)
{
    if (metric->size != sizeof *metric) {
        return error_text(err, errlen, -EINVAL, "evs_metric.size is %zu, and not sizeof(struct evs_metric), %zu",
                          metric->size, sizeof *metric);
    }
    if (metric->kind < EVSERVE_COUNTER || metric->kind > EVSERVE_HISTOGRAM || metric->name == NULL ||
        metric->help == NULL) {
        return error_text(err, errlen, -EINVAL, "evs_metric.%s",
                          metric->name == NULL   ? "name is NULL"
                          : metric->help == NULL ? "help is NULL"
                                                 : "kind is none of EVSERVE_COUNTER, EVSERVE_GAUGE, "
                                                   "EVSERVE_HISTOGRAM");
    }
    *definition = (struct own_definition){.kind = (enum metric_kind)(metric->kind - EVSERVE_COUNTER),
                                          .name = metric->name,
                                          .help = metric->help,
                                          .bounds = metric->buckets,
                                          .bound_count = metric->bucket_count};
    size_t count = 0;
    while (metric->labels != NULL && metric->labels[count] != NULL && count <= OWN_LABELS_MAX) {
        if (count < OWN_LABELS_MAX) {
            definition->labels[count] = metric->labels[count];
        }
        count++;
    }
    definition->label_count = count;
    return count <= OWN_LABELS_MAX ? 0
                                   : error_text(err, errlen, -EINVAL, "evs_metric.labels: %s has more than %d",
                                                metric->name, (int)OWN_LABELS_MAX);
}

int evserve_metric(evserve *server, const struct evs_metric *metric, char *err, size_t errlen)
{
    unsigned shard;
    struct own_definition definition = {0};
    struct own_metric *made = NULL;
    struct metrics_own *own = own_of(server, &shard);
    if (own == NULL) {
        return error_text(err, errlen, -ECHILD, "cannot define a metric: the server belongs to another process");
    }
    int rv = read_own_metric(metric, &definition, err, errlen);
    rv = rv < 0 ? rv : metrics_own_define(own, &definition, &made, err, errlen);
    return rv < 0 ? rv : (int)own_metric_number(made);
}

/* Counting. */

enum own_call { OWN_ADD, OWN_SET, OWN_OBSERVE };

static int count_own(const evserve *server, int number, enum own_call call, double value, const char *const *values)
{
    unsigned shard;
    struct own_value texts[OWN_LABELS_MAX];
    struct metrics_own *own = own_of(server, &shard);
    struct own_metric *metric = own == NULL || number < 0 ? NULL : metrics_own_get(own, (size_t)number);
    size_t count = metric == NULL ? 0 : own_metric_labels(metric);
    if (metric == NULL || (call == OWN_OBSERVE) != (own_metric_kind(metric) == METRIC_HISTOGRAM) ||
        (count > 0 && values == NULL)) {
        return own == NULL ? -ECHILD : -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (values[i] == NULL) {
            return -EINVAL;
        }
        /* The last character may go beyond the limit, and is then left out. */
        texts[i] = (struct own_value){values[i], strnlen(values[i], OWN_VALUE_MAX + 3)};
    }
    return call == OWN_SET ? own_metric_set(metric, shard, value, texts) : own_metric_add(metric, shard, value, texts);
}

int evserve_metric_add(evserve *server, int metric, double value, const char *const *values)
{
    return count_own(server, metric, OWN_ADD, value, values);
}

int evserve_metric_set(evserve *server, int metric, double value, const char *const *values)
{
    return count_own(server, metric, OWN_SET, value, values);
}

int evserve_metric_observe(evserve *server, int metric, double value, const char *const *values)
{
    return count_own(server, metric, OWN_OBSERVE, value, values);
}
