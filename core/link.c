/* Happy path: a socket that connects, registered once; the user writes, wants to read, is called, and reads. The
 * registration is edge-triggered (core/transport.h), so a kept connection costs one wait, one send and one receive a
 * round trip.
 *
 * Failure modes: whatever the kernel says while it connects is kept and told by on_open. Later failures are told by the
 * call that meets them. */

#include "core/link.h"

#include "core/approach.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/tls_client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/un.h>

struct link {
    struct links *links;      /* that it is one of */
    struct link *next, *prev; /* in their list */
    const struct link_user *user;
    void *arg; /* for user */
    struct transport transport;
    struct approach *approach;    /* while it is looked for by its name, and after that has failed; else NULL */
    struct reactor_task task;     /* calls user when no event of the socket will */
    struct sockaddr_storage peer; /* that it connects with */
    socklen_t peer_len;           /* 0: nobody knows */
    struct link_hello *hello;     /* until TLS has begun, or NULL */
    const char *failure;          /* static text, or of the transport; NULL: errno_text(error) */
    int error;                    /* -errno: it has failed before it was open; else 0 */
    int broken;             /* -errno that the reactor has taken from the socket since, for the next call; else 0 */
    uint8_t stage;          /* enum link_stage */
    uint8_t wanted;         /* what the user waits for */
    uint8_t interest;       /* what the reactor watches */
    bool is_registered : 1; /* with the reactor */
    bool has_input : 1;     /* the socket has become readable, and was not read since */
    bool ignores_input : 1; /* it did so while nobody wanted that: the level is not watched until somebody does */
    bool tells_open : 1;    /* the task calls on_open, */
    bool tells_input : 1;   /* or on_ready, */
    bool flushes : 1;       /* or sends our last words of the handshake, which nothing was sent with */
};

static void on_link_event(struct reactor *reactor, int fd, unsigned events, void *arg);

static struct reactor *link_reactor(const struct link *link)
{
    return link->links->reactor;
}

/* Watching. */

/* Ask the reactor for what is wanted, and for input even if nobody wants it: to take that back and ask for it again
 * would cost two system calls a round trip. Returns 0 or -errno. */
static int update_link_interest(struct link *link)
{
    unsigned interest = transport_interest(&link->transport, link->wanted, !link->ignores_input, true);
    if (link->is_registered && interest == link->interest) {
        return 0;
    }
    int rv = reactor_register(link_reactor(link), link->transport.fd, interest, on_link_event, link);
    if (rv == 0) {
        link->is_registered = true;
        link->interest = (uint8_t)interest;
    }
    return rv;
}

static void stop_watching(struct link *link)
{
    if (link->is_registered) {
        reactor_deregister(link_reactor(link), link->transport.fd);
        link->is_registered = false;
    }
}

int link_want(struct link *link, unsigned events)
{
    assert(link->stage == LINK_OPEN && link->error == 0);
    link->wanted = (uint8_t)events;
    if (events == 0) {
        return 0; /* what the reactor watches is left as it is: it will be wanted again, most often */
    }
    link->ignores_input = false;
    bool has_more = link->has_input || link->transport.holds_input || link->transport.may_have_more ||
                    link->transport.is_at_end;
    if ((events & (unsigned)REACTOR_READABLE) != 0 && has_more && !link->transport.holds_output) {
        link->tells_input = true;
        reactor_schedule(link_reactor(link), &link->task);
    }
    int rv = update_link_interest(link);
    if (rv < 0) {
        link->wanted = 0;
    }
    return rv;
}

/* Call the user for those of events that are wanted. link may be gone when this returns. */
static void tell_ready(struct link *link, unsigned events)
{
    events &= link->wanted;
    if (events != 0) {
        link->wanted = 0;
        link->user->on_ready(link->arg, events);
    }
}

/* Opening. */

/* It is open, or not: on_open says so. link may be gone when this returns. */
static void tell_open(struct link *link, int error)
{
    link->error = error;
    if (error < 0) {
        stop_watching(link);
    }
    link->user->on_open(link->arg, error);
}

/* TLS. */

/* The socket is connected: say hello. Returns 0 or -errno. */
static int begin_tls(struct link *link)
{
    link->stage = LINK_SHAKING_HANDS;
    int rv = link_hello_say(link->hello, &link->transport, (const struct sockaddr *)&link->peer, link->peer_len);
    link_hello_destroy(link->hello);
    link->hello = NULL;
    return rv < 0 ? rv : update_link_interest(link);
}

