/* Happy path: metrics_serve() sums up what all services of the board count, writes it family by family, and responds.
 *
 * Failure modes: without memory for the text the response is 503. */

#include "http/metrics.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/exchange.h"
#include "http/metrics_text.h"
#include "http/response.h"
#include "http/service.h"
#include "version.h"

#include <errno.h>
#include <string.h>

struct metrics_board {
    int64_t started_s;          /* wall time */
    unsigned count;             /* of services */
    struct service *services[]; /* of the reactors; NULL before metrics_board_join() */
};

int metrics_board_create(struct metrics_board **board, unsigned count)
{
    struct metrics_board *made = mem_zalloc(sizeof *made + count * sizeof made->services[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->count = count;
    made->started_s = sys_wall_time_s();
    *board = made;
    return 0;
}

void metrics_board_destroy(struct metrics_board *board)
{
    mem_free(board);
}

void metrics_board_join(struct metrics_board *board, unsigned n, struct service *service)
{
    board->services[n] = service;
    service->board = board;
}

/* The sums over all reactors. */
static struct server_stats sum_up(const struct metrics_board *board)
{
    enum { NUMBERS = sizeof(struct server_stats) / sizeof(uint64_t) };
    struct server_stats sum = {0};
    for (unsigned i = 0; i < board->count; i++) {
        struct server_stats one = {0};
        if (board->services[i] != NULL) {
            service_get_stats(board->services[i], &one);
        }
        for (size_t n = 0; n < NUMBERS; n++) {
            ((uint64_t *)&sum)[n] += ((const uint64_t *)&one)[n];
        }
    }
    return sum;
}

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
              (uint64_t)board->started_s);
    write_one(text, METRIC_GAUGE, "evserve_reactors", "Threads that serve.", board->count);
}

static void write_totals(struct metrics_text *text, const struct server_stats *sum)
{
    static const char *const classes[] = {"", "1xx", "2xx", "3xx", "4xx", "5xx"};
    write_one(text, METRIC_COUNTER, "evserve_connections_accepted_total", "Connections accepted.", sum->accepted);
    write_one(text, METRIC_GAUGE, "evserve_connections_open", "Connections open now.", sum->connections);
    write_one(text, METRIC_COUNTER, "evserve_connections_lost_total",
              "Connections that ended in an error: reset or cut.", sum->lost);
    write_one(text, METRIC_COUNTER, "evserve_timeouts_total", "Deadlines that have passed.", sum->timeouts);
    metrics_text_family(text, METRIC_COUNTER, "evserve_responses_total", "Responses begun, by class of status.");
    for (size_t i = 1; i < sizeof classes / sizeof classes[0]; i++) {
        const struct metric_label label = {"class", classes[i]};
        metrics_text_count(text, &label, 1, sum->by_class[i]);
    }
    write_one(text, METRIC_COUNTER, "evserve_received_bytes_total", "Bytes received from clients.",
              sum->bytes_received);
    write_one(text, METRIC_COUNTER, "evserve_sent_bytes_total", "Bytes sent to clients, heads and framing included.",
              sum->bytes_sent);
}

/* Whether the client reads OpenMetrics. Prometheus names it first; others do not name it at all. */
static bool accepts_open(const struct exchange *exchange)
{
    static const char type[] = "application/openmetrics-text";
    size_t len = 0;
    const char *accept = exchange_field(exchange, "Accept", &len);
    return accept != NULL && memmem(accept, len, type, sizeof type - 1) != NULL;
}

static void respond_with(struct exchange *exchange, struct metrics_text *text)
{
    static const char no_store[] = "no-store";
    if (!metrics_text_end(text)) {
        response_error(exchange, 503, "out of memory");
        return;
    }
    (void)response_set_field(exchange, "Cache-Control", 13, no_store, sizeof no_store - 1);
    response_send(exchange, 200, text->is_open ? metrics_type_open : metrics_type_plain, write_buffer_data(&text->out),
                  write_buffer_len(&text->out));
}

void metrics_serve(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    const struct metrics_board *board = exchange->service->board;
    struct metrics_text text;
    if (board == NULL) {
        response_error(exchange, 503, "this server counts nothing");
        return;
    }
    metrics_text_init(&text, accepts_open(exchange));
    struct server_stats sum = sum_up(board);
    write_build(&text, board);
    write_totals(&text, &sum);
    respond_with(exchange, &text);
    metrics_text_done(&text);
}
