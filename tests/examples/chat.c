/* A chat: each message that a client sends to a room is sent to all clients of the room, whichever thread serves them.
 *
 *     ./chat 127.0.0.1:8080      then in the consoles of two browser tabs of http://127.0.0.1:8080/
 *
 *     ws = new WebSocket("ws://" + location.host + "/rooms/tea"); ws.onmessage = event => console.log(event.data)
 *     ws.send("hello")
 */

#include "evserve.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static evserve *server;

static void on_open(evs_ws *ws, void *room)
{
    evs_ws_subscribe(ws, room, 0); /* from here on, the server sends it what is published, without a call of ours */
}

static void on_message(evs_ws *ws, int kind, const void *data, size_t len, void *room)
{
    if (kind == EVS_WS_TEXT && evserve_publish(evs_ws_server(ws), room, data, len) == 0) {
        return;
    }
    evs_ws_close(ws, 1008, "texts of at most 1 MiB, please");
}

static void on_close(evs_ws *ws, int code, const char *reason, void *room)
{
    (void)ws;
    (void)code;
    (void)reason;
    free(room); /* exactly once for each evs_websocket() that returned 0 */
}

static void serve_room(evs_request *request, void *arg)
{
    (void)arg;
    char *room = strdup(evs_param(request, "room")); /* the request ends with the upgrade */
    const struct evs_ws_callbacks chat = {.size = sizeof chat,
                                          .arg = room,
                                          .on_open = on_open,
                                          .on_message = on_message,
                                          .on_close = on_close,
                                          .max_message = 4096};
    if (room == NULL) {
        evs_reply(request, 500, NULL, NULL, 0);
    } else if (evs_websocket(request, &chat) != 0) {
        free(room); /* the client has got a response that says why */
    }
}

static void serve_page(evs_request *request, void *arg)
{
    (void)arg;
    static const char page[] = "<!doctype html><title>Chat</title><p>Open the console.";
    evs_reply(request, 200, "text/html; charset=utf-8", page, sizeof page - 1);
}

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 5000); /* clients get close code 1001 */
}

int main(int argc, char **argv)
{
    const struct evs_route routes[] = {{.route = "GET /", .serve = serve_page},
                                       {.route = "GET /rooms/:room{slug}", .serve = serve_room},
                                       {.route = NULL}};
    struct evserve_config config = {.size = sizeof config,
                                    .listen = argc > 1 ? argv[1] : "127.0.0.1:8080",
                                    .routes = routes,
                                    .reactors = 2};
    char err[EVSERVE_ERROR_MAX];
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "chat: %s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    evserve_wait(server);
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return 0;
}
