/* An echo server on the reactor library alone (core/, evserve::reactor), level- or edge-triggered:
 *
 *     echo --mode=lt|et [--listen ADDR]       ADDR as in core/net.h; 127.0.0.1:0 by default
 *
 * It also shows how to use the library. Things to look for:
 *  - connection_advance() is the whole protocol: read, write, then register the events to wait for;
 *  - if a peer does not read its echo, the server stops reading from it (HIGH_MARK), so memory is bounded;
 *  - a busy peer gets ROUNDS_MAX rounds and then waits for its next turn, so that others get theirs;
 *  - when a peer ends its stream, the connection stays open until all queued data is sent;
 *  - level-triggered, a connection registers exactly the events it waits for; edge-triggered, it registers all events
 *    once, remembers those reported, and must continue by itself until the kernel returns EAGAIN. */

#include "core/log.h"
#include "core/mem.h"
#include "core/net.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/write_buffer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    READ_BYTES = 16384, /* read by one recv(2) */
    HIGH_MARK = 65536,  /* of unsent echo, at which reading stops */
    ROUNDS_MAX = 8,     /* of reading and writing in one callback */
};

struct echo {
    struct reactor *reactor;
    struct net_listener listener;
    struct connection *connections; /* all open ones */
    bool edge;                      /* --mode=et */
};

struct connection {
    struct echo *echo;
    struct connection *previous, *next; /* in echo->connections */
    struct write_buffer out;            /* echo that the peer has not read */
    int fd;                             /* -1 once closed */
    bool readable;                      /* recv(2) may have data */
    bool ended;                         /* the peer has ended its stream */
    bool deferred;                      /* on_turn() is scheduled with a pointer to this */
};

static void connection_free(struct connection *c)
{
    if (c->next != NULL) {
        c->next->previous = c->previous;
    }
    *(c->previous != NULL ? &c->previous->next : &c->echo->connections) = c->next;
    write_buffer_done(&c->out);
    mem_free(c);
}

/* A task cannot be cancelled: if one is scheduled, it frees the connection. */
static void connection_close(struct connection *c)
{
    reactor_close(c->echo->reactor, c->fd);
    c->fd = -1;
    if (!c->deferred) {
        connection_free(c);
    }
}

static bool connection_can_read(const struct connection *c)
{
    return c->readable && !c->ended && write_buffer_len(&c->out) < HIGH_MARK;
}

/* Read once, directly into the output buffer. */
static int connection_read(struct connection *c)
{
    int rv = 0;
    char *room = write_buffer_reserve(&c->out, READ_BYTES, HIGH_MARK + READ_BYTES, &rv);
    if (room == NULL) {
        return rv;
    }
    ssize_t len = sys_recv(c->fd, room, READ_BYTES);
    if (len == -EAGAIN) {
        c->readable = false;
        return 0;
    }
    if (len < 0) {
        return len == -EINTR ? 0 : (int)len;
    }
    c->ended = len == 0;
    c->readable = c->echo->edge || len == READ_BYTES; /* level-triggered, the kernel reports remaining data again */
    write_buffer_commit(&c->out, (size_t)len);
    return 0;
}

static void on_turn(struct reactor *reactor, void *arg);
static void on_event(struct reactor *reactor, int fd, unsigned events, void *arg);

/* Register the events to wait for next. */
static int connection_wait(struct connection *c)
{
    struct reactor *reactor = c->echo->reactor;
    if (!c->echo->edge) {
        bool wants_read = !c->ended && write_buffer_len(&c->out) < HIGH_MARK;
        bool wants_write = write_buffer_len(&c->out) > 0;
        unsigned flags = (wants_read ? REACTOR_READABLE : 0U) | (wants_write ? REACTOR_WRITABLE : 0U);
        return reactor_register(reactor, c->fd, flags, on_event, c);
    }
    if (connection_can_read(c) && !c->deferred) { /* out of rounds before EAGAIN: the rest brings no new edge */
        int rv = reactor_defer(reactor, on_turn, c);
        c->deferred = rv == 0;
        return rv;
    }
    return 0;
}

