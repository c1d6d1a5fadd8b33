#ifndef EVSERVE_HTTP_H1_PROTOCOL_H
#define EVSERVE_HTTP_H1_PROTOCOL_H

/* HTTP/1 for a server: the only header of http/h1/ that it needs. */

struct h1_server;
struct protocol;
struct service;

/* Make what a server keeps for HTTP/1. service is borrowed. Returns 0 or -ENOMEM. */
int h1_server_create(struct h1_server **server, struct service *service);

/* Free it; no connection speaks it any more. NULL is allowed. */
void h1_server_destroy(struct h1_server *server);

/* service->site is another one from now on: what is kept for requests of the former site goes. */
void h1_server_renew(struct h1_server *server);

/* What its connections speak. */
const struct protocol *h1_server_protocol(const struct h1_server *server);

#endif
