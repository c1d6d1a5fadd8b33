#ifndef EVSERVE_HTTP_CONN_DEADLINE_H
#define EVSERVE_HTTP_CONN_DEADLINE_H

/* Deadlines of a connection, for conn.c alone. */

#include <stdbool.h>
#include <stdint.h>

struct conn;

/* What a connection waits for, hence how long it may. */
enum wait {
    WAIT_IDLE,    /* a request: idle_timeout */
    WAIT_HEAD,    /* the rest of a head: header_timeout from its first byte */
    WAIT_BODY,    /* the rest of a body: body_timeout from the last byte */
    WAIT_HANDLER, /* a handler: handler_timeout; stream_timeout from the last byte of a response that has begun */
    WAIT_WRITE,   /* room in the socket: write_timeout from the last byte taken, by it or by the client */
    WAIT_LINGER,  /* the client's end, after ours */
};

/* What it waits for now. */
enum wait conn_waits_for(const struct conn *conn);

/* The turn is over: set the deadline for what the connection waits for now. Those for silence start again with each
 * progress; those for a head and for lingering do not. */
void conn_update_deadline(struct conn *conn);

/* Set the timer for conn->deadline_ms, or for what is to be done before it. */
void conn_arm_timer(struct conn *conn, int64_t now_ms);

/* The deadline of WAIT_WRITE has passed: whether the client has taken bytes out of the socket since the last look into
 * it, or this is the first look. Then the deadline is a later one, for conn_arm_timer(). */
bool conn_takes_response(struct conn *conn, int64_t now_ms);

/* The timer fired at the deadline. Implemented by conn.c. */
void conn_expire(struct conn *conn);

#endif
