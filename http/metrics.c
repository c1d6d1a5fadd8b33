/* Happy path: metrics_serve() sums up what all services of the board count, writes it family by family, and responds.
 *
 * Failure modes: without memory for the text the response is 503. */

#include "http/metrics.h"

#include "core/job_pools.h"
#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/tick_clock.h"
#include "http/exchange.h"
#include "http/metrics_accept.h"
#include "http/metrics_board.h"
#include "http/metrics_counts.h"
#include "http/metrics_own_text.h"
#include "http/metrics_requests.h"
#include "http/metrics_text.h"
#include "http/response.h"
#include "http/service.h"
#include "version.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* A family with a single sample. */
static void write_one(struct metrics_text *text, enum metric_kind kind, const char *name, const char *help,
                      uint64_t value)
{
    metrics_text_family(text, kind, name, help);
    metrics_text_count(text, NULL, 0, value);
}

static void write_build(struct metrics_text *text, const struct metrics_board *board)
{
    const struct metric_label version = {"version", EVSERVE_VERSION};
    metrics_text_family(text, METRIC_GAUGE, "evserve_build_info", "The version of evserve; the value is always 1.");
    metrics_text_count(text, &version, 1, 1);
    write_one(text, METRIC_GAUGE, "evserve_start_time_seconds", "When the server started, in seconds since the epoch.",
              (uint64_t)metrics_board_started_s(board));
    write_one(text, METRIC_GAUGE, "evserve_reactors", "Threads that serve.", metrics_board_reactors(board));
}

static void write_totals(struct metrics_text *text, const struct server_stats *sum)
{
    static const char *const classes[] = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
    static const char *const kinds[] = {
        [TIMEOUT_IDLE] = "idle",       [TIMEOUT_HEAD] = "header", [TIMEOUT_BODY] = "body",
        [TIMEOUT_HANDLER] = "handler", [TIMEOUT_WRITE] = "write", [TIMEOUT_LINGER] = "linger"};
    _Static_assert(sizeof kinds / sizeof kinds[0] == TIMEOUT_KINDS, "each kind has a name");
    write_one(text, METRIC_COUNTER, "evserve_connections_accepted_total", "Connections accepted.", sum->accepted);
    write_one(text, METRIC_GAUGE, "evserve_connections_open", "Connections open now.", sum->connections);
    write_one(text, METRIC_COUNTER, "evserve_connections_lost_total",
              "Connections that ended in an error: reset or cut.", sum->lost);
    metrics_text_family(text, METRIC_COUNTER, "evserve_timeouts_total",
                        "Deadlines that have passed, by what was waited for.");
    for (size_t i = 0; i < TIMEOUT_KINDS; i++) {
        const struct metric_label label = {"kind", kinds[i]};
        metrics_text_count(text, &label, 1, sum->timeouts_by[i]);
    }
    write_one(text, METRIC_COUNTER, "evserve_limited_requests_total", "Requests refused by app.limit.", sum->limited);
    metrics_text_family(text, METRIC_COUNTER, "evserve_responses_total", "Responses begun, by class of status.");
    for (size_t i = 1; i < sizeof classes / sizeof classes[0]; i++) {
        const struct metric_label label = {"class", classes[i]};
        metrics_text_count(text, &label, 1, sum->by_class[i]);
    }
    write_one(text, METRIC_COUNTER, "evserve_received_bytes_total", "Bytes received from clients.",
              sum->bytes_received);
    write_one(text, METRIC_COUNTER, "evserve_sent_bytes_total", "Bytes sent to clients, heads and framing included.",
              sum->bytes_sent);
    write_one(text, METRIC_GAUGE, "evserve_websockets_open", "WebSockets open now.", sum->websockets);
    write_one(text, METRIC_GAUGE, "evserve_tunnels_open",
              "WebSockets and the like open now to servers behind app.proxy.", sum->tunnels);
    write_one(text, METRIC_COUNTER, "evserve_websocket_messages_received_total", "Messages from clients of WebSockets.",
              sum->ws_received);
    write_one(text, METRIC_COUNTER, "evserve_websocket_messages_sent_total", "Messages to clients of WebSockets.",
              sum->ws_sent);
}

