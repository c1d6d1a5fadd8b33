#ifndef EVSERVE_HTTP_CONN_DOING_H
#define EVSERVE_HTTP_CONN_DOING_H

/* What a connection is doing, for the log. */

struct conn;

/* A static text: "while reading request headers". */
const char *conn_doing(const struct conn *conn);

/* Count and log an abnormal end, with what the connection was doing. The caller closes. */
void conn_lost(struct conn *conn, const char *why);

#endif
