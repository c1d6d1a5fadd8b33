#ifndef EVSERVE_CORE_LINK_H
#define EVSERVE_CORE_LINK_H

/* A connection to another server. It is opened, read and written without ever blocking the loop; what it is waited for
 * comes by callback. Whoever has it keeps what was read, what is to be sent, and the time. It knows no HTTP.
 *
 *     link_open(&link, links, &(struct link_target){.host = "127.0.0.1", .port = 6379}, &user, arg, err, ...);
 *     on_open(arg, 0):    link_send(link, "PING\r\n", 6); link_want(link, REACTOR_READABLE);
 *     on_ready(arg, ...): link_recv(link, buf, sizeof buf); link_close(link);
 *
 * All of a reactor's links belong to its thread. */

#include "core/destinations.h"
#include "core/link_target.h"
#include "core/transport.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct log;
struct reactor;
struct resolver;
struct link;
struct tls_clients;

enum {
    LINK_COUNT_MAX = 1000, /* of a reactor at a time, those that are kept open included */
    LINK_HOST_MAX = 253,   /* bytes of a name (RFC 1035, section 2.3.4) */
    LINK_FAILURE_MAX = 256 /* bytes of a text that says why, including its NUL */
};

/* What the links of a reactor are opened with, and which there are. Zeroed, then filled in; outlives them. */
struct links {
    struct reactor *reactor;          /* borrowed */
    const struct log *log;            /* borrowed; may be NULL */
    struct resolver *resolver;        /* borrowed; NULL: names cannot be resolved */
    struct destination_policy policy; /* which servers may be connected with; what changes holds for later links */
    unsigned max;                     /* open at a time; 0: LINK_COUNT_MAX */
    unsigned count;                   /* of those that are */
    struct link *first;               /* of them */
    bool (*free_fd)(void *arg);       /* fds are short once a name is resolved: close something; may be NULL */
    void *free_fd_arg;                /* handed to it */
    struct tls_clients *tls; /* for TLS, made with the first link that has it: tls_clients_destroy() after the links */
};

/* The user of a link. Both functions may do anything with it, link_close() included, and are called by the reactor
 * alone: never inside a function of this file. */
struct link_user {
    /* It is open, with error 0. Or it is not, for this reason as -errno: then link_stage() and link_failure() say
     * more, and link_close() is due. The same after link_start_tls(). */
    void (*on_open)(void *arg, int error);
    /* Some of what link_want() asked for is there: events of it. Failures and the peer's end are among them: the next
     * call of link_recv() or link_send() says so. */
    void (*on_ready)(void *arg, unsigned events);
};

/* How far a link has come. One that failed stays where it was. */
enum link_stage {
    LINK_RESOLVING,     /* looks for the addresses of a name */
    LINK_CONNECTING,    /* to one of them */
    LINK_SHAKING_HANDS, /* TLS */
    LINK_OPEN,
};

/* Begin to connect. user is borrowed until link_close(), arg is handed to it. Returns 0, and calls on_open later; or
 * -errno with a text in err and nothing begun: -EINVAL for a target that cannot be one, -EPERM for one that is
 * denied, -EPROTO if TLS cannot be had as it is asked for, -ENOBUFS if as many links are open as may be, -EMFILE,
 * -ENOMEM, ... */
int link_open(struct link **link, struct links *links, const struct link_target *target, const struct link_user *user,
              void *arg, char *err, size_t errlen);

/* Begin TLS on a link that is open without it, once the server has agreed to that, and nothing is under way. What was
 * read before is plain text, which anybody on the way may have put there: a user that has read more than the server's
 * consent must not do this. server_name of tls is needed, unless the certificate is not looked at. Returns 0, and calls
 * on_open later; or -errno with a text in err: then link_close() is due. */
int link_start_tls(struct link *link, const struct link_tls *tls, char *err, size_t errlen);

/* Close it at once, whatever it does, and free it: user is not called again. Bytes that the kernel has go on their way
 * to the peer. NULL is allowed. */
void link_close(struct link *link);

/* Tell the peer that nothing follows, behind what was sent: it may go on sending. Of an open link. Returns 0 or
 * -errno. */
int link_end(struct link *link);

/* What was sent is not whole: the close to come is none that TLS has the peer take for the end. */
void link_cut(struct link *link);

/* In a process forked from the one that has them: close their fds, and leave everything else as it is. */
void links_abandon(struct links *links);

/* Give an open link to somebody else. What it was wanted for is forgotten. */
void link_set_user(struct link *link, const struct link_user *user, void *arg);

enum link_stage link_stage(const struct link *link);

/* Why it failed, in plain words: "Connection refused"; and why a call on an open link has returned -EPROTO or
 * -ECONNABORTED, or "" if there is no more to say than that error. Valid until link_close(). */
const char *link_failure(const struct link *link);

/* Read once; write once; as transport_recv(), transport_send() and transport_sendv(). After -EAGAIN, or less than was
 * asked for, link_want() says when to try again; and with TLS, what was not taken is offered again then, not something
 * else. A read that can bring nothing, since the one before has emptied the socket and no event has come, costs no
 * system call. */
ssize_t link_recv(struct link *link, void *data, size_t len);
ssize_t link_send(struct link *link, const void *data, size_t len);
ssize_t link_sendv(struct link *link, const struct iovec *parts, size_t count);

/* Call on_ready once when one of events holds: REACTOR_READABLE, REACTOR_WRITABLE or both; with 0 not at all. This
 * replaces what was wanted before, and each call of on_ready takes all of it back. Returns 0, or -errno with nothing
 * wanted. */
int link_want(struct link *link, unsigned events);

/* Whether the peer is known to have left, or to have sent what nobody has read, while nobody waited: such a link is
 * not for another use. */
bool link_is_stale(const struct link *link);

/* The same, with a look at the socket: what its peer did a moment ago may not have come as an event yet. A byte that
 * came is taken. Of an open link, for requests that cannot be sent again. */
bool link_looks_stale(struct link *link);

/* Whom it is connected with. Valid while it is open; *len is 0 if nobody knows. */
const struct sockaddr *link_peer(const struct link *link, socklen_t *len);

/* The transport, for tls_client_get_info(). */
const struct transport *link_transport(const struct link *link);

#endif