static void write_topics(struct metrics_text *text, const struct metrics_board *board)
{
    struct board_topics sum;
    metrics_board_sum_topics(board, &sum);
    write_one(text, METRIC_GAUGE, "evserve_topics", "Topics that have subscribers or a replay.", sum.hub.topics);
    write_one(text, METRIC_GAUGE, "evserve_subscribers", "Subscribers of all topics.", sum.hub.subscribers);
    write_one(text, METRIC_GAUGE, "evserve_replay_bytes", "Memory of messages that are kept for replay.",
              sum.hub.replay_bytes);
    write_one(text, METRIC_COUNTER, "evserve_published_total", "Messages published by this server.", sum.hub.published);
    write_one(text, METRIC_COUNTER, "evserve_published_refused_total",
              "Messages that were not published since subscribers were too far behind, or memory was short.",
              sum.hub.refused);
    if (sum.hub.has_broker) {
        const struct hub_broker_counts *broker = &sum.hub.broker;
        write_one(text, METRIC_GAUGE, "evserve_broker_connected", "Whether the broker is connected.",
                  broker->is_connected);
        write_one(text, METRIC_GAUGE, "evserve_broker_waiting_bytes", "Messages that the broker has not taken yet.",
                  broker->waiting);
        write_one(text, METRIC_COUNTER, "evserve_broker_sent_total", "Messages that the broker has taken.",
                  broker->sent);
        write_one(text, METRIC_COUNTER, "evserve_broker_received_total", "Messages of other servers.",
                  broker->received);
        write_one(text, METRIC_COUNTER, "evserve_broker_dropped_total",
                  "Messages that other servers did not get, since too many waited.", broker->dropped);
    }
    const struct metric_label taken = {"result", "sent"}, skipped = {"result", "skipped"}, ended = {"result", "ended"};
    metrics_text_family(text, METRIC_COUNTER, "evserve_deliveries_total",
                        "Messages for single subscribers: sent, skipped since the subscriber was behind, or the end of "
                        "a subscriber that was.");
    metrics_text_count(text, &taken, 1, sum.delivery.delivered);
    metrics_text_count(text, &skipped, 1, sum.delivery.skipped);
    metrics_text_count(text, &ended, 1, sum.delivery.ended);
}

static void write_phases(struct metrics_text *text, struct metrics_board *board)
{
    static const char *const phases[CONN_PHASES] = {
        [PHASE_IDLE] = "idle",         [PHASE_HANDSHAKE] = "tls_handshake", [PHASE_READING] = "reading",
        [PHASE_HANDLING] = "handling", [PHASE_SENDING] = "sending",         [PHASE_LINGERING] = "lingering"};
    metrics_text_family(text, METRIC_GAUGE, "evserve_connections",
                        "Connections by what they are doing; each thread looks once a second.");
    for (size_t i = 0; i < CONN_PHASES; i++) {
        const struct metric_label label = {"state", phases[i]};
        uint64_t sum = 0;
        for (unsigned n = 0; n < metrics_board_reactors(board); n++) {
            sum += __atomic_load_n(&metrics_board_sample(board, n)->connections[i], __ATOMIC_RELAXED);
        }
        metrics_text_count(text, &label, 1, sum);
    }
}

static void write_reloads(struct metrics_text *text, const struct metrics_board *board)
{
    struct board_reloads reloads;
    metrics_board_get_reloads(board, &reloads);
    const struct metric_label success = {"result", "success"}, failure = {"result", "failure"};
    metrics_text_family(text, METRIC_COUNTER, "evserve_reloads_total", "Reloads, by their result.");
    metrics_text_count(text, &success, 1, reloads.succeeded);
    metrics_text_count(text, &failure, 1, reloads.failed);
    write_one(text, METRIC_GAUGE, "evserve_last_reload_successful",
              "1 if the last reload succeeded, or there was none; 0 if it failed.", reloads.last_has_succeeded);
    write_one(text, METRIC_GAUGE, "evserve_last_reload_time_seconds",
              "When it ended, in seconds since the epoch; 0 before the first one.", (uint64_t)reloads.last_s);
}

