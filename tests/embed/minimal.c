/* The smallest host: serves the directory named on the command line until SIGINT or SIGTERM. */

#include "evserve.h"

#include <signal.h>
#include <stdio.h>

static evserve *server;

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

int main(int argc, char **argv)
{
    struct evserve_config config = {
        .size = sizeof config,
        .listen = "127.0.0.1:0",
        .root = argc > 1 ? argv[1] : "public",
    };
    char err[EVSERVE_ERROR_MAX];
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    int cut = evserve_wait(server);
    evserve_free(server);
    return cut == 0 ? 0 : 1;
}
