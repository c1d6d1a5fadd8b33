/* Listening sockets.
 *
 * Happy path: the reactor says READABLE; on_readable() accepts until EAGAIN or until the budget is spent, and hands
 * each connection on.
 *
 * Failure modes: a connection that was reset in the queue (ECONNABORTED and the network errors that accept(2) passes
 * on) is skipped. Out of fds (EMFILE, ENFILE), the pending connections would keep a level-triggered loop spinning and
 * their peers waiting. So the reserve fd is given up, the peer is accepted and closed at once, and the reserve is taken
 * back. If that fails too, or if there is no memory, the listener rests for NET_PAUSE_MS. */

#include "core/net.h"

#include "core/log.h"
#include "core/net_keepalive.h"
#include "core/net_socket.h"
#include "core/net_unix.h"
#include "core/reactor.h"
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

/* Accepting. */

static void on_readable(struct reactor *reactor, int fd, unsigned events, void *arg);

static bool is_awake(const struct net_listener *listener)
{
    return listener->fd >= 0 && !listener->paused && listener->pause_timer == 0;
}

/* Have the reactor report connections, but nothing while the listener sleeps: a socket that was shut down behind our
 * back hangs up forever, which would keep the loop awake. Watching anew reports what waits in both triggering modes. */
static int watch_listener(struct net_listener *listener)
{
    if (!is_awake(listener)) {
        reactor_deregister(listener->reactor, listener->fd);
        return 0;
    }
    unsigned flags = REACTOR_READABLE | (listener->edge ? (unsigned)REACTOR_EDGE : 0U);
    return reactor_register(listener->reactor, listener->fd, flags, on_readable, listener);
}

/* An fd of no use except that it can be closed. A file system without /dev/null is no reason not to serve. */
static int open_reserve(void)
{
    int fd = sys_open(AT_FDCWD, "/dev/null", O_RDONLY);
    return fd >= 0 || sys_is_out_of_fds(fd) ? fd : sys_open(AT_FDCWD, "/", O_PATH | O_DIRECTORY);
}

static void on_rested(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct net_listener *listener = arg;
    listener->pause_timer = 0;
    if (listener->reserve_fd < 0) {
        listener->reserve_fd = open_reserve();
    }
    watch_listener(listener);
}

/* Stop accepting for delay_ms. Without memory for the timer the listener stays awake: a busy loop serves its
 * connections, while a listener that sleeps forever does not. Returns whether it rests. */
static bool rest(struct net_listener *listener, uint32_t delay_ms)
{
    listener->pause_timer = reactor_set_timeout(listener->reactor, delay_ms, on_rested, listener);
    watch_listener(listener);
    return listener->pause_timer != 0;
}

/* Errors of accept(2) that concern one connection, not the listener (accept(2), "Error handling"). */
static bool is_peer_error(int error)
{
    switch (-error) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}

/* Out of fds: accept one connection with the reserve and close it, so that its peer knows. Returns 0 when accepting
 * can go on, -errno of accept(2) otherwise. */
static int turn_away(struct net_listener *listener)
{
    if (!listener->starved) {
        listener->starved = true;
        log_write(listener->log, LOG_ERROR, "out of file descriptors while accepting on %s: turning connections away",
                  listener->name);
    }
    if (listener->reserve_fd < 0) {
        return -EMFILE;
    }
    sys_close(listener->reserve_fd);
    int fd = sys_accept(listener->fd, NULL, NULL);
    if (fd >= 0 && listener->on_turned_away != NULL) {
        listener->on_turned_away(listener->arg, fd);
    } else if (fd >= 0) {
        sys_close(fd);
    }
    listener->reserve_fd = open_reserve();
    return fd < 0 && !is_peer_error(fd) ? fd : 0;
}

