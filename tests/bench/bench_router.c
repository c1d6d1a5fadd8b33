/* Nanoseconds per router_match() for tables of 10, 1,000 and 10,000 routes, half of them static, half with parameters.
 * "one path" asks for the same path again and again: the work itself. "all paths" asks for every route in random order:
 * with the tree of a large table partly out of the CPU's nearer caches. The server lies in between. */

#include "core/sys.h"
#include "http/router.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTES_MAX = 10000, TEXT_MAX = 80, ROUNDS = 2000000, RUNS = 5 };

/* One path to ask for. */
struct probe {
    char text[TEXT_MAX]; /* the path */
    size_t len;          /* of text */
};

static const char *const sections[] = {"users", "orders", "items", "teams", "posts", "files", "events", "reports"};

static uint64_t random_state = 88172645463325252U;

static size_t random_below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state >> 11) % limit;
}

/* The n-th pattern, and a path that only it fits. */
static void make_route(size_t n, char *pattern, struct probe *probe)
{
    const char *section = sections[n % (sizeof sections / sizeof *sections)];
    char resource[TEXT_MAX / 2];
    snprintf(resource, sizeof resource, "/api/v1/%s/%s%zu", section, n % 3 == 0 ? "list" : "by", n / 2);
    int len = 0;
    if (n % 2 == 0) {
        snprintf(pattern, TEXT_MAX, "%s/summary", resource);
        len = snprintf(probe->text, TEXT_MAX, "%s/summary", resource);
    } else {
        snprintf(pattern, TEXT_MAX, "%s/:id{int}/parts/:name", resource);
        len = snprintf(probe->text, TEXT_MAX, "%s/%zu/parts/wheel", resource, n * 31);
    }
    probe->len = (size_t)len;
}

/* Ask for the probes listed in order, again and again; the best of a few runs, in nanoseconds a match. */
static double measure(const struct router *router, const struct probe *probes, const uint32_t *order, size_t count,
                      enum route_verdict expected)
{
    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        size_t wrong = 0;
        size_t next = 0;
        int64_t start_ns = sys_now_ns();
        for (int i = 0; i < ROUNDS; i++) {
            const struct probe *probe = &probes[order[next]];
            next = next + 1 == count ? 0 : next + 1;
            struct route_match match;
            wrong += router_match(router, METHOD_GET, probe->text, probe->len, &match) != expected;
        }
        double each_ns = (double)(sys_now_ns() - start_ns) / ROUNDS;
        best = each_ns < best ? each_ns : best;
        if (wrong != 0) {
            fprintf(stderr, "bench_router: %zu wrong verdicts\n", wrong);
            exit(1);
        }
    }
    return best;
}

/* The probes of every other route from first on, in random order. */
static size_t shuffle(uint32_t *order, size_t first, size_t routes)
{
    size_t count = 0;
    for (size_t n = first; n < routes; n += 2) {
        size_t at = random_below(count + 1);
        order[count] = order[at];
        order[at] = (uint32_t)n;
        count++;
    }
    return count;
}

static void measure_table(size_t routes, const char *pattern_of_kind[2])
{
    static struct probe probes[ROUTES_MAX];
    static uint32_t order[ROUTES_MAX];
    struct router *router = NULL;
    char err[256] = "out of memory";
    int rv = router_create(&router);
    int64_t start_ns = sys_now_ns();
    for (size_t n = 0; n < routes && rv == 0; n++) {
        char pattern[TEXT_MAX];
        make_route(n, pattern, &probes[n]);
        rv = router_add(router, 1U << METHOD_GET, pattern, NULL, "", err, sizeof err);
    }
    if (rv < 0) {
        fprintf(stderr, "bench_router: %s\n", err);
        exit(1);
    }
    printf("%6zu routes, built in %.1f ms\n", routes, (double)(sys_now_ns() - start_ns) / 1e6);
    for (size_t kind = 0; kind < 2; kind++) {
        size_t count = shuffle(order, kind, routes);
        uint32_t one = (uint32_t)kind;
        printf("    %-32s one path %6.1f ns   all paths %6.1f ns\n", pattern_of_kind[kind],
               measure(router, probes, &one, 1, ROUTE_FOUND), measure(router, probes, order, count, ROUTE_FOUND));
    }
    struct probe missing = {.text = "/api/v1/users/list0/7/parts/"};
    missing.len = strlen(missing.text);
    uint32_t first = 0;
    printf("    %-32s one path %6.1f ns\n", "not found", measure(router, &missing, &first, 1, ROUTE_NOT_FOUND));
    router_destroy(router);
}

int main(void)
{
    static const size_t sizes[] = {10, 1000, ROUTES_MAX};
    const char *kinds[2] = {"/api/v1/x/y/summary", "/api/v1/x/y/:id{int}/parts/:name"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        measure_table(sizes[i], kinds);
    }
    return 0;
}
