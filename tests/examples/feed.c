/* A host that uses the server's own loop: it sends each line from standard input to every client of GET /feed
 * (server-sent events), and a comment every second, so that proxies keep idle connections open. No threads or locks. */

#include "evserve.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LISTENERS_MAX = 1000 };

static evserve *server;
static evs_ticket listeners[LISTENERS_MAX]; /* tickets never dangle, so clients need not be removed when they leave */
static size_t listener_count;
static int64_t input; /* the watch of standard input */

static void send_to_all(const char *text, size_t len)
{
    size_t left = 0;
    for (size_t i = 0; i < listener_count; i++) {
        int rv = evserve_write_to(server, listeners[i], text, len);
        if (rv == 0) {
            evserve_abort_to(server, listeners[i]); /* too slow for a live feed; the client may reconnect */
        } else if (rv > 0) {
            listeners[left++] = listeners[i];
        }
    }
    listener_count = left;
}

static void on_second(void *arg)
{
    (void)arg;
    send_to_all(":\n\n", 3);
}

static void on_input(int fd, unsigned events, int error, void *arg)
{
    (void)events;
    (void)arg;
    char line[1000], event[1100];
    ssize_t len = error < 0 ? 0 : read(fd, line, sizeof line); /* a regular file cannot be watched: -EPERM */
    if (len <= 0) {
        evserve_cancel(server, input); /* the input has ended; the server goes on */
        return;
    }
    for (char *at = line, *end; at < line + len; at = end + 1) {
        end = memchr(at, '\n', (size_t)(line + len - at));
        end = end == NULL ? line + len : end;
        int size = snprintf(event, sizeof event, "data: %.*s\n\n", (int)(end - at), at);
        send_to_all(event, (size_t)size);
    }
}

static void serve_feed(evs_request *request, void *arg)
{
    (void)arg;
    evs_ticket ticket = listener_count < LISTENERS_MAX ? evs_defer(request) : 0;
    if (ticket == 0) {
        evs_reply(request, 503, NULL, NULL, 0);
        return;
    }
    evs_begin(request, 200, "text/event-stream", -1);
    listeners[listener_count++] = ticket;
}

static void on_signal(int number)
{
    (void)number;
    evserve_stop(server, 0);
}

int main(void)
{
    const struct evs_route routes[] = {{.route = "GET /feed", .serve = serve_feed}, {.route = NULL}};
    struct evserve_config config = {.size = sizeof config, .listen = "127.0.0.1:0", .routes = routes};
    char err[EVSERVE_ERROR_MAX];
    server = evserve_start(&config, err, sizeof err);
    if (server == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    signal(SIGTERM, on_signal);
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    input = evserve_watch(server, 0, STDIN_FILENO, EVS_READABLE, on_input, NULL);
    if (input < 0 || evserve_every(server, 0, 1000, on_second, NULL) < 0) {
        fprintf(stderr, "cannot watch standard input\n");
        return 1;
    }
    fprintf(stderr, "listening on %s\n", evserve_address(server, 0));
    evserve_wait(server);
    signal(SIGTERM, SIG_IGN); /* the handler uses a server that is about to be freed */
    evserve_free(server);
    return 0;
}
