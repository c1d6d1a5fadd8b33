#ifndef EVSERVE_HTTP_CONN_HANDLER_H
#define EVSERVE_HTTP_CONN_HANDLER_H

/* What a connection does about a handler that is waited for, for conn.c and conn_steps.c. */

#include "http/conn_steps.h"

#include <stdbool.h>

struct conn;
struct exchange;

/* The handler's work is in vain: tell it, with on_gone(), and call it no more. */
void conn_tell_gone(struct exchange *exchange);

/* Nothing but a handler is waited for: its answer is not complete, there is nothing to send, and nothing that the handler
 * wants to read. */
bool conn_waits_for_handler(const struct conn *conn);

/* It is so, and a client that has shut its side has therefore left: not when its route says that such clients still read. */
bool conn_is_left(const struct conn *conn);

/* Such a client has left: tell the handler, and begin to close. */
enum advance conn_close_left(struct conn *conn);

/* The handler has not answered in time (handler_timeout, stream_timeout): say so in the log, and tell the handler. Returns
 * true when the client gets a 503 in place of the response; false when the response has begun, so that the connection must
 * be cut. */
bool conn_replace_handler(struct conn *conn);

/* A handler at work that listens for it is told once that the server stops, or that its site has been replaced. */
void conn_announce_stop(struct conn *conn);

#endif
