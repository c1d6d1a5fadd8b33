/* Who may come in when the server is full: as many connections as max_connections says, of one address as many as
 * max_connections_per_address, of all together as there are file descriptors and memory for. At each of these the
 * connection that has waited longest for a request makes room, since its client loses nothing but time; when all have
 * work to do, the newcomer reads 503 and is closed.
 *
 * No order of idleness is kept, because that would cost each request something: the oldest connections are looked at,
 * a bounded number of them, and those that were busy go to the new end of the list, so that the next look begins
 * elsewhere. Up to ROOM_SCAN connections the one that goes is exactly the one that has been idle longest. */

#include "http/server_room.h"

#include "core/log.h"
#include "core/proxy_header.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/access_log.h"
#include "http/address_table.h"
#include "http/metrics_counts.h"
#include "http/outcome.h"
#include "http/server_internal.h"
#include "http/site.h"

#include <errno.h>
#include <string.h>

enum {
    ROOM_SCAN = 64,      /* connections looked at for one newcomer (R6) */
    ROOM_TRIES = 4,      /* of them closed or found at work after all */
    SAY_FULL_MS = 60000, /* how often the log says that the server is full */
    SCRAP_BYTES = 4096,  /* read of a newcomer's request before it is closed, lest a reset take the response away */
};

static bool is_at_rest(const struct conn *conn)
{
    bool is_silent = conn->work == NULL || (conn->protocol->is_prelude && conn->protocol->is_idle(conn));
    return is_silent && conn->state == CONN_OPEN;
}

/* The one of two that has waited longer: all have the same idle_timeout, except those whose PROXY header has not begun:
 * they have less time, and so go first. found may be NULL. */
static struct conn *longer_idle(struct conn *found, struct conn *conn)
{
    return is_at_rest(conn) && (found == NULL || conn->deadline.at_ms < found->deadline.at_ms) ? conn : found;
}

/* is_silent: only one that has sent nothing since. */
static struct conn *find_idle(struct server *server, bool is_silent)
{
    struct conn *found = NULL;
    struct conn *conn = server->pool.last_conn;
    for (int left = ROOM_SCAN; left > 0 && conn != NULL; left--) {
        struct conn *newer = conn->prev;
        struct conn *longer = longer_idle(found, conn);
        found = is_silent && longer != found && sys_unread_bytes(conn->transport.fd) != 0 ? found : longer;
        if (!is_at_rest(conn)) {
            conn_pool_renew(&server->pool, conn);
        }
        conn = newer;
    }
    return found;
}

static struct conn *find_idle_of(struct address_entry *entry)
{
    struct conn *found = NULL;
    struct conn *conn = entry->ring->address_prev;
    uint32_t left = entry->count < ROOM_SCAN ? entry->count : ROOM_SCAN;
    for (; left > 0; left--) {
        found = longer_idle(found, conn);
        conn = conn->address_prev;
    }
    entry->ring = found == NULL ? conn->address_next : entry->ring;
    return found;
}

/* Once in a while: whoever floods the server must not flood the log. */
static void say_full(struct server *server, enum server_cap cap, const char *name, uint64_t value)
{
    int64_t now_ms = reactor_now_ms(server->service.reactor);
    if (now_ms < server->say_full_ms[cap]) {
        return;
    }
    server->say_full_ms[cap] = now_ms + SAY_FULL_MS;
    log_write(server->service.log, LOG_WARN,
              "%s (%llu) reached: idle connections are closed for new ones; if none is idle, new ones get 503", name,
              (unsigned long long)value);
}

bool server_close_idle(struct server *server)
{
    for (int i = 0; i < ROOM_TRIES; i++) {
        struct conn *conn = find_idle(server, false);
        if (conn == NULL) {
            return false;
        }
        if (conn_close_idle(conn)) {
            return true;
        }
    }
    return false;
}