/* The socket is ready for the next step of the handshake, or broken, as -errno. link may be gone when this returns. */
static void go_on_with_tls(struct link *link, unsigned events, int broken)
{
    transport_note(&link->transport, events);
    int rv = tls_client_shake_hands(&link->transport);
    rv = rv == -EAGAIN && broken < 0 ? broken : rv;
    if (rv == 0) {
        link->stage = LINK_OPEN;
        link->flushes = true;
        reactor_schedule(link_reactor(link), &link->task);
    } else if (rv == -EAGAIN) {
        rv = update_link_interest(link);
        if (rv == 0) {
            return;
        }
    } else if (rv == -EPROTO || rv == -ECONNABORTED) {
        link->failure = transport_failure(&link->transport);
    }
    tell_open(link, rv);
}

/* The socket is connected, or has failed. */
static void finish_connecting(struct link *link, unsigned events, int error)
{
    if (error == 0 && (events & (unsigned)REACTOR_WRITABLE) == 0) {
        return; /* not yet */
    }
    if (error == 0) {
        int pending = sys_get_option(link->transport.fd, SOL_SOCKET, SO_ERROR);
        error = pending > 0 ? -pending : pending;
    }
    if (error == 0 && link->hello != NULL) {
        error = begin_tls(link);
        if (error == 0) {
            return;
        }
    } else if (error == 0) {
        link->stage = LINK_OPEN;
        error = update_link_interest(link);
    }
    tell_open(link, error);
}

static void on_link_task(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct link *link = REACTOR_OWNER(arg, struct link, task);
    if (link->tells_open) {
        link->tells_open = false;
        if (link->error == 0 && link->hello != NULL) { /* a unix socket, which is connected at once */
            finish_connecting(link, REACTOR_WRITABLE, 0);
        } else {
            tell_open(link, link->error);
        }
        return;
    }
    bool flushes = link->flushes, tells_input = link->tells_input;
    link->flushes = link->tells_input = false;
    if (flushes && update_link_interest(link) < 0) {
        stop_watching(link); /* the next link_want() tries again */
    }
    if (tells_input) {
        tell_ready(link, REACTOR_READABLE);
    }
}

/* Events of the socket that nobody waits for: remember them, and see to it that they do not come in each tick. */
static void note_unwanted(struct link *link, unsigned events, bool has_failed)
{
    if (has_failed && link->wanted == 0) {
        stop_watching(link);
        return;
    }
    bool is_level = (link->interest & (unsigned)REACTOR_EDGE) == 0;
    link->ignores_input = link->ignores_input || (is_level && (events & (unsigned)REACTOR_READABLE) != 0);
    if (is_level && events != 0 && update_link_interest(link) < 0) {
        stop_watching(link); /* the next link_want() tries again */
    }
}

static void on_link_event(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)fd;
    struct link *link = arg;
    bool has_failed = (events & (unsigned)(REACTOR_ERROR | REACTOR_HANGUP)) != 0;
    if (link->stage == LINK_CONNECTING) {
        int error = (events & (unsigned)REACTOR_ERROR) == 0 ? 0 : reactor_error(reactor);
        finish_connecting(link, has_failed ? events | (unsigned)REACTOR_WRITABLE : events, error);
        return;
    }
    int broken = (events & (unsigned)REACTOR_ERROR) == 0 ? 0 : reactor_error(reactor);
    if (link->stage == LINK_SHAKING_HANDS) {
        go_on_with_tls(link, events, broken);
        return;
    }
    link->broken = broken < 0 ? broken : link->broken;
    transport_note(&link->transport, events);
    unsigned ready = has_failed ? (unsigned)(REACTOR_READABLE | REACTOR_WRITABLE)
                                : events & (unsigned)(REACTOR_READABLE | REACTOR_WRITABLE);
    if ((events & (unsigned)REACTOR_END) != 0) {
        ready |= (unsigned)REACTOR_READABLE;
    }
    link->has_input = link->has_input || (ready & (unsigned)REACTOR_READABLE) != 0;
    note_unwanted(link, ready & ~(unsigned)link->wanted, has_failed);
    tell_ready(link, ready);
}

/* A connected socket, or one that is about to be: take it. Returns 0 or -errno. */
static int take_socket(struct link *link, int fd, int family)
{
    int rv = transport_open(&link->transport, NULL, NULL, fd, family);
    return rv == 0 && family != AF_UNIX ? sys_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) : rv;
}

