#ifndef EVSERVE_HTTP_CONN_OPENING_H
#define EVSERVE_HTTP_CONN_OPENING_H

/* How connections begin: the time that handshakes may take; and what the log says of those that cannot begin, since
 * client and listener do not speak the same: some lines in each span of time, then how many there were beyond these
 * (http/conn_lines.h). The caller closes. */

#include <stdbool.h>
#include <sys/types.h>

struct conn;

/* A step of a TLS handshake takes longer than many requests: a tick has HANDSHAKES_NS for all of them, and one more. */
enum { HANDSHAKES_NS = 2000000 };

/* Take a step: the protocol's read, which it returns, on the clock. */
ssize_t conn_opening_read(struct conn *conn);

/* Whether this tick has time for a step. True for a connection that is not in a handshake. */
bool conn_opening_has_time(struct conn *conn);

/* A TLS handshake has failed. Unless the client has left before it began: count it, and log it with the client's
 * address and what was wrong. */
void conn_opening_failed(struct conn *conn);

/* The deadline of the connection has passed. If it was in a handshake, and the client has sent a part of it: log
 * that. */
void conn_opening_late(struct conn *conn);

/* The client has sent the first bytes of TLS to a listener of plain HTTP. */
void conn_opening_mistaken(struct conn *conn);

/* The client has begun with a PROXY header on a listener without ?proxy, or has sent a second one. */
void conn_opening_unexpected(struct conn *conn);

/* A connection began without a valid PROXY header; why: what is wrong with "it". is_missing: something else came. */
void conn_opening_headless(struct conn *conn, const char *why, bool is_missing);

#endif
