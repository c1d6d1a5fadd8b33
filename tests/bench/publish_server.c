/* A host whose clients are WebSockets that subscribe to one topic, for tests/bench/bench_publish.py.
 *
 *     publish_server
 *
 * The port is printed. Each line on standard input publishes 64 bytes. It ends with its standard input. */

#include "evserve.h"

#include <stdio.h>
#include <string.h>

enum { PAYLOAD_BYTES = 64 };

static void on_open(evs_ws *ws, void *arg)
{
    (void)arg;
    if (evs_ws_subscribe(ws, "bench", 0) < 0) {
        evs_ws_close(ws, 1011, "not subscribed");
    }
}

static void serve_topic(evs_request *request, void *arg)
{
    (void)arg;
    const struct evs_ws_callbacks socket = {.size = sizeof socket, .on_open = on_open, .ping_ms = EVSERVE_ZERO};
    evs_websocket(request, &socket);
}

int main(void)
{
    static const struct evs_route routes[] = {{.route = "GET /topic", .serve = serve_topic}, {.route = NULL}};
    const struct evserve_config config = {.size = sizeof config,
                                          .routes = routes,
                                          .listen = "127.0.0.1:0",
                                          .reactors = 1};
    char err[EVSERVE_ERROR_MAX], line[64], text[PAYLOAD_BYTES];
    evserve *server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    printf("%d\n", evserve_port(server, 0));
    fflush(stdout);
    memset(text, 'x', sizeof text);
    while (fgets(line, sizeof line, stdin) != NULL) {
        int rv = evserve_publish(server, "bench", text, sizeof text);
        if (rv < 0) {
            fprintf(stderr, "evserve_publish: %s\n", strerror(-rv));
            return 1;
        }
    }
    evserve_stop(server, 0);
    (void)evserve_wait(server);
    evserve_free(server);
    return 0;
}
