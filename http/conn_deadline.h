#ifndef EVSERVE_HTTP_CONN_DEADLINE_H
#define EVSERVE_HTTP_CONN_DEADLINE_H

/* Deadlines of a connection, for conn.c alone. */

#include <stdint.h>

struct conn;

/* What a connection waits for, hence how long it may. */
enum wait {
    WAIT_IDLE,    /* a request: idle_timeout */
    WAIT_HEAD,    /* the rest of a head: header_timeout from its first byte */
    WAIT_BODY,    /* the rest of a body: body_timeout from the last byte */
    WAIT_HANDLER, /* a handler: as long as it takes */
    WAIT_WRITE,   /* room in the socket: write_timeout from the last byte taken */
    WAIT_LINGER,  /* the client's end, after ours */
};

/* The turn is over: set the deadline for what the connection waits for now. Those for silence start again with each
 * progress; those for a head and for lingering do not. */
void conn_update_deadline(struct conn *conn);

/* Set the timer for conn->deadline_ms. */
void conn_arm_timer(struct conn *conn, int64_t now_ms);

/* The timer fired at the deadline. Implemented by conn.c. */
void conn_expire(struct conn *conn);

#endif
