/* A program with an event loop of its own and a server beside it. */

#include "core/reactor.h"
#include <evserve.h>

#include <stdio.h>

static void on_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    evserve_stop(arg, 0);
    reactor_stop(reactor);
}

int main(void)
{
    struct evserve_config config = {.size = sizeof config, .listen = "127.0.0.1:0", .root = "."};
    char err[EVSERVE_ERROR_MAX];
    struct reactor *reactor = NULL;
    evserve *server = evserve_start(&config, err, sizeof err);
    if (server == NULL || reactor_create(&reactor, NULL) < 0) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    reactor_set_timeout(reactor, 1, on_timer, server);
    if (reactor_run(reactor) < 0 || evserve_wait(server) != 0) {
        return 1;
    }
    reactor_destroy(reactor);
    evserve_free(server);
    puts("both");
    return 0;
}