static void say_starved(struct server *server)
{
    int64_t now_ms = reactor_now_ms(server->service.reactor);
    if (now_ms < server->say_full_ms[SERVER_CAP_FDS]) {
        return;
    }
    server->say_full_ms[SERVER_CAP_FDS] = now_ms + SAY_FULL_MS;
    log_write(server->service.log, LOG_WARN,
              "out of file descriptors (RLIMIT_NOFILE is %llu): idle connections are closed for new ones and for "
              "files; raise it with LimitNOFILE= in a systemd unit, or ulimit -n",
              (unsigned long long)sys_fd_limit());
}

/* Close a connection to another server that is only kept. Returns whether there was one. */
static bool free_kept_fd(const struct server *server)
{
    const struct service *service = &server->service;
    return service->free_fd != NULL && service->free_fd(service->free_fd_arg);
}

bool server_starve(struct server *server)
{
    say_starved(server);
    return free_kept_fd(server) || server_close_idle(server);
}

bool server_make_file_room(void *arg)
{
    struct server *server = arg;
    say_starved(server);
    if (free_kept_fd(server)) {
        return true;
    }
    struct conn *conn = server->service.is_draining ? NULL
                                                    : find_idle(server, true); /* server_drain() walks the list */
    if (conn != NULL) {
        conn_close(conn);
    }
    return conn != NULL;
}

/* Close the one of an address that has waited longest. is_inside: another one is being advanced, so nothing is read. */
static bool close_idle_of(struct address_entry *entry, bool is_inside)
{
    struct conn *conn = find_idle_of(entry);
    if (conn == NULL || (is_inside && sys_unread_bytes(conn->transport.fd) != 0)) {
        return false;
    }
    if (is_inside) {
        transport_say_end(&conn->transport);
        conn_close(conn);
    } else {
        conn_close_idle(conn);
    }
    return true;
}

/* Whether an address may have one more. Looks the entry up anew after each close, which may have moved it. */
static bool has_room_for(struct server *server, uint64_t key, bool is_inside)
{
    uint64_t cap = server->service.site->limits.max_connections_per_address;
    for (int i = 0; i <= ROOM_TRIES; i++) {
        struct address_entry *entry = address_table_find(&server->addresses, key);
        if (entry == NULL || entry->count < cap) {
            return true;
        }
        say_full(server, SERVER_CAP_ADDRESS, "max_connections_per_address", cap);
        if (!close_idle_of(entry, is_inside)) {
            return false;
        }
    }
    return false;
}

static bool counts_addresses(const struct server *server, uint64_t address)
{
    return server->service.site->limits.max_connections_per_address != 0 && address != 0;
}

bool server_has_address_room(struct server *server, uint64_t address)
{
    return !counts_addresses(server, address) || has_room_for(server, address, false);
}

bool server_has_room_inside(struct server *server, uint64_t address)
{
    return !counts_addresses(server, address) || has_room_for(server, address, true);
}

bool server_make_room(struct server *server)
{
    const struct limits *limits = &server->service.site->limits;
    if (server->service.stats.connections < limits->max_connections) {
        return true;
    }
    say_full(server, SERVER_CAP_TOTAL, "max_connections", limits->max_connections);
    return server_close_idle(server) && server->service.stats.connections < limits->max_connections;
}

int server_count_address(struct server *server, struct conn *conn, uint64_t address)
{
    if (!counts_addresses(server, address)) {
        return 0;
    }
    struct address_entry *entry = address_table_add(&server->addresses, address);
    if (entry == NULL) {
        return -ENOMEM;
    }
    entry->count++;
    struct conn *newest = entry->ring == NULL ? conn : entry->ring;
    struct conn *oldest = entry->ring == NULL ? conn : entry->ring->address_prev;
    conn->address_next = newest;
    conn->address_prev = oldest;
    oldest->address_next = conn;
    newest->address_prev = conn;
    entry->ring = conn;
    return 0;
}

