/* Happy path: the metrics are defined with the first response, and found again in the proxy.
 * Failure mode: a server with as many metrics as there may be counts nothing here. */

#include "http/proxy/proxy_metrics.h"

#include "http/exchange.h"
#include "http/metrics_board.h"
#include "http/metrics_own.h"
#include "http/proxy/proxy_state.h"
#include "http/service.h"
#include "http/site.h"

#include <string.h>

static void define_metrics(struct proxy *proxy, struct metrics_own *own)
{
    const struct own_definition seconds = {
        .kind = METRIC_HISTOGRAM,
        .name = "evserve_upstream_seconds",
        .help = "Time until the response of a server behind a proxy began or was complete.",
        .labels = {"upstream"},
        .label_count = 1,
        .is_ours = true,
    };
    const struct own_definition failures = {
        .kind = METRIC_COUNTER,
        .name = "evserve_upstream_failures_total",
        .help = "Failures of servers behind a proxy: no connection, no valid response, too late, cut.",
        .labels = {"upstream"},
        .label_count = 1,
        .is_ours = true,
    };
    if (own == NULL || metrics_own_define(own, &seconds, &proxy->seconds, NULL, 0) < 0 ||
        metrics_own_define(own, &failures, &proxy->failures, NULL, 0) < 0) {
        proxy->seconds = proxy->failures = NULL;
        proxy->lacks_metrics = true;
    }
}

void proxy_metrics_note(struct proxy *proxy, const struct exchange *exchange, const struct upstream *upstream,
                        int64_t took_ms, bool has_failed)
{
    const struct service *service = exchange->service;
    if (!exchange->site->has_metrics || proxy->lacks_metrics) {
        return;
    }
    if (proxy->seconds == NULL) {
        define_metrics(proxy, service->board == NULL ? NULL : metrics_board_own(service->board));
        if (proxy->seconds == NULL) {
            return;
        }
    }
    const struct own_value value = {.text = upstream->address, .len = strlen(upstream->address)};
    struct own_metric *metric = has_failed ? proxy->failures : proxy->seconds;
    (void)own_metric_add(metric, service->owner_index, has_failed ? 1 : (double)took_ms / 1000, &value);
}
