/* Streams with back-pressure. GET /count?to=N sends the numbers from 1 to N, one per line, as fast as the client reads
 * them and no faster. GET /clock sends a line every 100 ms, as server-sent events, until the server stops. Both need
 * only a few kilobytes of memory, however large N is. Two threads serve requests. */

#include "evserve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct count {
    unsigned long next, last; /* the numbers still to be sent */
};

static evserve *server;

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

/* Write until the client falls behind (EVS_DRAIN will call again), has gone, or has everything. */
static void write_numbers(evs_request *request, struct count *count)
{
    int rv = 1;
    while (rv > 0 && count->next <= count->last) {
        char line[32];
        int len = snprintf(line, sizeof line, "%lu\n", count->next++);
        rv = evs_write(request, line, (size_t)len);
    }
    if (rv > 0) {
        evs_end(request); /* no more events follow */
        free(count);
    }
}

static void on_count_event(evs_request *request, int event, void *arg)
{
    if (event == EVS_DRAIN) {
        write_numbers(request, arg);
    } else if (event == EVS_GONE) {
        free(arg);
    }
}

static void serve_count(evs_request *request, void *arg)
{
    (void)arg;
    const char *to = evs_query(request, "to");
    struct count *count = malloc(sizeof *count);
    if (count == NULL) {
        evs_reply(request, 503, NULL, NULL, 0);
        return;
    }
    *count = (struct count){.next = 1, .last = to == NULL ? 10 : strtoul(to, NULL, 10)};
    evs_on(request, on_count_event, count);
    evs_begin(request, 200, "text/plain", -1);
    write_numbers(request, count);
}

static void on_clock_event(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_TIMER && evs_write(request, "data: tick\n\n", 12) >= 0) {
        evs_after(request, 100);
    } else if (event == EVS_STOPPING) {
        evs_end(request); /* the client gets a proper end, and the server need not wait */
    }
}

static void serve_clock(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, on_clock_event, NULL);
    evs_begin(request, 200, "text/event-stream", -1);
    evs_after(request, 0);
}

int main(void)
{
    const struct evs_route routes[] = {
        {.route = "GET /count", .serve = serve_count},
        {.route = "GET /clock", .serve = serve_clock},
        {.route = NULL},
    };
    struct evserve_config config = {.size = sizeof config, .listen = "127.0.0.1:0", .routes = routes, .reactors = 2};
    char err[EVSERVE_ERROR_MAX];
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    evserve_wait(server);     /* a count that is cut is not a failure */
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return 0;
}
