#ifndef EVSERVE_HTTP_CONN_BODY_H
#define EVSERVE_HTTP_CONN_BODY_H

/* Request bodies, for conn.c alone. */

struct conn;

/* Take what the input has of the body: collected for the handler (a body that lies in the input in one piece is used
 * where it is), or discarded when the request is answered already. exchange->body_done says when it is all there.
 * Returns 0, or an HTTP status: 400 or 431 (bad chunks), 413 (more than max_body, or than max_drain when discarding),
 * 503 (no memory). */
int conn_take_body(struct conn *conn);

#endif
