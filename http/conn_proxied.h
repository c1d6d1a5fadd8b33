#ifndef EVSERVE_HTTP_CONN_PROXIED_H
#define EVSERVE_HTTP_CONN_PROXIED_H

/* What proxies have said of connections, kept beside these: other connections pay nothing for it. */

#include "http/proxied.h"

struct conn;
struct proxy_header;

/* A header with addresses has come: keep what it says, of which all is copied, and make its client the connection's
 * peer. Returns 0, or -ENOMEM with nothing changed. */
int conn_proxied_note(struct conn *conn, const struct proxy_header *header);

/* What was kept, until conn_proxied_drop(); NULL: nothing. */
const struct proxied *conn_proxied_find(const struct conn *conn);

/* The connection, which is_proxied, is closed. */
void conn_proxied_drop(struct conn *conn);

#endif
