/* A host with a compiled-in user interface: evserve_embed(embedded_ui ../public ui) in CMake compiles the folder
 * public/ into the program, so it needs no files when it runs. A route in C provides the data for the pages. */
#include "ui_assets.h"
#include <signal.h>
#include <stdio.h>

static evserve *server;

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

static void get_state(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "application/json", "{\"state\":\"fine\"}\n", 17);
}

int main(void)
{
    const struct evs_mount mounts[] = {{.prefix = "/", .assets = ui_assets, .cache_s = 60}, {.prefix = NULL}};
    const struct evs_route routes[] = {{.route = "GET /api/state", .serve = get_state}, {.route = NULL}};
    struct evserve_config config = {.size = sizeof config, .listen = "127.0.0.1:0", .mounts = mounts, .routes = routes};
    char err[EVSERVE_ERROR_MAX];
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    int cut = evserve_wait(server);
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return cut != 0;
}
