#ifndef EVSERVE_HTTP_CONN_H
#define EVSERVE_HTTP_CONN_H

/* One connection: its events, its turns, its deadline, its end. */

#include "http/conn_protocol.h"

#include <stdbool.h>

struct transport_ops;

/* Begin with an accepted socket; conn comes from conn_pool_take(), with peer and listener set. It is read at once,
 * since a client usually sends right after connecting. ops and ops_arg are those of transport_open(). The connection
 * may be closed when this returns. */
void conn_open(struct conn *conn, const struct protocol *protocol, const struct transport_ops *ops, void *ops_arg,
               int fd);

/* Speak another protocol from now on, with its state in work (or NULL: it is idle). Only inside the advance() of the
 * former protocol, which has given up its own work before, and copies into the new one's what was read and not used,
 * since no event tells of that again. It then calls to->advance() and returns what that returns. Whatever the new
 * protocol waits for, its deadline begins now. */
void conn_go_over(struct conn *conn, const struct protocol *to, void *work);

/* Close at once. */
void conn_close(struct conn *conn);

/* Close a connection between requests, unless a request has arrived that no event has told of yet: it is answered.
 * Returns whether it was closed. Not while a connection is being advanced. */
bool conn_close_idle(struct conn *conn);

/* Something has changed: go on before the tick ends. Never runs the connection during the call. */
void conn_resume(struct conn *conn);

/* Nanoseconds of a clock that only goes forward, read now: for protocols whose turns end after a time (R6). */
int64_t conn_clock_ns(void);

/* Nothing of a request is there, and nothing of a response. */
bool conn_is_idle(const struct conn *conn);

/* The server stops: the next response is the last one. A request that no event has told of yet is answered. */
void conn_drain(struct conn *conn);

/* It has waited for such a request for long enough (service->ends_idle is set, or its listener was closed by a
 * reload): end the connection if it is idle. */
void conn_retire(struct conn *conn);

#endif
