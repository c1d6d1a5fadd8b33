#ifndef EVSERVE_HTTP_CONN_ENDS_H
#define EVSERVE_HTTP_CONN_ENDS_H

/* What is due when a connection is closed: kept beside connections, of which others pay nothing for it. */

struct conn;

/* Call fn(arg) when the connection is closed; once for each connection. Returns 0 or -ENOMEM. */
int conn_ends_add(struct conn *conn, void (*fn)(void *arg), void *arg);

/* The connection, which has_end, is closed. */
void conn_ends_call(struct conn *conn);

#endif
