#ifndef EVSERVE_HTTP_CONN_OPENING_H
#define EVSERVE_HTTP_CONN_OPENING_H

/* What the log says of connections that cannot begin, since client and listener do not speak the same: some lines in
 * each span of time, then how many there were beyond these (http/conn_lines.h). The caller closes. */

struct conn;

/* A TLS handshake has failed. Unless the client has left before it began: count it, and log it with the client's
 * address and what was wrong. */
void conn_opening_failed(struct conn *conn);

/* The deadline of the connection has passed. If it was in a handshake, and the client has sent a part of it: log
 * that. */
void conn_opening_late(struct conn *conn);

/* The client has sent the first bytes of TLS to a listener of plain HTTP. */
void conn_opening_mistaken(struct conn *conn);

#endif