/* A family with a sample for each thread. */
static void write_each(struct metrics_text *text, struct metrics_board *board, const char *name, const char *help,
                       size_t offset, bool is_seconds)
{
    metrics_text_family(text, is_seconds ? METRIC_COUNTER : METRIC_GAUGE, name, help);
    for (unsigned i = 0; i < metrics_board_reactors(board); i++) {
        const char *sample = (const char *)metrics_board_sample(board, i);
        char thread[16];
        snprintf(thread, sizeof thread, "%u", i);
        const struct metric_label label = {"thread", thread};
        uint64_t value = __atomic_load_n((const uint64_t *)(const void *)(sample + offset), __ATOMIC_RELAXED);
        if (is_seconds) {
            metrics_text_number(text, &label, 1, (double)value / 1e9);
        } else {
            metrics_text_count(text, &label, 1, value);
        }
    }
}

/* How long ticks take: the longest time that whatever is ready waits for its turn. */
static void write_ticks(struct metrics_text *text, const struct metrics_board *board)
{
    struct tick_times sum = {0};
    double bounds_s[TICK_BOUNDS];
    for (unsigned i = 0; i < metrics_board_reactors(board); i++) {
        const struct service *service = metrics_board_service(board, i);
        if (service != NULL) {
            tick_clock_add_times(reactor_clock(service->reactor), &sum);
        }
    }
    for (size_t i = 0; i < TICK_BOUNDS; i++) {
        bounds_s[i] = (double)tick_bounds_ns[i] / 1e9;
    }
    metrics_text_family(text, METRIC_HISTOGRAM, "evserve_loop_tick_seconds",
                        "Turns of the event loops: whatever becomes ready during one waits for its end.");
    metrics_text_histogram(text, NULL, 0, bounds_s, sum.ticks, TICK_BOUNDS, (double)sum.busy_ns / 1e9);
}

static void write_threads(struct metrics_text *text, struct metrics_board *board, uint64_t stalls)
{
    write_ticks(text, board);
    write_one(text, METRIC_COUNTER, "evserve_loop_stalls_total", "Turns of the event loops longer than stall_warning.",
              stalls);
    write_each(text, board, "evserve_thread_cpu_seconds_total",
               "Processor time of each thread, looked at once a second.", offsetof(struct metrics_sample, cpu_ns),
               true);
    write_each(text, board, "evserve_lua_memory_bytes", "Memory of each thread's Lua state.",
               offsetof(struct metrics_sample, lua_memory), false);
    write_each(text, board, "evserve_lua_memory_limit_bytes", "The limit of that, lua_memory; 0 without a script.",
               offsetof(struct metrics_sample, lua_limit), false);
}

static void write_files(struct metrics_text *text, struct metrics_board *board)
{
    struct metrics_sample sum = {0};
    for (unsigned i = 0; i < metrics_board_reactors(board); i++) {
        const struct metrics_sample *one = metrics_board_sample(board, i);
        sum.cached_files += __atomic_load_n(&one->cached_files, __ATOMIC_RELAXED);
        sum.cached_bytes += __atomic_load_n(&one->cached_bytes, __ATOMIC_RELAXED);
        sum.cache_hits += __atomic_load_n(&one->cache_hits, __ATOMIC_RELAXED);
        sum.cache_misses += __atomic_load_n(&one->cache_misses, __ATOMIC_RELAXED);
    }
    const struct metric_label hit = {"result", "hit"}, miss = {"result", "miss"};
    metrics_text_family(text, METRIC_COUNTER, "evserve_file_cache_looks_total",
                        "Files that were asked for: held in the cache, or looked for on the disk.");
    metrics_text_count(text, &hit, 1, sum.cache_hits);
    metrics_text_count(text, &miss, 1, sum.cache_misses);
    write_one(text, METRIC_GAUGE, "evserve_file_cache_files", "Files in the caches of all threads.", sum.cached_files);
    write_one(text, METRIC_GAUGE, "evserve_file_cache_bytes", "Contents that they hold in memory.", sum.cached_bytes);
}

static void write_fds(struct metrics_text *text)
{
    uint64_t fds = sys_open_fds(), limit = sys_fd_limit();
    if (fds > 0) {
        write_one(text, METRIC_GAUGE, "evserve_fds_open", "File descriptors that the process has open.", fds);
    }
    metrics_text_family(text, METRIC_GAUGE, "evserve_fds_limit", "How many it may have (RLIMIT_NOFILE).");
    metrics_text_number(text, NULL, 0, limit == UINT64_MAX ? (double)INFINITY : (double)limit);
}

