/* The smallest host: serves the directory named on the command line. */
#include "evserve.h"
#include <stdio.h>

int main(int argc, char **argv)
{
    struct evserve_config config = {.size = sizeof config, .listen = "127.0.0.1:0", .root = argv[argc - 1]};
    char err[EVSERVE_ERROR_MAX];
    evserve *server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    int cut = evserve_wait(server);
    evserve_free(server);
    return cut != 0;
}
