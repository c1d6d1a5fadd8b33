/* Happy path: metrics_counts_add() finds the series of the exchange's route and the place of its status, adds to both,
 * and notes when the exchange began; when the tick has ended, its duration is added.
 *
 * Failure mode: a series without memory is not counted on this thread. */

#include "http/metrics_counts.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/tick_clock.h"
#include "http/exchange.h"
#include "http/metrics_hosts.h"
#include "http/service.h"
#include "http/site.h"

#include <errno.h>
#include <stddef.h>

const double count_bounds_s[15] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};
static const int64_t bounds_ns[COUNT_BOUNDS] = {TICK_QUICK_NS, 2500000,    5000000,     10000000,    25000000,
                                                50000000,      100000000,  250000000,   500000000,   1000000000,
                                                2500000000,    5000000000, 10000000000, 30000000000, 60000000000};

/* An exchange that ended in this tick, and is not among clock->quick_count. */
struct open_duration {
    struct series_counts *series;
    int64_t began_ns; /* 0: in this tick, too */
};

struct metrics_counts {
    struct tick_clock *clock;    /* of the reactor */
    struct series_counts *quick; /* of clock->quick_count exchanges; no_series before the first one */
    struct series_counts no_series;
    uint64_t refused[REFUSALS];
    unsigned open_count; /* of open */
    struct open_duration open[COUNT_PENDING_MAX];
    struct series_counts *series[SERIES_MAX];               /* NULL: none of its requests has come */
    struct series_counts **of_hosts[METRICS_HOSTS_MAX + 1]; /* the same for each host by number; NULL: likewise */
};

static size_t find_bucket(int64_t took_ns)
{
    size_t bucket = 0;
    while (bucket < COUNT_BOUNDS && took_ns > bounds_ns[bucket]) {
        bucket++;
    }
    return bucket;
}

static inline void add_duration(struct series_counts *series, size_t bucket, int64_t took_ns)
{
    stat_add(&series->buckets[bucket], 1);
    stat_add(&series->duration_ns, (uint64_t)took_ns);
}

/* Nearly all begin and end in one tick, and so have the same duration. Of the tick in which counting began, the begin
 * is not known: its durations count as 0. */
__attribute__((noinline)) static void settle(struct metrics_counts *counts, int64_t end_ns)
{
    int64_t tick_ns = counts->clock->began_ns == 0 ? 0 : end_ns - counts->clock->began_ns;
    size_t tick_bucket = find_bucket(tick_ns);
    for (; counts->clock->quick_count > 0; counts->clock->quick_count--) {
        add_duration(counts->quick, tick_bucket, tick_ns);
    }
    for (unsigned i = 0; i < counts->open_count; i++) {
        const struct open_duration *open = &counts->open[i];
        if (open->began_ns == 0) {
            add_duration(open->series, tick_bucket, tick_ns);
        } else {
            int64_t took_ns = end_ns < open->began_ns ? 0 : end_ns - open->began_ns;
            add_duration(open->series, find_bucket(took_ns), took_ns);
        }
    }
    counts->open_count = 0;
}

static void on_tick_end(void *arg)
{
    struct metrics_counts *counts = arg;
    settle(counts, counts->clock->ended_ns);
}

int metrics_counts_create(struct metrics_counts **counts, struct reactor *reactor)
{
    struct metrics_counts *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->quick = &made->no_series;
    made->clock = reactor_clock(reactor);
    made->clock->on_end = on_tick_end;
    made->clock->on_end_arg = made;
    made->clock->is_on = true;
    *counts = made;
    return 0;
}

static void free_series(struct series_counts **series)
{
    for (size_t i = 0; series != NULL && i < SERIES_MAX; i++) {
        mem_free(series[i]);
    }
}

void metrics_counts_destroy(struct metrics_counts *counts)
{
    if (counts == NULL) {
        return;
    }
    counts->clock->is_on = false;
    counts->clock->on_end = NULL;
    counts->clock->quick_count = 0;
    for (size_t host = 0; host <= METRICS_HOSTS_MAX; host++) {
        free_series(counts->of_hosts[host]);
        mem_free(counts->of_hosts[host]);
    }
    free_series(counts->series);
    mem_free(counts);
}

