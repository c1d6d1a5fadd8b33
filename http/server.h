#ifndef EVSERVE_HTTP_SERVER_H
#define EVSERVE_HTTP_SERVER_H

/* One HTTP server on one reactor: listeners, connections and their pools, shutdown. What it serves is its site. */

#include "http/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange;
struct limits;
struct evs_host;
struct log;
struct net_handed_list;
struct outcome;
struct reactor;
struct server;
struct site;
struct tls_context;

/* Make a server of a site, without listeners. reactor, site and log (which may be NULL) are borrowed; site until
 * server_set_site(), and while it has pins. Returns 0, or -errno with nothing left behind. */
int server_create(struct server **server, struct reactor *reactor, struct site *site, const struct log *log);

/* Serve another site from the next request of each connection on. Requests that have begun finish with the old one. */
void server_set_site(struct server *server, struct site *site);

/* Close everything at once and free it. NULL is allowed. Not from a callback of the server's own. Tasks of connections
 * may still wait in the reactor: it must not run any more, unless the server had drained. */
void server_destroy(struct server *server);

/* In a process forked from the server's: close its listeners and connections, which the other process still serves, and
 * leave everything else as it is. No callback runs. */
void server_abandon(struct server *server);

/* Listen on an address (net_address_parse()); with ?tls or ?redirect_https after server_set_tls(). Returns the
 * listener's index, or -errno with a text in err. */
int server_listen(struct server *server, const char *address, char *err, size_t errlen);

/* The same, so that servers on other reactors can join. */
int server_listen_shared(struct server *server, const char *address, char *err, size_t errlen);

/* The same for HTTPS, even without ?tls. */
int server_listen_tls(struct server *server, const char *address, bool is_shared, char *err, size_t errlen);

/* Use these certificates from the next connection on; the server takes a reference. The context has at least one
 * certificate. Returns 0 or -ENOMEM. */
int server_set_tls(struct server *server, struct tls_context *context);

/* Listen wherever first does and server does not yet: first's listeners were opened by server_listen_shared(), and
 * server has joined it before if it has any. It runs on another reactor. Returns 0, or -errno with a text in err. */
int server_join(struct server *server, const struct server *first, char *err, size_t errlen);

/* Changing listeners while the server runs. A listener keeps its number for good, even when it is closed: numbers are
 * not used again, so there are SERVICE_LISTENERS_MAX in the life of a server.
 *
 * First new ones are opened, with server_listen() or by server_join(), and held: they accept nobody. Then
 * server_settle_listeners() lets them accept, and closes others; or server_drop_listeners() undoes it all. */

/* The number of the listener that is open and was asked for with this text, and is not in the set taken (bit n is
 * listener n); else SERVER_NO_LISTENER. */
int server_find_listener(const struct server *server, const char *address, uint32_t taken);

/* What the n-th listener was asked for with, NULL past the last. Not of a server that has joined. */
const char *server_listener_text(const struct server *server, unsigned listener);

/* The set of those that are open, and how many there have ever been. */
uint32_t server_open_listeners(const struct server *server);
unsigned server_count_listeners(const struct server *server);

/* Those from number on accept nobody yet. */
void server_hold_listeners(struct server *server, unsigned number);

/* All that are open accept, except those in the set gone: these accept what the kernel has queued for them, and are
 * closed. The next response on each of their connections says Connection: close; one without a request has
 * drain_grace to send it. */
void server_settle_listeners(struct server *server, uint32_t gone);

/* Close those from number on, which were held, as if they had never been. */
void server_drop_listeners(struct server *server, unsigned number);

/* Take listening sockets from this list, which is borrowed, where they fit, instead of opening others. NULL: from
 * none. */
void server_set_handed(struct server *server, struct net_handed_list *list);

enum { SERVER_NO_LISTENER = -1, SERVER_CLOSED_LISTENER = -2 }; /* in place of an fd */

/* The socket of the n-th listener, and the address that it was opened for, as text. is_own_socket: no listener of a
 * server that has joined has the same one. Returns its fd, which stays the server's; SERVER_CLOSED_LISTENER for one
 * that was closed; SERVER_NO_LISTENER past the last. */
int server_listener_fd(const struct server *server, unsigned listener, const char **wanted, bool *is_own_socket);

/* Another program continues with the listening sockets (only_handed: with those that it has handed over to this one):
 * when the server closes them, they are neither shut down nor are their files removed. Call it before
 * server_drain(). */
void server_leave_listeners(struct server *server, bool only_handed);

/* Another program serves the clients of this one: a stop says so to none but them, and not to balancers. */
void server_announce_replacement(struct server *server);

/* Serve a connected stream socket as if it had been accepted; its peer is "unix:". Takes fd over, whatever becomes of
 * it. Returns 0, -ESHUTDOWN when the server drains, -ENOTSOCK for what is no socket, or another -errno. */
int server_adopt(struct server *server, int fd);

/* Where the n-th listener is bound, as text, and its port; NULL and -1 past the last. */
const char *server_address(const struct server *server, unsigned listener);
int server_port(const struct server *server, unsigned listener);

/* Whether a reload has closed the n-th listener: server_settle_listeners(). Any thread. */
bool server_has_closed(const struct server *server, unsigned listener);

/* "https" or "http", whichever its clients speak; NULL past the last listener. */
const char *server_scheme(const struct server *server, unsigned listener);

/* Whether connections of the n-th listener begin with a PROXY header; -1 past the last listener. */
int server_expects_proxy(const struct server *server, unsigned listener);

struct reactor *server_reactor(const struct server *server);

/* What its requests and handlers see of it: to set its hooks and the host's own, before the first connection. */
struct service *server_service(struct server *server);

/* Report to the host that the script's memory stays full, so it should be loaded anew, or the server end. Only takes
 * note: a request may be on the stack. */
void server_report_full(const struct server *server, bool ends);

/* A stop is coming: from now on health says so, and responses say that they are the last ones of their connections.
 * Nothing else changes. */
void server_announce_stop(struct server *server);

#define SERVER_DRAIN_NEVER UINT32_MAX /* drain_ms: nothing is cut, however long it takes */

/* Whether that was called, or a stop has begun, so that balancers should turn to others: nobody takes this one's
 * place. */
bool server_is_stopping(const struct server *server);

/* Stop: accept what the kernel has queued, close the listeners, let requests in flight finish and close their
 * connections after the response. Connections without a request have drain_grace to send one, then they end. After
 * drain_ms cut what is left, and log what that was. on_drained (may be NULL) is called once, when no connection is
 * left, with the number that was cut; never before this function returned. After a second call its drain_ms counts from
 * then. */
void server_drain(struct server *server, uint32_t drain_ms, void (*on_drained)(void *arg, unsigned cut), void *arg);

/* Count its connections by enum conn_phase (http/conn_phase.h). The reactor's thread. */
void server_count_phases(const struct server *server, uint64_t *counts);

/* Read the totals. Any thread, while the server exists. */
void server_get_stats(const struct server *server, struct server_stats *stats);

/* The sums over all servers that share its board (http/metrics_board.h); its own without one. Any thread. */
void server_get_totals(const struct server *server, struct server_stats *stats);

#endif
