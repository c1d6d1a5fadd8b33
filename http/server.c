/* Listeners and pools of one server. Connections do their own work (conn.c); the server lends them memory and
 * counts them.
 *
 * Failure modes: out of connections, memory or file descriptors the connection that has been idle longest is closed for
 * the newcomer, or else the newcomer, after 503 (server_room.c). */

#include "http/server.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/net_handed.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "core/tls_context.h"
#include "core/tls_pool.h"
#include "http/compress.h"
#include "http/conn_phase.h"
#include "http/exchange.h"
#include "http/file_cache.h"
#include "http/file_room.h"
#include "http/metrics_board.h"
#include "http/server_drain.h"
#include "http/server_internal.h"
#include "http/server_room.h"
#include "http/site.h"
#include "http/static_files.h"

#include <errno.h>
#include <string.h>

/* A connection left the list. */
static void on_closed(void *arg, struct conn *conn)
{
    struct server *server = arg;
    server_uncount_address(server, conn);
    stat_add(&server->service.stats.connections, UINT64_MAX); /* one less */
    server_end_drain(server);
}

/* Accepting. */

/* Open a connection, or turn the client away. The address is asked first: one that has too many gets nobody else's
 * place. */
static void accept_socket(const struct accepter *accepter, int fd, const struct sockaddr *address)
{
    struct server *server = accepter->server;
    struct peer peer;
    peer_init(&peer, address);
    uint64_t key = accepter->proxy != NULL ? 0 : address_key(peer.family, peer.address); /* the header tells whose */
    struct conn *conn = NULL;
    enum refusal why = REFUSED_ADDRESS;
    bool has_room = server_has_address_room(server, key);
    if (has_room) {
        has_room = server_make_room(server);
        why = has_room ? REFUSED_MEMORY : REFUSED_CONNECTIONS;
    }
    if (has_room) {
        conn = conn_pool_take(&server->pool);
        if (conn == NULL && server_close_idle(server)) {
            conn = conn_pool_take(&server->pool);
        }
    }
    if (conn == NULL) {
        server_turn_away(server, accepter, fd, &peer, why);
        return;
    }
    stat_add(&server->service.stats.accepted, 1);
    stat_add(&server->service.stats.connections, 1);
    conn->peer = peer;
    conn->listener = accepter->listener;
    if (server_count_address(server, conn, key) < 0) {
        conn_pool_forget(&server->pool, conn);
        conn_pool_put(&server->pool, conn);
        server_turn_away(server, accepter, fd, &peer, REFUSED_MEMORY);
        return;
    }
    if (accepter->proxy != NULL) {
        conn_open(conn, &accepter->proxy->protocol, NULL, NULL, fd);
    } else {
        conn_open(conn, accepter->protocol, accepter->ops, accepter->ops_arg, fd);
    }
}

/* A proxy has said whose connection it is: the address of that client counts. */
static bool admit_proxied(void *arg, struct conn *conn)
{
    struct server *server = arg;
    uint64_t key = address_key(conn->peer.family, conn->peer.address);
    if (server_has_room_inside(server, key) && server_count_address(server, conn, key) == 0) {
        return true;
    }
    server_refuse(server, conn);
    return false;
}

static void on_accept(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    (void)peer_len;
    accept_socket(arg, fd, peer);
}

static bool on_starved(void *arg)
{
    const struct accepter *accepter = arg;
    return server_starve(accepter->server);
}

static void on_turned_away(void *arg, int fd)
{
    const struct accepter *accepter = arg;
    server_turn_away(accepter->server, accepter, fd, NULL, REFUSED_FDS);
}

/* What a listener's connections begin with. */
static struct accepter accepter_of(struct server *server, int listener)
{
    return (
        struct accepter){.server = server, .protocol = h1_server_protocol(server->h1), .listener = (int8_t)listener};
}

/* What the next listener hands to these. */
static struct accepter *next_accepter(struct server *server, const struct transport_ops *ops, bool is_proxied)
{
    struct accepter *accepter = &server->accepters[server->listener_count];
    *accepter = accepter_of(server, (int)server->listener_count);
    accepter->ops = ops;
    accepter->ops_arg = &server->tls;
    accepter->proxy = is_proxied ? &server->proxies[ops != NULL] : NULL;
    return accepter;
}