void metrics_counts_settle(struct metrics_counts *counts)
{
    settle(counts, counts->clock->left_ns != 0 ? counts->clock->left_ns : sys_now_ns());
}

/* Note an exchange whose duration is not known yet. Those of one series that began in this tick, too, only add to a
 * number. A tick that is full of others is long: the clock is read. */
static void add_open(struct metrics_counts *counts, struct series_counts *series, int64_t began_ns)
{
    struct tick_clock *clock = counts->clock;
    if (began_ns == 0 && (clock->quick_count == 0 || counts->quick == series)) {
        counts->quick = series;
        clock->quick_number = &series->buckets[0];
        clock->quick_ns = &series->duration_ns;
        clock->quick_count++;
        return;
    }
    if (counts->open_count == COUNT_PENDING_MAX) {
        metrics_counts_settle(counts);
    }
    counts->open[counts->open_count++] = (struct open_duration){series, began_ns};
    clock->is_asked = true;
}

/* Make a series. Returns it, or NULL without memory. */
__attribute__((noinline)) static struct series_counts *make_series(struct series_counts **series, unsigned number)
{
    struct series_counts *made = mem_zalloc(sizeof *made);
    __atomic_store_n(&series[number], made, __ATOMIC_RELEASE);
    return made;
}

/* The place of a status. */
static size_t find_code(struct series_counts *series, uint32_t code)
{
    for (size_t i = 0; i < COUNT_CODES - 1; i++) {
        if (series->codes[i] == code) {
            return i;
        }
        if (series->codes[i] == 0) {
            __atomic_store_n(&series->codes[i], code, __ATOMIC_RELEASE);
            return i;
        }
    }
    __atomic_store_n(&series->codes[COUNT_CODES - 1], COUNT_OTHER_STATUS, __ATOMIC_RELEASE);
    return COUNT_CODES - 1;
}

static void count_in(struct series_counts *series, uint32_t code, uint64_t bytes)
{
    size_t place = find_code(series, code);
    stat_add(&series->requests[place], 1);
    stat_add(&series->bytes[place], bytes);
}

/* Returns the series, which gets the duration, too; NULL without memory. */
static struct series_counts *count(struct metrics_counts *counts, unsigned number, uint32_t code, uint64_t bytes)
{
    struct series_counts *series = counts->series[number];
    if (series == NULL && (series = make_series(counts->series, number)) == NULL) {
        return NULL;
    }
    count_in(series, code, bytes);
    return series;
}

/* The series of a host. NULL without memory. */
static struct series_counts *series_of_host(struct metrics_counts *counts, unsigned host, unsigned number)
{
    struct series_counts **table = counts->of_hosts[host];
    if (table == NULL) {
        table = mem_zalloc(SERIES_MAX * sizeof(struct series_counts *));
        __atomic_store_n(&counts->of_hosts[host], table, __ATOMIC_RELEASE);
    }
    if (table == NULL) {
        return NULL;
    }
    return table[number] != NULL ? table[number] : make_series(table, number);
}

/* The same as count() where hosts are listed. The duration is that of the route, whichever host it is of. */
static struct series_counts *count_of_host(struct metrics_counts *counts, const struct exchange *exchange,
                                           uint32_t code, uint64_t bytes)
{
    unsigned number = exchange->series;
    size_t len;
    const char *authority = exchange_host(exchange, &len);
    unsigned host = len == 0 ? (unsigned)HOST_OTHER : metrics_hosts_find(exchange->site->metrics_hosts, authority, len);
    struct series_counts *of_route = counts->series[number];
    if (host == HOST_OTHER || (of_route == NULL && (of_route = make_series(counts->series, number)) == NULL)) {
        return count(counts, number, code, bytes);
    }
    struct series_counts *of_host = series_of_host(counts, host, number);
    count_in(of_host == NULL ? of_route : of_host, code, bytes);
    return of_route;
}

