#ifndef EVSERVE_HTTP_H1_POOL_H
#define EVSERVE_HTTP_H1_POOL_H

/* What connections borrow for a request, kept by their server: each has room for the fields and the path of a request,
 * as far as the limits of the site go. */

struct conn;
struct h1;
struct h1_server;

/* Give the connection its work: one from the pool, or a new one, which pins the site. NULL without memory. */
struct h1 *h1_take(struct conn *conn);

/* Give the work of a connection back: one that is idle, so that it is as h1_start() left it; or in the middle of a
 * request, which is given up. */
void h1_put(struct h1 *h1);
void h1_drop(struct h1 *h1);

/* The server serves another site since this connection's last request: give it work of that site, and the input and
 * output of before. Returns 0, or -ENOMEM with everything as it was. */
int h1_renew(struct h1 *h1);

/* A new exchange, or one whose response is over: everything of a request starts afresh. */
void h1_start(struct h1 *h1);

/* Free what is in no use: the server serves another site from now on, or ends. */
void h1_empty_pool(struct h1_server *server);

#endif
