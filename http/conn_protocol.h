#ifndef EVSERVE_HTTP_CONN_PROTOCOL_H
#define EVSERVE_HTTP_CONN_PROTOCOL_H

/* What is spoken on a connection, and what a connection is for it: a protocol hangs its state on conn->work, and its
 * bytes go through conn->transport. */

#include "core/deadline.h"
#include "core/transport.h"
#include "http/outcome.h"
#include "http/peer.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct conn_pool;
struct service;

/* What a turn of a protocol ended with. */
enum turn {
    TURN_WAIT,   /* nothing more can be done before an event, a task or a deadline */
    TURN_AGAIN,  /* there is more to do, though no fd will say so: go on in a task */
    TURN_LINGER, /* all is sent: end in an orderly way, and wait for the client's end if it may still be sending */
    TURN_CLOSE,  /* the connection is over */
};

/* What a connection waits for, hence how long it may. */
enum wait {
    WAIT_IDLE,    /* a request: idle_timeout */
    WAIT_HEAD,    /* the rest of a head: header_timeout from its first byte */
    WAIT_BODY,    /* the rest of a body: body_timeout from the last byte */
    WAIT_HANDLER, /* a handler: handler_timeout; stream_timeout from the last byte of a response that has begun */
    WAIT_WRITE,   /* room in the socket: write_timeout from the last byte taken, by it or by the client */
    WAIT_LINGER,  /* the client's end, after ours */
    WAIT_QUIET,   /* nothing that has to come: at its deadline the protocol has something to do: a ping, the next
                   * bytes of a response that is held back */
};

/* What a protocol wants of the socket. */
enum { CONN_READS = 1, CONN_WRITES = 2 };

enum { REFUSAL_MAX = 256 }; /* bytes of what a client that is turned away gets to read */

/* What is spoken on a connection: chosen by its listener, later by conn_go_over(). A server has one of each, which may
 * be a member of what the protocol keeps for it. While conn->work is NULL the connection is idle: it waits for a
 * request, holds nothing of the protocol, and of these functions only read() and advance() are called. */
struct protocol {
    const char *name; /* "HTTP/1" */
    bool is_prelude;  /* its first byte is due at once: it has work from the first read on, and still may be idle */

    /* Read once through the transport. Returns as transport_recv(), or -ENOMEM. Makes conn->work if it is NULL. Sets
     * conn->has_unread: whether the read may have left bytes behind. */
    ssize_t (*read)(struct conn *conn);

    /* One turn: go on from where the connection is until it has to wait. Sets conn->work to NULL when it is idle again;
     * conn->has_received and conn->has_sent when the client did something for its deadline; and conn->waits_for to
     * WAIT_NONE when a wait is over that may be followed by one of the same kind. Never closes the connection. */
    enum turn (*advance)(struct conn *conn);

    /* CONN_READS: what the client sends is to be read now. CONN_WRITES: bytes wait for room, or for the next turn. */
    unsigned (*wants)(const struct conn *conn);

    /* Nothing of a request is there, and nothing of a response: the connection may be closed. */
    bool (*is_idle)(const struct conn *conn);

    /* What it waits for (never WAIT_LINGER), and until when if it begins to wait now; DEADLINE_NEVER. */
    enum wait (*waits_for)(const struct conn *conn);
    int64_t (*deadline_ms)(const struct conn *conn, enum wait waits_for, int64_t now_ms);

    /* The deadline of WAIT_HANDLER has passed: whether nothing but a handler is still waited for. */
    bool (*waits_for_handler)(const struct conn *conn);

    /* The deadline has passed. Returns true when the client gets a response (408, 503), or with WAIT_QUIET when the
     * connection goes on: advance() comes next, which makes the deadline begin anew. False: the connection is cut.
     * conn_resume() does nothing during the call. */
    bool (*expire)(struct conn *conn, enum wait waits_for);

    /* The server stops: the response in the making is the last one. */
    void (*drain)(struct conn *conn);

    /* The connection is lost, or closed: give up all, and set conn->work to NULL. conn_resume() does nothing during the
     * call. */
    void (*lose)(struct conn *conn);

    /* What the connection is doing, for log lines: "while reading request headers". */
    const char *(*doing)(const struct conn *conn);

    /* Write what a client reads for whom there is no room. received: what it has sent, len bytes. Returns the length;
     * 0: it is closed without a word. */
    size_t (*refuse)(struct service *service, const char *received, size_t len, char text[REFUSAL_MAX]);
};

/* http/README.md has the diagram. */
enum conn_state {
    CONN_OPEN,      /* the protocol is at work, or the connection idle */
    CONN_LINGERING, /* our side is shut; what the client sends is dropped until its end */
    CONN_CLOSED,    /* the fd is gone; a task may still know the memory */
};

/* Whether a task of the reactor knows the connection. */
enum conn_task {
    TASK_NONE,    /* none does */
    TASK_RESUME,  /* one does, to go on */
    TASK_EXPIRED, /* one does, since the deadline has passed: it looks again */
    TASK_LACKING, /* there was no memory for one: the next event of the fd is taken for it */
};

enum {
    INTEREST_NONE = 0xff, /* conn->interest before the reactor watches the fd */
    WAIT_NONE = 0xff, /* conn->waits_for until the end of the turn: what it waits for then has a deadline of its own */
};

/* All that an idle connection holds. */
struct conn {
    struct conn_pool *pool;          /* whose connection it is */
    const struct protocol *protocol; /* what is spoken */
    void *work;                      /* the protocol's; NULL while the connection is idle */
    struct conn *next, *prev;        /* in the pool's list of open ones; next also in that of free ones */
    struct conn *address_next;  /* in the ring of its address, when it is counted there: the one before it, or newest */
    struct conn *address_prev;  /* the one after it, or oldest; NULL: not counted */
    struct deadline deadline;   /* when it has waited too long */
    struct transport transport; /* its fd is -1 once closed */
    int32_t unsent_bytes;   /* in the socket when it was last asked, while waits_for is WAIT_WRITE; -1 before that */
    uint8_t state;          /* enum conn_state */
    uint8_t task;           /* enum conn_task */
    uint8_t waits_for;      /* enum wait: what the deadline is about; or WAIT_NONE */
    uint8_t interest;       /* flags registered with the reactor, or INTEREST_NONE */
    uint8_t end;            /* enum outcome_end: what becomes of a request that is lost with the connection */
    bool is_advancing : 1;  /* the protocol is at work: it will see what changes */
    bool has_unread : 1;    /* the client sent, or may have sent, what nobody has read: close with a linger */
    bool ignores_input : 1; /* bytes are waiting, but reading them is not due: stop asking for READABLE */
    bool reads_next : 1;    /* the task reads: a step of a handshake, or what the transport still holds */
    bool has_received : 1;  /* content came in this turn: the deadline of a body starts again */
    bool ends_idle : 1;     /* a stop has ended it between requests: it lingers for a moment only */
    bool has_sent : 1;      /* the socket took bytes in this turn: the deadline of a response starts again */
    bool is_proxied : 1;    /* a proxy has said whose connection it is: conn_proxied_find() */
    int8_t listener;        /* index of the server's listener that accepted it, or LISTENER_NONE */
    bool has_end;           /* something is due when it is closed: conn_ends_call() */
    struct peer peer;       /* the client; until a PROXY header has come, the proxy */
};

#endif