static void connection_advance(struct connection *c)
{
    int rv = 0;
    int rounds = 0;
    do {
        rv = connection_can_read(c) ? connection_read(c) : 0;
        if (rv == 0) {
            rv = write_buffer_flush(&c->out, c->fd, HIGH_MARK + READ_BYTES, false);
        }
    } while (rv >= 0 && connection_can_read(c) && ++rounds < ROUNDS_MAX);

    bool is_done = c->ended && write_buffer_len(&c->out) == 0;
    if (rv < 0 || is_done || connection_wait(c) < 0) {
        connection_close(c);
    }
}

static void on_turn(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct connection *c = arg;
    c->deferred = false;
    if (c->fd < 0) {
        connection_free(c);
    } else {
        connection_advance(c);
    }
}

static void on_event(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)fd;
    struct connection *c = arg;
    if (events & (REACTOR_ERROR | REACTOR_HANGUP)) {
        connection_close(c);
        return;
    }
    c->readable = c->readable || (events & REACTOR_READABLE);
    connection_advance(c);
}

static void on_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    (void)peer;
    (void)peer_len;
    struct echo *echo = arg;
    struct connection *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        sys_close(fd);
        return;
    }
    *c = (struct connection){.echo = echo, .next = echo->connections, .fd = fd};
    write_buffer_init(&c->out);
    if (c->next != NULL) {
        c->next->previous = c;
    }
    echo->connections = c;
    unsigned flags = REACTOR_READABLE | (echo->edge ? REACTOR_WRITABLE | REACTOR_EDGE : 0U);
    if (reactor_register(echo->reactor, fd, flags, on_event, c) < 0) {
        connection_close(c);
    }
}

static void on_log(void *arg, int level, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s: %s\n", log_level_name(level), line);
}

static struct reactor *signalled; /* signal handlers have no argument for it */

static void on_signal(int number)
{
    (void)number;
    reactor_stop(signalled);
}

/* Run until a signal arrives. */
static int serve(struct echo *echo)
{
    signalled = echo->reactor;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    fprintf(stderr, "listening on %s\n", echo->listener.name);
    int rv = reactor_run(echo->reactor);
    signal(SIGTERM, SIG_IGN); /* the reactor that the handler uses is about to be destroyed */
    signal(SIGINT, SIG_IGN);
    net_listener_close(&echo->listener);
    while (echo->connections != NULL) {
        reactor_close(echo->reactor, echo->connections->fd);
        connection_free(echo->connections);
    }
    return rv;
}

/* Returns false on a usage error. */
static bool parse_options(int argc, char **argv, bool *edge, const char **listen)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mode=lt") == 0 || strcmp(argv[i], "--mode=et") == 0) {
            *edge = argv[i][7] == 'e';
        } else if (strncmp(argv[i], "--listen=", 9) == 0) {
            *listen = argv[i] + 9;
        } else if (strcmp(argv[i], "--listen") == 0 && i + 1 < argc) {
            *listen = argv[++i];
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct echo echo = {0};
    struct log log = {.sink = on_log, .level = LOG_INFO};
    struct net_address address;
    const char *listen = "127.0.0.1:0";
    char err[256] = "usage: echo --mode=lt|et [--listen ADDR]";
    if (!parse_options(argc, argv, &echo.edge, &listen) || net_address_parse(&address, listen, err, sizeof err) < 0) {
        fprintf(stderr, "echo: %s\n", err);
        return 2;
    }
    int rv = reactor_create(&echo.reactor, &log);
    if (rv < 0) {
        error_text(err, sizeof err, rv, "cannot create a reactor: %s", strerror(-rv));
    } else {
        rv = net_listener_open(&echo.listener, echo.reactor, &address, echo.edge, on_accept, &echo, &log, err,
                               sizeof err);
    }
    if (rv == 0 && (rv = serve(&echo)) < 0) {
        error_text(err, sizeof err, rv, "cannot wait for events: %s", strerror(-rv));
    }
    if (rv < 0) {
        fprintf(stderr, "echo: %s\n", err);
    }
    reactor_destroy(echo.reactor);
    return rv < 0 ? 1 : 0;
}
