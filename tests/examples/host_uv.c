/* A host on libuv: the server is one poll handle in its loop. */

#include "evserve.h"

#include <signal.h>
#include <stdio.h>
#include <uv.h>

struct host {
    evserve *server;
    uv_poll_t poll;       /* the server's fd */
    uv_signal_t signal;   /* SIGTERM */
    uv_timer_t heartbeat; /* some other work of the host */
    unsigned beats;
    int result; /* the last result of evserve_poll() */
};

static void on_signal(uv_signal_t *signal, int number)
{
    (void)number;
    struct host *host = signal->data;
    evserve_stop(host->server, 1000);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct host *host = timer->data;
    host->beats++;
}

static void on_server(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct host *host = poll->data;
    host->result = evserve_poll(host->server, 0);
    if (host->result <= 0) { /* stopped: uv_run() returns once there is nothing left to watch */
        uv_close((uv_handle_t *)&host->poll, NULL);
        uv_close((uv_handle_t *)&host->signal, NULL);
        uv_close((uv_handle_t *)&host->heartbeat, NULL);
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
    uv_loop_t loop;
    uv_loop_init(&loop);
    uv_poll_init(&loop, &host.poll, evserve_fd(host.server));
    uv_signal_init(&loop, &host.signal);
    uv_timer_init(&loop, &host.heartbeat);
    host.poll.data = host.signal.data = host.heartbeat.data = &host;
    uv_poll_start(&host.poll, UV_READABLE, on_server);
    uv_signal_start(&host.signal, on_signal, SIGTERM);
    uv_timer_start(&host.heartbeat, on_heartbeat, 10, 10);
    fprintf(stderr, "listening on %s\n", evserve_address(host.server, 0));

    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    evserve_free(host.server);
    return host.result == 0 ? 0 : 1;
}
