/* A host that echoes what its WebSockets send, on one thread, for tests/bench/bench_ws.py.
 *
 *     ws_echo
 *
 * The port is printed. It ends with its standard input. */

#include "evserve.h"

#include <stdio.h>

static void echo(evs_ws *ws, int kind, const void *data, size_t len, void *arg)
{
    (void)arg;
    evs_ws_send(ws, kind, data, len);
}

static void serve_echo(evs_request *request, void *arg)
{
    (void)arg;
    const struct evs_ws_callbacks socket = {.size = sizeof socket, .on_message = echo, .ping_ms = EVSERVE_ZERO};
    evs_websocket(request, &socket);
}

int main(void)
{
    static const struct evs_route routes[] = {{.route = "GET /echo", .serve = serve_echo}, {.route = NULL}};
    const struct evserve_config config = {.size = sizeof config,
                                          .routes = routes,
                                          .listen = "127.0.0.1:0",
                                          .reactors = 1};
    char err[EVSERVE_ERROR_MAX];
    evserve *server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    printf("%d\n", evserve_port(server, 0));
    fflush(stdout);
    while (getchar() != EOF) {
    }
    evserve_stop(server, 0);
    (void)evserve_wait(server);
    evserve_free(server);
    return 0;
}