/* Accept one connection. Returns 0 to go on, or -errno (-EAGAIN when none is waiting). */
static int accept_one(struct net_listener *listener)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    int fd = sys_accept(listener->fd, (struct sockaddr *)&peer, &len);
    if (sys_is_out_of_fds(fd) && listener->on_starved != NULL && listener->on_starved(listener->arg)) {
        len = sizeof peer;
        fd = sys_accept(listener->fd, (struct sockaddr *)&peer, &len);
    }
    if (fd >= 0) {
        listener->on_accept(listener->arg, fd, (struct sockaddr *)&peer, len);
        return 0;
    }
    if (fd == -EAGAIN) {
        listener->starved = false; /* the kernel looks for an fd before it looks for a connection: there is one */
    }
    if (is_peer_error(fd)) {
        return 0;
    }
    return sys_is_out_of_fds(fd) ? turn_away(listener) : fd;
}

static void on_readable(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)reactor;
    (void)fd;
    struct net_listener *listener = arg;
    if (events & REACTOR_ERROR) {
        rest(listener, NET_PAUSE_MS); /* the reactor could not watch it, and has logged that: try again later */
        return;
    }
    int rv = 0;
    int64_t end_ns = sys_now_ns() + (int64_t)NET_ACCEPT_MS * 1000000;
    for (int left = NET_ACCEPT_BUDGET; rv == 0; left--) {
        if (!is_awake(listener)) {
            return; /* a callee closed or paused the listener */
        }
        if (left < NET_ACCEPT_BUDGET && sys_now_ns() >= end_ns) {
            left = 0;
        }
        /* The budget is spent (R6). Level-triggered, the kernel reports again what waits; edge-triggered, it does so
         * once the listener is watched anew, after a rest of no time. */
        if (left <= 0 && (!listener->edge || rest(listener, 0))) {
            return;
        }
        rv = accept_one(listener);
    }
    if (rv != -EAGAIN) {
        if (!listener->starved) {
            listener->starved = true;
            log_write(listener->log, LOG_ERROR, "cannot accept on %s: %s", listener->name, errno_text(-rv));
        }
        rest(listener, NET_PAUSE_MS);
    }
}

/* Opening and closing. */

static void name_listener(struct net_listener *listener)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    if (sys_socket_name(listener->fd, (struct sockaddr *)&bound, &len) == 0) {
        net_address_format((struct sockaddr *)&bound, len, listener->name);
        listener->port = net_port((struct sockaddr *)&bound);
    }
}

/* The listener has its socket: let it accept. Returns 0, or -errno with a text in err and the listener closed. */
static int start_listener(struct net_listener *listener, char *err, size_t errlen)
{
    if (listener->defers) { /* should the kernel refuse, peers are only accepted earlier */
        sys_set_option(listener->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, NET_SILENT_S);
    }
    listener->reserve_fd = open_reserve();
    int rv = listener->reserve_fd < 0 ? listener->reserve_fd : watch_listener(listener);
    if (rv < 0) {
        error_text(err, errlen, rv, "cannot listen on %s: %s", listener->name, errno_text(-rv));
        net_listener_close(listener);
    }
    return rv;
}

int net_listener_open(struct net_listener *listener, struct reactor *reactor, const struct net_address *address,
                      unsigned flags, net_accept_fn on_accept, void *arg, const struct log *log, char *err,
                      size_t errlen)
{
    bool inherited = address->inherited_fd >= 0;
    bool is_unix = !inherited && address->socket.ss_family == AF_UNIX;
    bool is_handed = !inherited && address->handed_fd > 0;
    *listener = (struct net_listener){.reactor = reactor,
                                      .log = log,
                                      .on_accept = on_accept,
                                      .arg = arg,
                                      .fd = -1,
                                      .reserve_fd = -1,
                                      .edge = (flags & NET_EDGE) != 0,
                                      .defers = (flags & NET_DEFER) != 0 && !inherited && !is_unix,
                                      .shares_port = (flags & NET_SHARED) != 0 && !inherited && !is_unix,
                                      .is_own = !inherited && !(is_unix && (flags & NET_SHARED)),
                                      .is_handed = is_handed,
                                      .lives_on = is_handed}; /* until it is open */
    if (inherited) {
        snprintf(listener->wanted, sizeof listener->wanted, "fd:%d", address->inherited_fd);
    } else {
        net_address_format((const struct sockaddr *)&address->socket, address->len, listener->wanted);
    }
    memcpy(listener->name, listener->wanted, sizeof listener->name);

    int rv = net_socket_open(address, listener->shares_port, &listener->file);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot listen on %s: %s", listener->name, net_socket_error(rv, address));
    }
    listener->fd = rv;
    rv = start_listener(listener, err, errlen);
    if (rv == 0) {
        listener->lives_on = false;
        name_listener(listener);
    }
    return rv;
}