/* The site is this server's: a request for one of its files may take the fd of an idle connection. */
static void offer_room(struct server *server)
{
    const struct file_room room = {.make = server_make_file_room, .arg = server};
    file_cache_set_room(server->service.site->cache, &room);
}

/* A client that takes nothing has write_timeout, which the kernel must not cut short. */
static void set_keepalive(struct server *server, struct net_listener *listener)
{
    const struct limits *limits = &server->service.site->limits;
    uint64_t idle_ms = limits->tcp_keepalive_ms;
    uint64_t give_up_ms = 2 * idle_ms > limits->write_timeout_ms ? 2 * idle_ms : limits->write_timeout_ms;
    net_listener_set_keepalive(listener, idle_ms, give_up_ms);
}

/* A listener was opened: it is the next one, and asks the server when fds are short. */
static int add_listener(struct server *server)
{
    struct net_listener *listener = &server->listeners[server->listener_count];
    set_keepalive(server, listener);
    listener->on_starved = on_starved;
    listener->on_turned_away = on_turned_away;
    return (int)server->listener_count++;
}

enum { ADOPTED_FIRST = 4 }; /* first length of server->adopted */

static void close_adopted(struct server *server)
{
    while (server->adopted_count > 0) {
        sys_close(server->adopted[--server->adopted_count]);
    }
}

/* Open the connections of the sockets that were adopted, in their order. */
static void on_adopted(struct reactor *reactor, void *arg)
{
    (void)reactor;
    struct server *server = arg;
    const struct sockaddr peer = {.sa_family = AF_UNIX};
    const struct accepter accepter = accepter_of(server, LISTENER_NONE);
    int *adopted = server->adopted; /* a handler may adopt more */
    unsigned count = server->adopted_count;
    server->adopted = NULL;
    server->adopted_count = 0;
    server->adopted_capacity = 0;
    for (unsigned i = 0; i < count; i++) {
        accept_socket(&accepter, adopted[i], &peer);
    }
    mem_free(adopted);
    server_end_drain(server);
}

/* Returns 0 or -ENOMEM. */
static int keep_adopted(struct server *server, int fd)
{
    if (server->adopted_count == server->adopted_capacity) {
        unsigned capacity = server->adopted_capacity == 0 ? ADOPTED_FIRST : server->adopted_capacity * 2;
        int *grown = mem_resize(server->adopted, capacity * sizeof *grown);
        if (grown == NULL) {
            return -ENOMEM;
        }
        server->adopted = grown;
        server->adopted_capacity = capacity;
    }
    int rv = server->adopted_count > 0 ? 0 : reactor_defer(server->service.reactor, on_adopted, server);
    if (rv == 0) {
        server->adopted[server->adopted_count++] = fd;
    }
    return rv;
}

/* A handler may call this, in the middle of the turn of another connection, which has the shared blocks: so the
 * connection is opened by a task. */
int server_adopt(struct server *server, int fd)
{
    int rv = server->service.is_draining ? -ESHUTDOWN
                                         : sys_get_option(fd, SOL_SOCKET, SO_TYPE); /* fails if it is no socket */
    rv = rv < 0 ? rv : sys_set_nonblocking(fd);
    rv = rv < 0 ? rv : keep_adopted(server, fd);
    if (rv < 0) {
        sys_close(fd);
    }
    return rv;
}

/* A listener was opened: note what it redirects, or whether it is one to redirect to. */
static void note_redirect(struct server *server, int listener, const struct net_address *address, bool is_secured)
{
    struct https_redirect *redirect = &server->service.redirect;
    int port = server->listeners[listener].port;
    if (address->redirects) {
        redirect->listeners |= 1U << listener;
        redirect->ports[listener] = address->redirect_port;
        service_note_first(&server->service);
    }
    if (is_secured && redirect->port == 0 && port > 0) {
        redirect->port = (uint16_t)port;
    }
}