/* The status of a response; for a request without one, what the access log says. */
static uint32_t code_of(const struct exchange *exchange, enum outcome_end end)
{
    int status = exchange->status != 0 ? exchange->status : outcome_status_without(end);
    return status != 0 ? (uint32_t)status : COUNT_NO_STATUS;
}

void metrics_counts_begin(struct exchange *exchange)
{
    exchange->began_ns = exchange->service->counts->clock->began_ns;
}

/* Any exchange. */
__attribute__((noinline)) static void add_unusual(struct metrics_counts *counts, const struct exchange *exchange,
                                                  enum outcome_end end, uint64_t bytes)
{
    uint32_t code = code_of(exchange, end);
    struct series_counts *series = exchange->site->metrics_hosts == NULL ? count(counts, exchange->series, code, bytes)
                                                                         : count_of_host(counts, exchange, code, bytes);
    if (series != NULL) {
        add_open(counts, series, exchange->began_ns);
    }
}

/* Nearly all exchanges have the first status of their series, began in this tick, and are of the series that the one
 * before them is of; and few sites list hosts. */
void metrics_counts_add(struct exchange *exchange, enum outcome_end end, uint64_t bytes)
{
    struct metrics_counts *counts = exchange->service->counts;
    struct series_counts *series = counts->series[exchange->series];
    exchange->dues.is_measured = false;
    if (__builtin_expect(end != OUTCOME_COMPLETE || series != counts->quick ||
                             series->codes[0] != (uint32_t)exchange->status || exchange->began_ns != 0 ||
                             exchange->site->metrics_hosts != NULL,
                         0)) {
        add_unusual(counts, exchange, end, bytes);
        return;
    }
    stat_add(&series->requests[0], 1);
    stat_add(&series->bytes[0], bytes);
    counts->clock->quick_count++;
}

void metrics_counts_sum_refused(const struct metrics_counts *counts, uint64_t sum[REFUSALS])
{
    for (size_t i = 0; i < REFUSALS; i++) {
        sum[i] += __atomic_load_n(&counts->refused[i], __ATOMIC_RELAXED);
    }
}

void metrics_counts_add_refused(struct metrics_counts *counts, enum refusal why, int status, uint64_t bytes)
{
    stat_add(&counts->refused[why], 1);
    (void)count(counts, SERIES_NONE, (uint32_t)status, bytes);
}

static void add_code(struct series_counts *sum, uint32_t code, uint64_t requests, uint64_t bytes)
{
    size_t place = find_code(sum, code);
    sum->requests[place] += requests;
    sum->bytes[place] += bytes;
}

bool metrics_counts_sum(const struct metrics_counts *counts, unsigned host, unsigned series, struct series_counts *sum)
{
    struct series_counts *const *table = host == HOST_OTHER
                                             ? counts->series
                                             : __atomic_load_n(&counts->of_hosts[host], __ATOMIC_ACQUIRE);
    const struct series_counts *one = table == NULL ? NULL : __atomic_load_n(&table[series], __ATOMIC_ACQUIRE);
    for (size_t i = 0; one != NULL && i < COUNT_CODES; i++) {
        uint32_t code = __atomic_load_n(&one->codes[i], __ATOMIC_ACQUIRE);
        if (code != 0) {
            add_code(sum, code, __atomic_load_n(&one->requests[i], __ATOMIC_RELAXED),
                     __atomic_load_n(&one->bytes[i], __ATOMIC_RELAXED));
        }
    }
    for (size_t i = 0; one != NULL && i <= COUNT_BOUNDS; i++) {
        sum->buckets[i] += __atomic_load_n(&one->buckets[i], __ATOMIC_RELAXED);
    }
    sum->duration_ns += one == NULL ? 0 : __atomic_load_n(&one->duration_ns, __ATOMIC_RELAXED);
    return one != NULL;
}
