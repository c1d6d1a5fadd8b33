/* A host whose own loop watches the one fd of a server with HTTPS: what TLS has read ahead must not be forgotten,
 * although no event of a socket tells of it.
 *
 *     polled_https CERT KEY */

#include <evserve.h>

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int stopping;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stopping, 1);
}

static void serve(evs_request *request, void *arg)
{
    (void)arg;
    size_t len;
    const void *body = evs_body(request, &len);
    evs_reply(request, 200, "text/plain", body, len);
}

int main(int argc, char **argv)
{
    const struct evs_certificate certificates[] = {{.cert_file = argc > 2 ? argv[1] : "",
                                                    .key_file = argc > 2 ? argv[2] : ""},
                                                   {.cert_file = NULL}};
    const struct evs_route routes[] = {{.route = "GET,POST /", .serve = serve}, {.route = NULL}};
    const struct evserve_config config = {
        .size = sizeof config,
        .listen = "127.0.0.1:0?tls",
        .certificates = certificates,
        .routes = routes,
    };
    char err[EVSERVE_ERROR_MAX];
    evserve *server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    struct pollfd watched = {.fd = evserve_fd(server), .events = POLLIN};
    int is_told = 0;
    do { /* the server is only asked when its fd says so */
        if (poll(&watched, 1, 100) <= 0) {
            watched.revents = 0;
        }
        if (atomic_load(&stopping) && !is_told) {
            evserve_stop(server, 1000);
            is_told = 1;
        }
    } while (watched.revents == 0 || evserve_poll(server, 0) > 0);
    evserve_free(server);
    return 0;
}