/* A family with a sample for each worker of the scripts. */
static void write_each_worker(struct metrics_text *text, struct job_pools *jobs, enum metric_kind kind,
                              const char *name, const char *help, uint64_t (*get)(const struct job_pool_counts *counts))
{
    struct job_pool_counts counts;
    const char *path = job_pools_count(jobs, 0, &counts);
    if (path != NULL) {
        metrics_text_family(text, kind, name, help);
    }
    for (size_t n = 1; path != NULL; n++) {
        const struct metric_label label = {"worker", path};
        metrics_text_count(text, &label, 1, get(&counts));
        path = job_pools_count(jobs, n, &counts);
    }
}

static uint64_t get_run(const struct job_pool_counts *counts)
{
    return counts->run;
}

static uint64_t get_refused(const struct job_pool_counts *counts)
{
    return counts->refused;
}

static uint64_t get_waiting(const struct job_pool_counts *counts)
{
    return counts->waiting;
}

static uint64_t get_busy(const struct job_pool_counts *counts)
{
    return counts->busy;
}

static void write_workers(struct metrics_text *text, struct job_pools *jobs)
{
    write_each_worker(text, jobs, METRIC_COUNTER, "evserve_worker_calls_total",
                      "Calls of functions of workers that were begun.", get_run);
    write_each_worker(text, jobs, METRIC_COUNTER, "evserve_worker_refused_total",
                      "Calls that were refused because the queue was full.", get_refused);
    write_each_worker(text, jobs, METRIC_GAUGE, "evserve_worker_queue", "Calls that wait for a thread.", get_waiting);
    write_each_worker(text, jobs, METRIC_GAUGE, "evserve_worker_busy_threads", "Threads that run a call.", get_busy);
}

static bool accepts_open(const struct exchange *exchange)
{
    size_t len = 0;
    const char *accept = exchange_field(exchange, "Accept", &len);
    return metrics_accept_open(accept, len);
}

/* Memory may be there the next time; a text that is too long stays that. */
static void refuse_text(struct exchange *exchange, bool is_full)
{
    static const char too_long[] = "the metrics are longer than 16 MiB: too many routes, hosts or label values";
    _Static_assert(METRICS_TEXT_MAX == 16 << 20, "the text says so");
    if (is_full) {
        log_write(exchange->service->log, LOG_ERROR, "%s", too_long);
    }
    response_error(exchange, is_full ? 500 : 503, is_full ? too_long : "out of memory");
}

static void respond_with(struct exchange *exchange, struct metrics_text *text)
{
    static const char no_store[] = "no-store";
    if (!metrics_text_end(text)) {
        refuse_text(exchange, text->is_full);
        return;
    }
    (void)response_set_field(exchange, "Cache-Control", 13, no_store, sizeof no_store - 1);
    response_send(exchange, 200, metrics_text_type(text->is_open), write_buffer_data(&text->out),
                  write_buffer_len(&text->out));
}

void metrics_serve(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    struct metrics_board *board = exchange->service->board;
    struct metrics_text text;
    if (board == NULL) {
        response_error(exchange, 503, "this server counts nothing");
        return;
    }
    metrics_text_init(&text, accepts_open(exchange));
    if (exchange->service->counts != NULL) {
        metrics_counts_settle(exchange->service->counts);
    }
    metrics_board_look(board, exchange->service->owner_index);
    struct server_stats sum;
    metrics_board_sum(board, &sum);
    write_build(&text, board);
    write_totals(&text, &sum);
    write_topics(&text, board);
    write_phases(&text, board);
    write_reloads(&text, board);
    write_threads(&text, board, sum.stalls);
    write_files(&text, board);
    write_fds(&text);
    if (metrics_board_jobs(board) != NULL) {
        write_workers(&text, metrics_board_jobs(board));
    }
    metrics_requests_write(&text, board);
    metrics_own_write(&text, metrics_board_own(board));
    respond_with(exchange, &text);
    metrics_text_done(&text);
}
