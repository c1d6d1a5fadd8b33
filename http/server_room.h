#ifndef EVSERVE_HTTP_SERVER_ROOM_H
#define EVSERVE_HTTP_SERVER_ROOM_H

/* Who may come in when the server is full. Only server.c calls these. */

#include "http/metrics_counts.h"

#include <stdbool.h>
#include <stdint.h>

struct accepter;
struct conn;
struct peer;
struct server;

/* Whether one more connection of this address (address_key()) may be opened; closes idle ones of that address for
 * it. */
bool server_has_address_room(struct server *server, uint64_t address);

/* The same while a connection is being advanced: closes only those that have sent nothing since. */
bool server_has_room_inside(struct server *server, uint64_t address);

/* Whether one more connection of anybody may be opened; closes an idle one for it. */
bool server_make_room(struct server *server);

/* Close the connection that has waited longest for a request. Returns whether there was one. Not while a connection is
 * being advanced. */
bool server_close_idle(struct server *server);

/* Fds are short for a newcomer: the same, and the log says so once in a while. Connections to other servers that are
 * only kept (service.free_fd) go first. */
bool server_starve(struct server *server);

/* Fds are short for a file that a request asks for: close the connection that has waited longest for a request and has
 * sent nothing since. Reads nothing, so it may be called while a connection is being advanced. arg is the server.
 * Returns whether one was closed. */
bool server_make_file_room(void *arg);

/* Count a connection of this address; 0: count none. Returns 0 or -ENOMEM. */
int server_count_address(struct server *server, struct conn *conn, uint64_t address);
void server_uncount_address(struct server *server, struct conn *conn);

/* Refuse a newcomer in the words of its listener's protocol, and close it, as well as it goes without a connection's
 * memory. peer, its address, may be NULL. */
void server_turn_away(struct server *server, const struct accepter *accepter, int fd, const struct peer *peer,
                      enum refusal why);

/* The same for a connection whose address has become known and has no room; the caller ends it. */
void server_refuse(struct server *server, const struct conn *conn);

#endif
