/* Happy path: a pair of sockets, one end adopted by the server, the other one the client's; both take turns until the
 * response is complete.
 *
 * Failure modes: a timeout, a response that ends early, and standard output that cannot be written are each a line in
 * the log, and exit status 1. */

#include "core/program/serve_request.h"

#include "core/log.h"
#include "core/program/command_line.h"
#include "core/program/log_stream.h"
#include "core/program/request_client.h"
#include "core/sys.h"
#include "core/units.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_TIMEOUT_S = 30 };

/* Copy a file to its end. from is NULL for a file that could not be opened. */
static bool copy_file(FILE *to, FILE *from)
{
    char block[4096];
    size_t len;
    while (from != NULL && (len = fread(block, 1, sizeof block, from)) > 0) {
        fwrite(block, 1, len, to);
    }
    return from != NULL && !ferror(from);
}

/* Append the content to text: that of a file for "@FILE". Returns false when it cannot be read. */
static bool write_body(FILE *text, const char *body)
{
    if (body[0] != '@') {
        return fputs(body, text) >= 0;
    }
    if (strcmp(body, "@-") == 0) {
        return copy_file(text, stdin);
    }
    FILE *file = fopen(body + 1, "rbe");
    bool is_read = copy_file(text, file);
    if (file != NULL) {
        fclose(file);
    }
    return is_read;
}

bool serve_request_read_body(struct command_line *options)
{
    FILE *text = open_memstream(&options->content, &options->content_len);
    bool is_read = text != NULL && write_body(text, options->body);
    if (text != NULL) {
        fclose(text);
    }
    return is_read;
}

static void print_response(void *arg, const char *data, size_t len)
{
    (void)arg;
    fwrite(data, 1, len, stdout);
}

static int64_t clock_ms(void)
{
    return sys_now_ns() / NS_PER_MS;
}

/* Run the server until the response is complete. Returns NULL, or what went wrong. */
static const char *run_exchange(evserve *server, int fd, struct request_client *client, unsigned timeout_s)
{
    int64_t end_ms = clock_ms() + timeout_s * 1000LL;
    enum request_progress progress = REQUEST_WAITS;
    while (progress == REQUEST_WAITS) {
        int64_t left_ms = end_ms - clock_ms();
        short wanted = request_client_wants_room(client) ? POLLIN | POLLOUT : POLLIN;
        struct pollfd fds[] = {{.fd = fd, .events = wanted}, {.fd = evserve_fd(server), .events = POLLIN}};
        if (left_ms <= 0) {
            return "no complete response before the timeout";
        }
        poll(fds, 2, (int)left_ms);
        if (evserve_poll(server, 0) < 0) {
            return "the event loop failed";
        }
        progress = request_client_advance(client);
        if (fflush(stdout) != 0) {
            return "cannot write to standard output";
        }
    }
    return progress == REQUEST_ANSWERED ? NULL : "the connection was closed before the response was complete";
}

/* Connect the client to the server, and run the exchange. Returns NULL, or what went wrong. */
static const char *ask(evserve *server, const struct command_line *options, int *status)
{
    const struct request_text text = {
        .request = options->request,
        .headers = options->headers,
        .header_count = options->header_count,
        .body = options->content,
        .body_len = options->content_len,
    };
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
        return errno_text(errno);
    }
    struct request_client *client = NULL;
    int rv = evserve_adopt(server, fds[1]);
    rv = rv < 0 ? rv : request_client_create(&client, fds[0], &text, print_response, NULL);
    const char *error = rv < 0 ? errno_text(-rv)
                               : run_exchange(server, fds[0], client,
                                              options->timeout_s == 0 ? REQUEST_TIMEOUT_S : options->timeout_s);
    *status = client == NULL ? 0 : request_client_status(client);
    request_client_destroy(client);
    close(fds[0]);
    return error;
}

int serve_request(evserve *server, const struct command_line *options, uint32_t drain_ms, struct log_stream *log)
{
    int status = 0;
    log_stream_release(log);
    const char *error = ask(server, options, &status);
    evserve_poll(server, 0); /* a handler that is still at work learns that its client has left: no stop has cut it */
    if (error != NULL) {
        char line[256];
        snprintf(line, sizeof line, "evserve: %s", error);
        log_stream_print(log, LOG_ERROR, line);
    }
    evserve_stop(server, error == NULL ? drain_ms : 0);
    evserve_wait(server); /* for what the script does when it stops */
    return error == NULL && status < 400 ? EXIT_SUCCESS : EXIT_FAILURE;
}