static int open_listener(struct server *server, const char *address, bool is_secured, unsigned flags, char *err,
                         size_t errlen)
{
    if (server->listener_count == SERVER_LISTENERS_MAX) {
        return error_text(err, errlen, -ENOSPC, "cannot listen on %s: more than %d addresses", address,
                          SERVER_LISTENERS_MAX);
    }
    struct net_address parsed;
    int rv = net_address_parse(&parsed, address, err, errlen);
    is_secured = is_secured || parsed.tls;
    if (rv == 0 && is_secured && server->tls.context == NULL) {
        return error_text(err, errlen, -EINVAL, "cannot listen on %s with TLS: there is no certificate", address);
    }
    if (rv == 0 && parsed.redirects && server->tls.context == NULL) {
        return error_text(err, errlen, -EINVAL, "cannot listen on %s: there is no HTTPS to redirect to", address);
    }
    const struct transport_ops *ops = is_secured ? &tls_transport_ops : NULL;
    flags |= transport_listen_flags(ops);
    if (rv == 0 && server->handed != NULL) {
        parsed.handed_fd = net_handed_take(server->handed, &parsed);
    }
    rv = rv < 0
             ? rv
             : net_listener_open(&server->listeners[server->listener_count], server->service.reactor, &parsed, flags,
                                 on_accept, next_accepter(server, ops, parsed.proxy), server->service.log, err, errlen);
    if (rv < 0) {
        return rv;
    }
    mem_free(server->asked[server->listener_count]); /* of one that was dropped */
    server->asked[server->listener_count] = mem_copy_text(address);
    if (server->asked[server->listener_count] == NULL) {
        net_listener_close(&server->listeners[server->listener_count]);
        return error_text(err, errlen, -ENOMEM, "cannot listen on %s: %s", address, errno_text(ENOMEM));
    }
    int listener = add_listener(server);
    note_redirect(server, listener, &parsed, is_secured);
    return listener;
}

int server_listen(struct server *server, const char *address, char *err, size_t errlen)
{
    return open_listener(server, address, false, 0, err, errlen);
}

int server_listen_shared(struct server *server, const char *address, char *err, size_t errlen)
{
    return open_listener(server, address, false, NET_SHARED, err, errlen);
}

int server_listen_tls(struct server *server, const char *address, bool is_shared, char *err, size_t errlen)
{
    return open_listener(server, address, true, is_shared ? NET_SHARED : 0, err, errlen);
}

/* For a client that types http:// and the port of https://. */
static const char plain_reply[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                  "Content-Length: 51\r\nConnection: close\r\n\r\n"
                                  "This port expects HTTPS: use https:// in the URL.\r\n";

int server_set_tls(struct server *server, struct tls_context *context)
{
    if (server->tls.pool == NULL) {
        server->tls.pool = tls_pool_create(plain_reply);
    }
    if (server->tls.pool == NULL) {
        return -ENOMEM;
    }
    tls_context_put(server->tls.context);
    server->tls.context = tls_context_ref(context);
    server->service.redirect.context = context;
    return 0;
}

int server_join(struct server *server, const struct server *first, char *err, size_t errlen)
{
    int rv = 0;
    while (rv == 0 && server->listener_count < first->listener_count) {
        const struct net_listener *other = &first->listeners[server->listener_count];
        const struct accepter *like = &first->accepters[server->listener_count];
        int handed_fd = server->handed == NULL ? 0 : net_handed_take_twin(server->handed, other);
        rv = net_listener_join(&server->listeners[server->listener_count], server->service.reactor, other, handed_fd,
                               on_accept, next_accepter(server, like->ops, like->proxy != NULL), server->service.log,
                               err, errlen);
        if (rv == 0) {
            add_listener(server);
        }
    }
    const struct tls_context *context = server->service.redirect.context;
    server->service.redirect = first->service.redirect;
    server->service.redirect.context = context;
    service_note_first(&server->service);
    return rv;
}

void server_set_handed(struct server *server, struct net_handed_list *list)
{
    server->handed = list;
}

int server_listener_fd(const struct server *server, unsigned listener, const char **wanted, bool *is_own_socket)
{
    if (listener >= server->listener_count) {
        return SERVER_NO_LISTENER;
    }
    if (server->listeners[listener].fd < 0) {
        return SERVER_CLOSED_LISTENER;
    }
    const struct net_listener *it = &server->listeners[listener];
    *wanted = it->wanted;
    *is_own_socket = it->shares_port;
    return it->fd;
}

void server_leave_listeners(struct server *server, bool only_handed)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        if (!only_handed || server->listeners[i].is_handed) {
            net_listener_leave(&server->listeners[i]);
        }
    }
}

