#ifndef EVSERVE_CORE_TRANSPORT_H
#define EVSERVE_CORE_TRANSPORT_H

/* The bytes of one connection: a plain socket here, a TLS session in another file. Whoever reads and writes through a
 * transport learns from its flags whether it is full, at its end, or may hold more than an event will tell; nobody
 * infers that from byte counts. It knows nothing of HTTP. One thread. */

#include "core/reactor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct transport;

/* What another transport than the plain socket does in its place. Results are those of the functions below. */
struct transport_ops {
    int (*open)(struct transport *transport,
                void *arg); /* the last step of transport_open(); NULL: there is nothing to do */
    ssize_t (*recv)(struct transport *transport, void *data, size_t len);
    ssize_t (*send)(struct transport *transport, const void *data, size_t len, bool more);
    ssize_t (*sendv)(struct transport *transport, const struct iovec *parts, size_t count);
    ssize_t (*sendfile)(struct transport *transport, int file_fd, int64_t *offset, size_t len); /* NULL: it cannot */
    unsigned (*interest)(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle);
    int (*flush)(struct transport *transport); /* NULL: it holds nothing back */
    int (*look)(struct transport *transport);  /* NULL: the events of the socket tell of the peer's end */
    const char *(*failure)(const struct transport *transport);
    int (*unsent_bytes)(const struct transport *transport);
    void (*end)(struct transport *transport); /* transport_say_end(); NULL: it says nothing */
    void (*close)(struct transport *transport);
};

/* Part of a connection; zeroed, with fd -1, before transport_open(). */
struct transport {
    const struct transport_ops *ops; /* NULL: the socket itself */
    void *state;                     /* of the ops */
    int fd;                          /* -1 once closed */
    bool is_full : 1;                /* the last write did not take all: wait for REACTOR_WRITABLE */
    bool may_have_more : 1;          /* the last read may have left bytes that no edge will tell of */
    bool holds_input : 1;            /* it has bytes read from fd, of which no event tells: never a plain socket */
    bool is_told_more : 1;           /* an event came with REACTOR_MORE: a short read does not empty the socket */
    bool is_half_closed : 1;         /* the peer has shut its side; there may be bytes to read before its end */
    bool is_at_end : 1;              /* the peer will send no more, and all that it sent was read */
    bool is_level : 1;               /* watched level-triggered, until the connection is idle */
    bool is_edgy : 1;                /* edges tell enough of this kind of socket: TCP */
    bool is_reset : 1;               /* the close resets the connection: no orderly end before it */
    bool is_ending : 1;              /* the writer's: the next write has all that is left to send before the end */
    bool is_cut : 1;                 /* the writer's: what was sent is not whole, so transport_say_end() says nothing */
    bool is_opening : 1;             /* it shakes hands with the peer: bytes come and go later, inside of reads */
    bool holds_output : 1;           /* bytes of its own wait for room: transport_flush() when the socket is writable */
    uint16_t replied;                /* bytes of a response to a peer that did not shake hands, but sent plain HTTP */
};

/* The flags of net_listener_open() for sockets whose connections will use these ops: a plain socket is accepted with
 * its first bytes (TCP_DEFER_ACCEPT), so that the first read finds them. */
unsigned transport_listen_flags(const struct transport_ops *ops);

/* Take over a connected socket of the given family (AF_INET, AF_INET6, AF_UNIX). arg is handed to the ops. Returns 0,
 * or -errno of the ops; either way transport_shut() is due. */
int transport_open(struct transport *transport, const struct transport_ops *ops, void *arg, int fd, int family);

/* Let these ops carry the bytes from now on, in place of the plain socket; what was read before is none of theirs.
 * Returns as transport_open(). */
int transport_change(struct transport *transport, const struct transport_ops *ops, void *arg);

/* Why the last call failed with -EPROTO, in plain words, or what a peer that has left in the handshake did; NULL: it
 * has not begun one. The text is valid until the next call. */
const char *transport_failure(const struct transport *transport);

/* Write what the transport itself holds back. Returns 0 or -errno; -EAGAIN is none. Clears holds_output. */
int transport_flush(struct transport *transport);

/* An event of the reactor came for fd: note what it says beyond "readable" and "writable". */
void transport_note(struct transport *transport, unsigned events);

