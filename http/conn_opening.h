#ifndef EVSERVE_HTTP_CONN_OPENING_H
#define EVSERVE_HTTP_CONN_OPENING_H

/* What the log says of connections whose transport could not be opened: a TLS handshake that has failed. */

struct conn;

/* Unless the client has left before it began: count it, and log it with the client's address and what was wrong: some
 * lines in each span of time, since whoever floods the server must not flood the log; then how many there were beyond
 * these. The caller closes. */
void conn_opening_failed(struct conn *conn);

#endif
