#ifndef EVSERVE_HTTP_SERVER_DRAIN_H
#define EVSERVE_HTTP_SERVER_DRAIN_H

/* For server.c: the end of a stop, which server_drain() begins. */

struct server;

/* Something of the server has ended: if it was the last of what a stop waits for, the stop is over. */
void server_end_drain(struct server *server);

/* Close every connection, and count those that had something left to do in server->cut. */
void server_cut(struct server *server);

/* The server is destroyed: no timer of a stop is left behind. */
void server_forget_drain(struct server *server);

#endif
