#ifndef EVSERVE_HTTP_CONN_DOING_H
#define EVSERVE_HTTP_CONN_DOING_H

/* What a connection is doing, for the log. */

struct conn;

/* A static text: "while reading request headers". */
const char *conn_doing(const struct conn *conn);

/* A debug line about a connection, with its client and what it was doing: "connection lost: hung up while idle". what
 * is a static text; why may be NULL. */
void conn_log(const struct conn *conn, const char *what, const char *why);

/* Count and log an abnormal end, with what the connection was doing. The caller closes. */
void conn_lost(struct conn *conn, const char *why);

#endif