void server_uncount_address(struct server *server, struct conn *conn)
{
    if (conn->address_prev == NULL) { /* it was not counted */
        return;
    }
    struct address_table *addresses = &server->addresses;
    struct address_entry *entry = address_table_find(addresses, address_key(conn->peer.family, conn->peer.address));
    if (entry->count == 1) {
        address_table_remove(addresses, entry);
        return;
    }
    entry->count--;
    entry->ring = entry->ring == conn ? conn->address_next : entry->ring;
    conn->address_prev->address_next = conn->address_next;
    conn->address_next->address_prev = conn->address_prev;
}

/* What a newcomer has sent, without the header of a proxy, which names its client. */
struct scrap {
    char bytes[SCRAP_BYTES];
    size_t begin, len; /* what is no header, and its length */
    struct peer peer;  /* the client */
};

static void take_scrap(struct scrap *scrap, int fd, const struct peer *peer, bool is_proxied)
{
    struct proxy_header header;
    ssize_t got = sys_recv(fd, scrap->bytes, sizeof scrap->bytes);
    scrap->begin = 0;
    scrap->len = got > 0 ? (size_t)got : 0;
    scrap->peer = peer == NULL ? (struct peer){.family = AF_UNSPEC} : *peer;
    if (is_proxied && proxy_header_read(&header, scrap->bytes, scrap->len) == PROXY_WHOLE) {
        scrap->begin = header.len;
        scrap->len -= header.len;
        if (header.has_addresses) {
            peer_init(&scrap->peer, (const struct sockaddr *)&header.source);
        }
    }
}

/* Send a client what the protocol says to those without room, and count it. */
static void say_no_room(struct server *server, int fd, bool is_plain, const struct peer *peer, char *received,
                        size_t received_len, enum refusal why)
{
    struct service *service = &server->service;
    char text[REFUSAL_MAX];
    /* A text needs a handshake first, where it is not the socket that carries it. */
    size_t len = is_plain ? h1_server_protocol(server->h1)->refuse(service, received, received_len, text) : 0;
    ssize_t sent = len == 0 ? 0 : sys_send(fd, text, len, false);
    if (sent > 0) {
        stat_add(&service->stats.requests, 1);
        stat_add(&service->stats.by_class[5], 1);
        stat_add(&service->stats.bytes_sent, (uint64_t)sent);
    }
    if (service->hooks.finished != NULL) {
        outcome_turned_away(service, peer, 503, sent > 0 ? (uint64_t)sent : 0, received, received_len,
                            len > 0 && sent == (ssize_t)len ? OUTCOME_COMPLETE : OUTCOME_GONE);
    }
    if (service->counts != NULL) {
        metrics_counts_add_refused(service->counts, why, 503, sent > 0 ? (uint64_t)sent : 0);
    }
    if (service->access != NULL) {
        access_log_turned_away(service, peer, 503, sent > 0 ? (uint64_t)sent : 0, received, received_len,
                               sent == (ssize_t)len);
    }
}

/* What it has sent already is read, so that the close is no reset that takes the response away. */
void server_turn_away(struct server *server, const struct accepter *accepter, int fd, const struct peer *peer,
                      enum refusal why)
{
    struct scrap scrap;
    take_scrap(&scrap, fd, peer, accepter->proxy != NULL);
    say_no_room(server, fd, accepter->ops == NULL, scrap.peer.family == AF_UNSPEC ? NULL : &scrap.peer,
                scrap.bytes + scrap.begin, scrap.len, why);
    sys_shutdown_write(fd);
    sys_close(fd);
}

void server_refuse(struct server *server, const struct conn *conn)
{
    struct scrap scrap;
    take_scrap(&scrap, conn->transport.fd, &conn->peer, false);
    bool is_plain = server->accepters[conn->listener].ops == NULL;
    say_no_room(server, conn->transport.fd, is_plain, &conn->peer, scrap.bytes, scrap.len, REFUSED_ADDRESS);
}