/* Read once, at most len bytes. Returns their number, 0 at the peer's end, or -errno (-EAGAIN when nothing is there).
 * Sets is_at_end and may_have_more; and holds_input, in which case the reader has to come again without an event, but
 * not before holds_output is clear: until then it gets -EAGAIN. */
ssize_t transport_recv(struct transport *transport, void *data, size_t len);

/* Write once. Returns the bytes taken, or -errno (-EAGAIN when there is no room). Sets is_full. more: other bytes
 * follow at once, so a last short segment may wait for them. parts: at most 64. With is_ending the transport may say
 * its end behind these bytes, in the same call: nothing but these bytes, if they were not all taken, may be written
 * after that, and transport_say_end() is still due. */
ssize_t transport_send(struct transport *transport, const void *data, size_t len, bool more);
ssize_t transport_sendv(struct transport *transport, const struct iovec *parts, size_t count);

/* Whether transport_sendfile() may be tried at all: not where each byte has to be seen. */
static inline bool transport_can_sendfile(const struct transport *transport)
{
    return transport->ops == NULL || transport->ops->sendfile != NULL;
}

/* Write at most len bytes of a file from *offset, which moves on. Returns the bytes taken; 0: the file ends before
 * *offset; -EINVAL, -ENOSYS or -EOPNOTSUPP: this file cannot be sent so, so read it and send that; or another
 * -errno. */
ssize_t transport_sendfile(struct transport *transport, int file_fd, int64_t *offset, size_t len);

/* What the reactor should watch fd for. wanted: READABLE and WRITABLE as the protocol needs them; keeps_reading:
 * READABLE is still registered, and leaving it so saves a system call; is_idle: the connection waits for a request.
 * Returns a set of READABLE, WRITABLE, END and EDGE. This is called at the end of each turn, so that ops may send what
 * they held back for a write in the same turn.
 *
 * A plain TCP socket is watched edge-triggered while the peer's bytes are all that is waited for, since a read that
 * does not fill its buffer has emptied it: no wait then looks at the socket again in vain. What a read leaves behind,
 * and a full socket, is watched by level, and stays so until the connection is idle, because each change costs a system
 * call. */
unsigned transport_interest(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle);

/* For ops: the same, for the socket below them. */
unsigned transport_socket_interest(struct transport *transport, unsigned wanted, bool keeps_reading, bool is_idle);

/* Whether only transport_look() finds the peer's end while nobody reads: no event tells of it. */
static inline bool transport_hides_end(const struct transport *transport)
{
    return transport->ops != NULL && transport->ops->look != NULL;
}

/* Where transport_hides_end(): nobody reads now, but see whether the peer has ended its side, which sets
 * is_half_closed. Takes no content: where there is some, sets holds_input, and what lies behind it is not looked at.
 * Sets may_have_more. Returns 0, or -errno of a connection that has failed. */
static inline int transport_look(struct transport *transport)
{
    return transport->ops->look(transport);
}

/* Whether transport_interest() would say for an idle connection what it said before, interest: an inline look at the
 * usual case. */
static inline bool transport_rests(const struct transport *transport, unsigned interest)
{
    return transport->ops == NULL &&
           interest == ((unsigned)REACTOR_READABLE | (unsigned)REACTOR_END | (unsigned)REACTOR_EDGE) &&
           !transport->may_have_more && !transport->is_half_closed && !transport->is_at_end && !transport->is_level;
}

/* Bytes in the socket that the peer has not taken yet, or -errno (SIOCOUTQ). */
int transport_unsent_bytes(const struct transport *transport);

/* Tell the peer that nothing follows, where the socket's own end does not: due before each orderly close. If there
 * is no room for that, holds_output is set: the close should wait until transport_flush() has cleared it, or the
 * peer takes what it has got for a part. A second call says nothing more. */
static inline void transport_say_end(struct transport *transport)
{
    if (transport->ops != NULL && transport->ops->end != NULL) {
        transport->ops->end(transport);
    }
}

/* The same, and shut our side of the socket: the peer reads to the end of what was sent. Returns 0 or -errno. */
int transport_end(struct transport *transport);

/* The close to come is to reset the connection, and drops what is not sent. */
void transport_reset(struct transport *transport);

/* Tell the peer that both directions are over, unless transport_end() or transport_reset() did: close(2) alone tells it
 * nothing if a child that the host has forked has the socket, too. Call it before the fd is closed; the caller closes
 * fd, since a reactor may watch it, and then sets it to -1. */
void transport_shut(struct transport *transport, bool is_ended);

#endif
