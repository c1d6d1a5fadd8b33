#ifndef EVSERVE_HTTP_CONN_H
#define EVSERVE_HTTP_CONN_H

/* One connection: the state machine that turns bytes into exchanges and exchanges into bytes. Used by server.c, which
 * owns the pools, and by response.c, which asks to go on. */

#include "http/peer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct exchange;
struct server;

/* READING_HEADERS -> READING_BODY -> PROCESSING -> WRITING_RESPONSE -> READING_HEADERS ... -> CLOSING. READING_BODY is
 * skipped without a body and for handlers that take it themselves (BODY_STREAM, in PROCESSING), and comes after
 * WRITING_RESPONSE to discard a body that nobody wanted. http/README.md has the diagram. */
enum conn_state {
    CONN_READING_HEADERS,
    CONN_READING_BODY,
    CONN_PROCESSING,
    CONN_WRITING_RESPONSE,
    CONN_CLOSING,
};

/* All that an idle connection holds. What a request needs is in its exchange, borrowed from the server's pool. */
struct conn {
    struct server *server;
    struct exchange *exchange; /* NULL while the connection is idle */
    struct conn *next, *prev;  /* in the server's list; next also in its pool */
    struct conn *address_next; /* in the ring of its address, when it is counted there: the one before it, or newest */
    struct conn *address_prev; /* the one after it, or oldest */
    uint64_t timer;            /* 0 while none is set */
    int64_t deadline_ms;       /* when the connection has waited too long; INT64_MAX for never */
    int64_t timer_due_ms;      /* when timer fires: never later than deadline_ms needs */
    int fd;                    /* -1 once closed */
    uint8_t state;             /* enum conn_state */
    uint8_t interest;          /* flags registered with the reactor */
    bool is_registered : 1;    /* the reactor watches fd */
    bool is_advancing : 1;     /* conn_advance() is on the stack: it will see what changes */
    bool has_task : 1;         /* a deferred task knows this connection, so its memory must stay */
    bool lacks_task : 1;       /* there was no memory for one: the next event of fd is taken for it */
    bool is_expired : 1;       /* the timer fired at the deadline; the task looks again */
    bool wants_write : 1;      /* the socket is full and bytes wait */
    bool is_lingering : 1;     /* CLOSING: our side is shut, the client's bytes are discarded */
    bool has_unread : 1;       /* the client sent, or may have sent, what nobody has read: close with a linger */
    bool ignore_input : 1;     /* bytes are waiting, but reading them is not due: stop asking for READABLE */
    bool is_filled : 1;        /* the socket may hold what no edge will tell of: the last read did not empty it */
    bool is_told_more : 1;     /* the reactor told of MORE: a short read does not empty the socket */
    bool is_level : 1;         /* registered level-triggered, until the connection is idle */
    bool is_at_end : 1;        /* the client will send no more, and all that it sent was read */
    bool is_half_closed : 1;   /* the client has shut its side; there may be bytes to read before its end */
    bool has_received : 1;     /* content came in this turn: the deadline of a body starts again */
    bool has_sent : 1;         /* the socket took bytes in this turn: the deadline of a response starts again */
    bool is_reset : 1;         /* the close is to be a reset: no orderly end before it */
    bool is_counted : 1;       /* in the server's table of addresses */
    uint8_t end;               /* enum outcome_end: what becomes of a request that is lost with the connection */
    uint8_t waits_for;         /* enum wait of conn_deadline.h: what deadline_ms is about */
    uint8_t turn_requests;     /* answered in this turn */
    int32_t unsent_bytes;      /* in the socket when it was last asked, while waits_for is WAIT_WRITE; -1 before that */
    int8_t listener;           /* index of the server's listener that accepted fd, or LISTENER_NONE */
    struct peer peer;          /* the client */
};

/* Take over a socket that listener accepted. It is read at once, since a client usually sends right after connecting; at the caps on
 * connections somebody else makes room, or it is turned away (server_room.c). */
void conn_open(struct server *server, int listener, int fd, const struct sockaddr *peer);

/* Close at once; a handler at work is told with on_gone(). */
void conn_close(struct conn *conn);

/* Close a connection between requests, unless a request has arrived that no event has told of yet: it is answered.
 * Returns whether it was closed. Not while a connection is being advanced. */
bool conn_close_idle(struct conn *conn);

/* The answer has grown or ended: go on with it before the tick ends. Never runs the connection during the call. */
void conn_resume(struct conn *conn);

/* The server stops: close if nothing is in flight, else after the answer. */
void conn_drain(struct conn *conn);

#endif
