/* A host with its own poll(2) loop: the server is one fd in it, beside the host's fd for signals. */

#include "evserve.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct evserve_config config = {
        .size = sizeof config,
        .listen = "127.0.0.1:0",
        .root = argc > 1 ? argv[1] : "public",
        .idle_timeout_ms = 300,
    };
    char err[EVSERVE_ERROR_MAX];
    evserve *server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct pollfd fds[] = {
        {.fd = evserve_fd(server), .events = POLLIN},
        {.fd = signalfd(-1, &signals, SFD_CLOEXEC), .events = POLLIN},
    };
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));

    int rv = 1;
    while (rv > 0 && poll(fds, 2, -1) > 0) {
        struct signalfd_siginfo info;
        if (fds[1].revents != 0 && read(fds[1].fd, &info, sizeof info) > 0) {
            evserve_stop(server, 1000);
        }
        if (fds[0].revents != 0) {
            rv = evserve_poll(server, 0);
        }
    }
    close(fds[1].fd);
    evserve_free(server);
    return rv == 0 ? 0 : 1;
}