/* A name has led to a socket, or to nothing. */
static void on_approach_done(void *arg, int fd, const struct sockaddr *address, socklen_t len)
{
    struct link *link = arg;
    if (fd < 0) {
        tell_open(link, fd);
        return;
    }
    memcpy(&link->peer, address, len);
    link->peer_len = len;
    link->stage = LINK_CONNECTING;
    link->is_registered = true;
    link->interest = REACTOR_WRITABLE;
    approach_end(link->approach);
    link->approach = NULL;
    finish_connecting(link, REACTOR_WRITABLE, take_socket(link, fd, address->sa_family));
}

/* Look for the server by its name. Returns 0, later followed by on_open; or -errno with a text in err. */
static int begin_approach(struct link *link, const struct link_target *target, char *err, size_t errlen)
{
    struct links *links = link->links;
    const struct approach_plan plan = {.reactor = links->reactor,
                                       .resolver = links->resolver,
                                       .policy = &links->policy,
                                       .name = target->host,
                                       .port = target->port,
                                       .on_done = on_approach_done,
                                       .arg = link,
                                       .free_fd = links->free_fd,
                                       .free_fd_arg = links->free_fd_arg};
    if (links->resolver == NULL) {
        return error_text(err, errlen, -ENOSYS, "\"%s\" is no address, and names cannot be resolved", target->host);
    }
    return approach_begin(&link->approach, &plan, err, errlen);
}

/* Connect with peer. Returns 0, later followed by on_open; or -errno. */
static int begin_connecting(struct link *link)
{
    int family = link->peer.ss_family;
    int fd = sys_socket(family);
    int rv = fd < 0 ? fd : take_socket(link, fd, family);
    if (rv < 0) {
        return rv;
    }
    link->stage = LINK_CONNECTING;
    rv = sys_connect(fd, (const struct sockaddr *)&link->peer, link->peer_len);
    if (rv == 0) {
        link->stage = link->hello == NULL ? LINK_OPEN : LINK_CONNECTING;
    } else if (rv != -EINPROGRESS) {
        link->error = rv == -EAGAIN ? -ECONNREFUSED : rv; /* of a unix socket: its queue is full */
    } else {
        link->interest = REACTOR_WRITABLE;
        rv = reactor_register(link_reactor(link), fd, REACTOR_WRITABLE, on_link_event, link);
        link->is_registered = rv == 0;
        return rv;
    }
    link->tells_open = true;
    reactor_schedule(link_reactor(link), &link->task);
    return 0;
}

int link_open(struct link **link, struct links *links, const struct link_target *target, const struct link_user *user,
              void *arg, char *err, size_t errlen)
{
    unsigned max = links->max == 0 ? (unsigned)LINK_COUNT_MAX : links->max;
    if (links->count >= max) {
        return error_text(err, errlen, -ENOBUFS, "%u connections to other servers are open, as many as may be", max);
    }
    struct link *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "out of memory");
    }
    made->links = links;
    made->user = user;
    made->arg = arg;
    made->transport.fd = -1;
    made->task.fn = on_link_task;
    made->next = links->first;
    if (made->next != NULL) {
        made->next->prev = made;
    }
    links->first = made;
    links->count++;
    int rv = target->tls == NULL
                 ? 0
                 : link_hello_create(&made->hello, target->tls, target->host, &links->tls, links->log, err, errlen);
    if (rv < 0) {
        link_close(made);
        return rv == -EINVAL || rv == -ENOMEM ? rv : -EPROTO;
    }
    rv = link_target_address(target, &made->peer, &made->peer_len);
    const struct destination to = {.address = (const struct sockaddr *)&made->peer, .len = made->peer_len};
    if (rv == -ENOENT) {
        rv = begin_approach(made, target, err, errlen);
    } else if (rv < 0) {
        error_text(err, errlen, rv, "the path of a unix socket has 1 to %zu bytes",
                   sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
    } else if ((rv = destinations_check(&links->policy, &to, err, errlen)) == 0 && (rv = begin_connecting(made)) < 0) {
        error_text(err, errlen, rv, "%s", errno_text(-rv));
    }
    if (rv < 0) {
        link_close(made);
        return rv;
    }
    *link = made;
    return 0;
}

