/* A host with its user interface compiled in, by evserve_embed(). */

#include "ui_assets.h"

#include <signal.h>
#include <stdio.h>

static evserve *server;

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 1000);
}

int main(void)
{
    struct evs_mount mounts[2] = {{0}};
    struct evserve_config config = {0};
    char err[EVSERVE_ERROR_MAX];
    mounts[0].prefix = "/";
    mounts[0].assets = ui_assets;
    config.size = sizeof config;
    config.listen = "127.0.0.1:0";
    config.mounts = mounts;
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    evserve_wait(server);
    evserve_free(server);
    return 0;
}
