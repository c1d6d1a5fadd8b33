/* Happy path: the sums of all series are made once, then each family writes its part of them. */

#include "http/metrics_requests.h"

#include "core/mem.h"
#include "http/metrics_board.h"
#include "http/metrics_counts.h"
#include "http/metrics_text.h"
#include "http/service.h"

#include <stdio.h>

enum { CODE_TEXT_MAX = 16, LABELS = 3 };

/* One series over all reactors. */
struct series_sum {
    const char *route, *methods;
    struct series_counts counts;
};

static size_t count_series(const struct metrics_board *board)
{
    const char *methods;
    unsigned count = 0;
    while (metrics_board_series(board, count, &methods) != NULL) {
        count++;
    }
    return count;
}

static void sum_series(const struct metrics_board *board, unsigned number, struct series_sum *sum)
{
    sum->route = metrics_board_series(board, number, &sum->methods);
    for (unsigned i = 0; i < metrics_board_reactors(board); i++) {
        const struct service *service = metrics_board_service(board, i);
        const struct metrics_counts *counts = service == NULL ? NULL
                                                              : __atomic_load_n(&service->counts, __ATOMIC_ACQUIRE);
        if (counts != NULL) {
            metrics_counts_sum(counts, number, &sum->counts);
        }
    }
}

static const char *format_code(char text[CODE_TEXT_MAX], uint32_t code)
{
    snprintf(text, CODE_TEXT_MAX, "%u", code);
    return code == COUNT_NO_STATUS ? "none" : code == COUNT_OTHER_STATUS ? "other" : text;
}

static void write_by_code(struct metrics_text *text, const struct series_sum *sum, const uint64_t *numbers)
{
    for (size_t i = 0; i < COUNT_CODES; i++) {
        if (sum->counts.codes[i] != 0) {
            char code[CODE_TEXT_MAX];
            const struct metric_label labels[LABELS] = {{"method", sum->methods},
                                                        {"route", sum->route},
                                                        {"code", format_code(code, sum->counts.codes[i])}};
            metrics_text_count(text, labels, LABELS, numbers[i]);
        }
    }
}

static void write_durations(struct metrics_text *text, const struct series_sum *sum)
{
    const struct metric_label labels[] = {{"method", sum->methods}, {"route", sum->route}};
    if (sum->counts.codes[0] != 0) {
        metrics_text_histogram(text, labels, 2, count_bounds_s, sum->counts.buckets, COUNT_BOUNDS,
                               (double)sum->counts.duration_ns / 1e9);
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
        const struct service *service = metrics_board_service(board, i);
        const struct metrics_counts *counts = service == NULL ? NULL
                                                              : __atomic_load_n(&service->counts, __ATOMIC_ACQUIRE);
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
    size_t count = count_series(board);
    struct series_sum *sums = mem_zalloc(count * sizeof *sums);
    if (sums == NULL) {
        text->is_short = true;
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        sum_series(board, i, &sums[i]);
    }
    metrics_text_family(
        text, METRIC_COUNTER, "evserve_requests_total",
        "Requests that are over, by route and status; 499: the client left before there was a response.");
    for (size_t i = 0; i < count; i++) {
        write_by_code(text, &sums[i], sums[i].counts.requests);
    }
    metrics_text_family(text, METRIC_COUNTER, "evserve_response_bytes_total",
                        "Bytes of their responses, heads and framing included.");
    for (size_t i = 0; i < count; i++) {
        write_by_code(text, &sums[i], sums[i].counts.bytes);
    }
    metrics_text_family(text, METRIC_HISTOGRAM, "evserve_request_duration_seconds",
                        "Time from the first byte of a request until its response was handed to the kernel.");
    for (size_t i = 0; i < count; i++) {
        write_durations(text, &sums[i]);
    }
    mem_free(sums);
    write_refusals(text, board);
}