int net_listener_join(struct net_listener *listener, struct reactor *reactor, const struct net_listener *first,
                      int handed_fd, net_accept_fn on_accept, void *arg, const struct log *log, char *err,
                      size_t errlen)
{
    bool is_handed = first->shares_port && handed_fd > 0;
    *listener = (struct net_listener){.reactor = reactor,
                                      .log = log,
                                      .on_accept = on_accept,
                                      .arg = arg,
                                      .fd = -1,
                                      .reserve_fd = -1,
                                      .port = first->port,
                                      .edge = first->edge,
                                      .defers = first->defers,
                                      .shares_port = first->shares_port,
                                      .is_own = first->shares_port,
                                      .is_handed = is_handed,
                                      .lives_on = is_handed};
    memcpy(listener->name, first->name, sizeof listener->name);
    memcpy(listener->wanted, first->wanted, sizeof listener->wanted);
    int rv = is_handed            ? net_socket_adopt(handed_fd)
             : first->shares_port ? net_socket_open_beside(first->fd)
                                  : sys_duplicate(first->fd);
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot open another socket on %s: %s", listener->name, errno_text(-rv));
    }
    listener->fd = rv;
    rv = start_listener(listener, err, errlen);
    listener->lives_on = listener->lives_on && rv < 0;
    return rv;
}

void net_listener_set_keepalive(struct net_listener *listener, uint64_t idle_ms, uint64_t give_up_ms)
{
    if (listener->fd >= 0 && (idle_ms > 0 || listener->keeps_alive)) { /* else an inherited socket keeps what it has */
        listener->keeps_alive = net_keepalive_set(listener->fd, idle_ms, give_up_ms) == 0 && idle_ms > 0;
    }
}

void net_listener_pause(struct net_listener *listener)
{
    listener->paused = true;
    watch_listener(listener);
}

void net_listener_resume(struct net_listener *listener)
{
    listener->paused = false;
    if (watch_listener(listener) < 0) {
        rest(listener, NET_PAUSE_MS);
    }
}

void net_listener_finish(struct net_listener *listener)
{
    int rv = listener->fd < 0 ? -EBADF : 0;
    for (int i = 0; i < NET_BACKLOG && rv == 0; i++) {
        rv = accept_one(listener);
    }
    net_listener_close(listener);
}

void net_listener_abandon(struct net_listener *listener)
{
    if (listener->fd >= 0) {
        sys_close(listener->fd);
        listener->fd = -1;
    }
    if (listener->reserve_fd >= 0) {
        sys_close(listener->reserve_fd);
        listener->reserve_fd = -1;
    }
    net_unix_abandon(&listener->file);
}

void net_listener_leave(struct net_listener *listener)
{
    listener->lives_on = true;
}

/* A forked child may have the socket too, and it would go on taking connections that nobody accepts. So it is shut
 * down, unless it is shared on purpose. */
void net_listener_close(struct net_listener *listener)
{
    if (listener->fd < 0) {
        return;
    }
    if (listener->pause_timer != 0) {
        reactor_cancel_timer(listener->reactor, listener->pause_timer);
        listener->pause_timer = 0;
    }
    reactor_deregister(listener->reactor, listener->fd);
    if (!listener->lives_on) {
        net_unix_remove(&listener->file);
    }
    if (listener->is_own && !listener->lives_on) {
        sys_shutdown(listener->fd);
    }
    net_listener_abandon(listener);
}
