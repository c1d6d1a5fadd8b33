/* A host on libevent: the server is one event in its base. */

#include "evserve.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>

struct host {
    evserve *server;
    struct event_base *base;
    int result; /* the last result of evserve_poll() */
};

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    struct host *host = arg;
    evserve_stop(host->server, 1000);
}

static void on_server(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct host *host = arg;
    host->result = evserve_poll(host->server, 0);
    if (host->result <= 0) {
        event_base_loopbreak(host->base);
    }
}

int main(int argc, char **argv)
{
    struct evserve_config config = {
        .size = sizeof config,
        .listen = "127.0.0.1:0",
        .root = argc > 1 ? argv[1] : "public",
        .idle_timeout_ms = 300,
    };
    char err[EVSERVE_ERROR_MAX];
    struct host host = {.server = evserve_start(&config, err, sizeof err)};
    if (host.server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    host.base = event_base_new();
    struct event *server_event = event_new(host.base, evserve_fd(host.server), EV_READ | EV_PERSIST, on_server, &host);
    struct event *signal_event = evsignal_new(host.base, SIGTERM, on_signal, &host);
    event_add(server_event, NULL);
    event_add(signal_event, NULL);
    fprintf(stderr, "listening on %s\n", evserve_address(host.server, 0));

    event_base_dispatch(host.base);
    event_free(server_event);
    event_free(signal_event);
    event_base_free(host.base);
    evserve_free(host.server);
    return host.result == 0 ? 0 : 1;
}