int link_start_tls(struct link *link, const struct link_tls *tls, char *err, size_t errlen)
{
    assert(link->stage == LINK_OPEN && link->error == 0);
    if (link->transport.ops != NULL) {
        return error_text(err, errlen, -EALREADY, "this connection has TLS already");
    }
    if (link->has_input) {
        return error_text(err, errlen, -EPROTO, "the server has sent more in plain text than its consent to TLS");
    }
    struct links *links = link->links;
    int rv = link_hello_create(&link->hello, tls, NULL, &links->tls, links->log, err, errlen);
    if (rv < 0) {
        return rv;
    }
    link->wanted = 0;
    link->ignores_input = false;
    rv = begin_tls(link);
    if (rv < 0) {
        link->error = rv;
        error_text(err, errlen, rv, "%s", errno_text(-rv));
    }
    return rv;
}

void link_close(struct link *link)
{
    if (link == NULL) {
        return;
    }
    struct links *links = link->links;
    reactor_unschedule(links->reactor, &link->task);
    approach_end(link->approach);
    if (link->transport.fd >= 0) {
        bool is_open = link->stage == LINK_OPEN && link->error == 0;
        if (is_open) {
            transport_say_end(&link->transport);
        }
        stop_watching(link);
        transport_shut(&link->transport, !is_open);
        sys_close(link->transport.fd);
    }
    if (link->next != NULL) {
        link->next->prev = link->prev;
    }
    if (link->prev != NULL) {
        link->prev->next = link->next;
    } else {
        links->first = link->next;
    }
    links->count--;
    link_hello_destroy(link->hello);
    mem_free(link);
}

int link_end(struct link *link)
{
    return link->broken < 0 ? link->broken : transport_end(&link->transport);
}

void link_cut(struct link *link)
{
    link->transport.is_cut = true;
}

void links_abandon(struct links *links)
{
    for (struct link *link = links->first; link != NULL; link = link->next) {
        if (link->approach != NULL) {
            approach_abandon(link->approach);
        }
        if (link->transport.fd >= 0) {
            sys_close(link->transport.fd);
            link->transport.fd = -1;
        }
    }
}

void link_set_user(struct link *link, const struct link_user *user, void *arg)
{
    link->user = user;
    link->arg = arg;
    link->wanted = 0;
}

/* What it is. */

enum link_stage link_stage(const struct link *link)
{
    bool is_on_its_way = link->approach != NULL && link->stage == LINK_RESOLVING;
    return is_on_its_way && approach_is_resolved(link->approach) ? LINK_CONNECTING : (enum link_stage)link->stage;
}

const char *link_failure(const struct link *link)
{
    bool is_of_tls = link->error == 0 && link->transport.ops != NULL;
    return link->failure != NULL    ? link->failure
           : link->approach != NULL ? approach_failure(link->approach)
           : is_of_tls              ? transport_failure(&link->transport)
           : link->error == 0       ? ""
                                    : errno_text(-link->error);
}

bool link_is_stale(const struct link *link)
{
    return link->has_input || link->transport.is_half_closed || link->transport.is_at_end ||
           link->transport.holds_input || link->transport.may_have_more;
}

bool link_looks_stale(struct link *link)
{
    char byte;
    return link_is_stale(link) || link->broken < 0 || transport_recv(&link->transport, &byte, 1) != -EAGAIN;
}

const struct sockaddr *link_peer(const struct link *link, socklen_t *len)
{
    *len = link->peer_len;
    return (const struct sockaddr *)&link->peer;
}

const struct transport *link_transport(const struct link *link)
{
    return &link->transport;
}

/* Reading and writing. */

/* Whether a read could bring nothing: the last one has emptied the socket, as far as it knows, and no event has told of
 * more since. Where it was wrong, as it may be about a unix socket, an event comes: that one is watched by level. */
static bool is_known_empty(const struct link *link)
{
    const struct transport *transport = &link->transport;
    return link->is_registered && (link->interest & (unsigned)REACTOR_READABLE) != 0 && !link->has_input &&
           !transport->may_have_more && !transport->holds_input && !transport->is_half_closed && !transport->is_at_end;
}

ssize_t link_recv(struct link *link, void *data, size_t len)
{
    if (is_known_empty(link)) {
        return link->broken < 0 ? link->broken : -EAGAIN;
    }
    link->has_input = false;
    ssize_t got = transport_recv(&link->transport, data, len);
    return (got == 0 || got == -EAGAIN) && link->broken < 0 ? link->broken : got;
}

ssize_t link_send(struct link *link, const void *data, size_t len)
{
    return link->broken < 0 ? link->broken : transport_send(&link->transport, data, len, false);
}

ssize_t link_sendv(struct link *link, const struct iovec *parts, size_t count)
{
    return link->broken < 0 ? link->broken : transport_sendv(&link->transport, parts, count);
}
