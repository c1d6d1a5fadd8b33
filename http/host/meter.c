/* Failure mode: without memory nothing is counted; a reload tries again. */

#include "http/host/meter.h"

#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/file_cache.h"
#include "http/host/offer.h"
#include "http/metrics_board.h"
#include "http/metrics_counts.h"
#include "http/metrics_hosts.h"
#include "http/server.h"
#include "http/service.h"
#include "http/site.h"

#include <errno.h>
#include <stddef.h>

static void set_sample(uint64_t *number, uint64_t value)
{
    __atomic_store_n(number, value, __ATOMIC_RELAXED);
}

static void look_at_memory(struct meter *meter)
{
    uint64_t memory = 0, limit = 0;
    offer_get_memory(*meter->offer, &memory, &limit);
    set_sample(&meter->sample->lua_memory, memory);
    set_sample(&meter->sample->lua_limit, limit);
}

/* What a file cache that a reload took away did in its last second is lost. */
static void look_at_files(struct meter *meter)
{
    const struct file_cache *cache = (*meter->offer)->site->cache;
    struct file_cache_looks looks = file_cache_looks(cache);
    struct metrics_sample *sample = meter->sample;
    if (cache != meter->cache || looks.hits < meter->looks.hits || looks.misses < meter->looks.misses) {
        meter->cache = cache;
        meter->looks = (struct file_cache_looks){0};
    }
    set_sample(&sample->cache_hits, sample->cache_hits + looks.hits - meter->looks.hits);
    set_sample(&sample->cache_misses, sample->cache_misses + looks.misses - meter->looks.misses);
    meter->looks = looks;
    set_sample(&sample->cached_files, file_cache_count(cache));
    set_sample(&sample->cached_bytes, file_cache_memory(cache));
}

static void look_at_connections(struct meter *meter)
{
    uint64_t counts[CONN_PHASES];
    server_count_phases(meter->server, counts);
    for (size_t i = 0; i < CONN_PHASES; i++) {
        set_sample(&meter->sample->connections[i], counts[i]);
    }
}

static void look_now(void *arg)
{
    struct meter *meter = arg;
    look_at_memory(meter);
    look_at_files(meter);
    look_at_connections(meter);
    set_sample(&meter->sample->cpu_ns, (uint64_t)sys_thread_cpu_ns());
}

static void on_meter_look(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    look_now(arg);
}

static int start_meter(struct meter *meter, struct server *server, unsigned n)
{
    struct metrics_board *board = server_service(server)->board;
    meter->server = server;
    meter->sample = metrics_board_sample(board, n);
    int rv = metrics_counts_create(&meter->counts, server_reactor(server));
    if (rv == 0 && reactor_set_interval(server_reactor(server), METER_LOOK_MS, on_meter_look, meter) == 0) {
        metrics_counts_destroy(meter->counts);
        meter->counts = NULL;
        rv = -ENOMEM;
    }
    if (rv == 0) {
        metrics_board_set_look(board, n, look_now, meter);
    }
    return rv;
}

int meter_take(struct meter *meter, struct server *server, unsigned n, struct offer **offer)
{
    struct service *service = server_service(server);
    struct site *site = (*offer)->site;
    if (!site->has_metrics) {
        return 0; /* a meter that is there goes on: requests in flight are counted with it */
    }
    int rv = meter->counts == NULL ? start_meter(meter, server, n) : 0;
    if (rv == 0) {
        meter->offer = offer;
        look_at_memory(meter);
        const struct vhost *vhost;
        for (size_t i = 0; (vhost = site_host(site, i)) != NULL; i++) {
            metrics_board_number_routes(service->board, vhost->router);
        }
        const char *lost = metrics_board_number_hosts(service->board, site->metrics_hosts);
        if (lost != NULL && n == 0) {
            log_write(
                service->log, LOG_WARN,
                "metrics: a server tells at most %d hosts apart in its whole life, those of former scripts included: "
                "%s and others are counted without a host until it is restarted",
                (int)METRICS_HOSTS_MAX, lost);
        }
        service_set_counts(service, meter->counts);
    }
    return rv;
}

void meter_done(struct meter *meter)
{
    metrics_counts_destroy(meter->counts);
    meter->counts = NULL;
}