const char *server_address(const struct server *server, unsigned listener)
{
    return listener < server->listener_count ? server->listeners[listener].name : NULL;
}

int server_port(const struct server *server, unsigned listener)
{
    return listener < server->listener_count ? server->listeners[listener].port : -1;
}

const char *server_scheme(const struct server *server, unsigned listener)
{
    return listener >= server->listener_count                      ? NULL
           : server->accepters[listener].ops == &tls_transport_ops ? "https"
                                                                   : "http";
}

int server_expects_proxy(const struct server *server, unsigned listener)
{
    return listener >= server->listener_count ? -1 : server->accepters[listener].proxy != NULL;
}

/* Life. */

static void serve_static(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    static_files_serve(exchange->vhost->mounts, exchange);
}

static void init_proxies(struct server *server)
{
    static const struct transport_ops *const ops[] = {NULL, &tls_transport_ops};
    for (unsigned i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        conn_proxy_init(&server->proxies[i], h1_server_protocol(server->h1), ops[i], &server->tls);
        server->proxies[i].admit = admit_proxied;
        server->proxies[i].arg = server;
    }
}

int server_create(struct server **server, struct reactor *reactor, struct site *site, const struct log *log)
{
    struct server *s = mem_zalloc(sizeof *s);
    if (s == NULL) {
        return -ENOMEM;
    }
    const struct handler static_handler = {.serve = serve_static, .body_mode = BODY_UNWANTED};
    service_init(&s->service, reactor, site, log, &static_handler);
    offer_room(s);
    int rv = conn_pool_init(&s->pool, &s->service);
    s->pool.on_closed = on_closed;
    s->pool.arg = s;
    rv = rv < 0 ? rv : h1_server_create(&s->h1, &s->service);
    if (rv < 0) {
        server_destroy(s);
        return rv;
    }
    init_proxies(s);
    *server = s;
    return 0;
}

void server_set_site(struct server *server, struct site *site)
{
    server->service.site = site;
    service_note_first(&server->service);
    h1_server_renew(server->h1);
    offer_room(server);
    for (unsigned i = 0; i < server->listener_count; i++) {
        set_keepalive(server, &server->listeners[i]);
    }
    for (struct conn *conn = server->pool.conns; conn != NULL; conn = conn->next) {
        if (conn->work != NULL) {
            conn_resume(conn); /* its task tells the handler: this may be inside a call of that handler's */
        }
    }
}

static void close_listeners(struct server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        net_listener_close(&server->listeners[i]);
    }
    for (unsigned i = 0; i < SERVER_LISTENERS_MAX; i++) {
        mem_free(server->asked[i]);
        server->asked[i] = NULL;
    }
}

void server_abandon(struct server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        net_listener_abandon(&server->listeners[i]);
    }
    close_adopted(server);
    for (struct conn *conn = server->pool.conns; conn != NULL; conn = conn->next) {
        if (conn->transport.fd >= 0) {
            sys_close(conn->transport.fd);
            conn->transport.fd = -1;
        }
    }
}

void server_destroy(struct server *server)
{
    if (server == NULL) {
        return;
    }
    server->on_drained = NULL;
    close_listeners(server);
    close_adopted(server);
    server_cut(server);
    server_forget_drain(server);
    h1_server_destroy(server->h1);
    compressor_destroy(server->service.compressor);
    conn_pool_done(&server->pool);
    address_table_done(&server->addresses);
    tls_context_put(server->tls.context);
    tls_pool_destroy(server->tls.pool);
    mem_free(server->adopted);
    mem_free(server);
}

/* Numbers and parts. */

void server_count_phases(const struct server *server, uint64_t *counts)
{
    conn_phase_count(&server->pool, counts);
}

void server_get_stats(const struct server *server, struct server_stats *stats)
{
    service_get_stats(&server->service, stats);
}

void server_get_totals(const struct server *server, struct server_stats *stats)
{
    if (server->service.board != NULL) {
        metrics_board_sum(server->service.board, stats);
    } else {
        server_get_stats(server, stats);
    }
}

struct reactor *server_reactor(const struct server *server)
{
    return server->service.reactor;
}

void server_report_full(const struct server *server, bool ends)
{
    if (server->service.on_full != NULL) {
        server->service.on_full(server->service.on_full_arg, ends);
    }
}

struct service *server_service(struct server *server)
{
    return &server->service;
}
