/* Failure modes: a size of the host's struct that makes no sense. Numbers of other threads may be a moment old. */

#include "http/host/evs_stats.h"

#include "evserve.h"
#include "http/host/reload.h"
#include "http/metrics_board.h"
#include "http/service.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int evs_stats_fill(struct evs_stats *stats, const struct metrics_board *board, const struct reload *reload)
{
    size_t size = stats->size;
    if (size < offsetof(struct evs_stats, accepted) || size > sizeof *stats) {
        return -EINVAL;
    }
    struct server_stats totals;
    metrics_board_sum(board, &totals);
    struct board_topics topics;
    metrics_board_sum_topics(board, &topics);
    struct evs_stats sum = {
        .size = size,
        .accepted = totals.accepted,
        .active = totals.connections,
        .requests = totals.requests,
        .bytes_received = totals.bytes_received,
        .bytes_sent = totals.bytes_sent,
        .timeouts = totals.timeouts,
        .errors = totals.lost,
        .stalls = totals.stalls,
        .limited = totals.limited,
        .websockets = totals.websockets,
        .websocket_received = totals.ws_received,
        .websocket_sent = totals.ws_sent,
        .subscribers = topics.hub.subscribers,
        .published = topics.hub.published,
        .delivered = topics.delivery.delivered,
        .broker_connected = topics.hub.broker.is_connected,
        .skipped = topics.delivery.skipped + topics.delivery.ended,
    };
    for (size_t i = 0; i < sizeof sum.by_class / sizeof sum.by_class[0]; i++) {
        sum.by_class[i] = totals.by_class[i];
    }
    struct reload_counts reloads;
    reload_get_counts(reload, &reloads);
    sum.reloads = reloads.succeeded;
    sum.reloads_failed = reloads.failed;
    sum.reload_has_failed = reloads.has_failed ? 1 : 0;
    memcpy(stats, &sum, size);
    return 0;
}
