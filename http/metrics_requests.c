/* Happy path: each family goes through hosts and series, sums up what the reactors have of each, and writes its
 * part. */

#include "http/metrics_requests.h"

#include "http/metrics_board.h"
#include "http/metrics_counts.h"
#include "http/metrics_hosts.h"
#include "http/metrics_text.h"
#include "http/service.h"

#include <stdio.h>

enum { CODE_TEXT_MAX = 16, REQUEST_LABELS = 4 };

/* One series of one host over all reactors. */
struct series_sum {
    const char *host, *route, *methods;
    struct series_counts counts;
};

/* The counts of the n-th reactor, or NULL. */
static const struct metrics_counts *counts_of(const struct metrics_board *board, unsigned n)
{
    const struct service *service = metrics_board_service(board, n);
    return service == NULL ? NULL : __atomic_load_n(&service->counts, __ATOMIC_ACQUIRE);
}

/* Returns whether any reactor has it. */
static bool sum_series(const struct metrics_board *board, unsigned host, unsigned number, struct series_sum *sum)
{
    bool has_one = false;
    sum->counts = (struct series_counts){0};
    for (unsigned i = 0; i < metrics_board_reactors(board); i++) {
        const struct metrics_counts *counts = counts_of(board, i);
        has_one = (counts != NULL && metrics_counts_sum(counts, host, number, &sum->counts)) || has_one;
    }
    return has_one;
}

static const char *format_code(char text[CODE_TEXT_MAX], uint32_t code)
{
    snprintf(text, CODE_TEXT_MAX, "%u", code);
    return code == COUNT_NO_STATUS ? "none" : code == COUNT_OTHER_STATUS ? "other" : text;
}

static void write_by_code(struct metrics_text *text, const struct series_sum *sum, bool is_bytes)
{
    const uint64_t *numbers = is_bytes ? sum->counts.bytes : sum->counts.requests;
    for (size_t i = 0; i < COUNT_CODES; i++) {
        if (sum->counts.codes[i] != 0) {
            char code[CODE_TEXT_MAX];
            const struct metric_label labels[REQUEST_LABELS] = {{"host", sum->host},
                                                                {"method", sum->methods},
                                                                {"route", sum->route},
                                                                {"code", format_code(code, sum->counts.codes[i])}};
            metrics_text_count(text, labels, REQUEST_LABELS, numbers[i]);
        }
    }
}

static void write_all_by_code(struct metrics_text *text, const struct metrics_board *board, bool is_bytes)
{
    struct series_sum sum;
    for (unsigned host = HOST_OTHER; (sum.host = metrics_board_host(board, host)) != NULL; host++) {
        for (unsigned i = 0; (sum.route = metrics_board_series(board, i, &sum.methods)) != NULL; i++) {
            if (sum_series(board, host, i, &sum)) {
                write_by_code(text, &sum, is_bytes);
            }
        }
    }
}

/* By route alone: durations hardly depend on the host, and are most of the page. */
static void write_durations(struct metrics_text *text, const struct metrics_board *board)
{
    struct series_sum sum;
    for (unsigned i = 0; (sum.route = metrics_board_series(board, i, &sum.methods)) != NULL; i++) {
        const struct metric_label labels[] = {{"method", sum.methods}, {"route", sum.route}};
        if (sum_series(board, HOST_OTHER, i, &sum)) {
            metrics_text_histogram(text, labels, 2, count_bounds_s, sum.counts.buckets, COUNT_BOUNDS,
                                   (double)sum.counts.duration_ns / 1e9);
        }
    }
}

static void write_refusals(struct metrics_text *text, const struct metrics_board *board)
{
    static const char *const reasons[REFUSALS] = {[REFUSED_CONNECTIONS] = "max_connections",
                                                  [REFUSED_ADDRESS] = "max_connections_per_address",
                                                  [REFUSED_MEMORY] = "memory",
                                                  [REFUSED_FDS] = "file_descriptors"};
    uint64_t sums[REFUSALS] = {0};
    for (unsigned i = 0; i < metrics_board_reactors(board); i++) {
        const struct metrics_counts *counts = counts_of(board, i);
        if (counts != NULL) {
            metrics_counts_sum_refused(counts, sums);
        }
    }
    metrics_text_family(text, METRIC_COUNTER, "evserve_connections_refused_total",
                        "Clients that were turned away with 503, by what was used up.");
    for (size_t i = 0; i < REFUSALS; i++) {
        const struct metric_label label = {"reason", reasons[i]};
        metrics_text_count(text, &label, 1, sums[i]);
    }
}

void metrics_requests_write(struct metrics_text *text, const struct metrics_board *board)
{
    metrics_text_family(
        text, METRIC_COUNTER, "evserve_requests_total",
        "Requests that are over, by route and status; 499: the client left before there was a response.");
    write_all_by_code(text, board, false);
    metrics_text_family(text, METRIC_COUNTER, "evserve_response_bytes_total",
                        "Bytes of their responses, heads and framing included.");
    write_all_by_code(text, board, true);
    metrics_text_family(text, METRIC_HISTOGRAM, "evserve_request_duration_seconds",
                        "Time from the first byte of a request until its response was handed to the kernel.");
    write_durations(text, board);
    write_refusals(text, board);
}
