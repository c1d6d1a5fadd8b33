/* Happy path: one read into the block that all connections share, and one write to the other side, which takes all of
 * it. Nothing is copied, and nothing is kept.
 *
 * Failure modes: what the other side does not take at once is kept, and nothing more is read from the one that sent it
 * until it is gone. The end of one side is passed on behind all that it has sent; the other way stays open, unless the
 * end goes over TLS, where nobody reads on after it. A side that is lost ends both: the client gets what the upstream
 * has sent before, without an orderly end of TLS.
 *
 * A client that ends when the upstream has ended already is gone for the kernel (EPOLLHUP, which cannot be put off while
 * its socket is watched). What the upstream has not taken by then is lost: it has ended and does not read either. */

#include "http/proxy/tunnel.h"

#include "core/link.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/write_buffer.h"
#include "http/conn.h"
#include "http/conn_doing.h"
#include "http/conn_pool.h"
#include "http/exchange.h"
#include "http/response.h"
#include "http/service.h"
#include "http/takeover.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* Each way of a tunnel. */
enum way_state {
    WAY_OPEN,
    WAY_ENDING, /* its sender has ended: what is kept has to go first */
    WAY_OVER,   /* its receiver was told, or takes no more */
};

struct way {
    struct write_buffer kept; /* received, and not taken by the other side */
    uint64_t passed;          /* bytes that were taken */
    uint8_t state;            /* enum way_state */
};

struct tunnel {
    struct takeover takeover;                   /* until the response is sent; its name is name */
    struct conn *conn;                          /* to the client; NULL until then */
    struct link *link;                          /* to the upstream */
    struct way up, down;                        /* from the client to the upstream, and back */
    int64_t moved_ms;                           /* when something was last passed on */
    uint32_t idle_timeout_ms, write_timeout_ms; /* of the plan */
    void (*on_end)(void *arg, const struct tunnel_counts *counts);
    void *arg;            /* handed to it */
    bool is_readable : 1; /* the link may be: read it in the next turn */
    bool is_lost : 1;     /* the upstream did not end in order */
    bool drains : 1;      /* the server stops */
    bool restarts : 1;    /* what is waited for has changed: its time begins anew */
    char name[TUNNEL_NAME_MAX + 1];
};

/* The block goes back as soon as nothing is kept. */
static void consume_kept(struct way *way, size_t len)
{
    write_buffer_consume(&way->kept, len);
    if (write_buffer_len(&way->kept) == 0) {
        write_buffer_done(&way->kept);
        write_buffer_init(&way->kept);
    }
}

static bool keeps(const struct way *way)
{
    return write_buffer_len(&way->kept) > 0;
}

/* The other side has taken len bytes. */
static void note_passed(struct tunnel *tunnel, struct way *way, size_t len)
{
    way->passed += len;
    tunnel->moved_ms = reactor_now_ms(tunnel->conn->pool->service->reactor);
}

static void enter_way_state(struct tunnel *tunnel, struct way *way, enum way_state state)
{
    way->state = (uint8_t)state;
    tunnel->restarts = true;
}

/* Up. */

/* The upstream takes no more. It may have said why, and that is still read. */
static void lose_upstream(struct tunnel *tunnel, int error)
{
    conn_log(tunnel->conn, "upstream of a tunnel lost", errno_text(-error));
    tunnel->is_lost = true;
    tunnel->conn->has_unread = true;
    consume_kept(&tunnel->up, SIZE_MAX);
    enter_way_state(tunnel, &tunnel->up, WAY_OVER);
}

/* Offer len bytes to the upstream. Returns how many it took. */
static size_t offer_up(struct tunnel *tunnel, const char *data, size_t len)
{
    ssize_t sent = link_send(tunnel->link, data, len);
    if (sent > 0) {
        note_passed(tunnel, &tunnel->up, (size_t)sent);
        return (size_t)sent;
    }
    if (sent < 0 && sent != -EAGAIN && sent != -EINTR) {
        lose_upstream(tunnel, (int)sent);
    }
    return 0;
}

/* Returns 0 or -errno. */
static int pass_up(struct tunnel *tunnel)
{
    struct way *up = &tunnel->up;
    if (up->state == WAY_OPEN && tunnel->conn->transport.is_at_end) {
        enter_way_state(tunnel, up, WAY_ENDING);
    }
    if (keeps(up)) {
        consume_kept(up, offer_up(tunnel, write_buffer_data(&up->kept), write_buffer_len(&up->kept)));
    }
    if (up->state != WAY_ENDING || keeps(up)) {
        return 0;
    }
    enter_way_state(tunnel, up, WAY_OVER);
    if (link_transport(tunnel->link)->ops != NULL && tunnel->down.state == WAY_OPEN) {
        enter_way_state(tunnel, &tunnel->down, WAY_ENDING);
        return 0;
    }
    return link_end(tunnel->link);
}

static ssize_t tunnel_read(struct conn *conn)
{
    struct tunnel *tunnel = conn->work;
    struct conn_pool *pool = conn->pool;
    assert(!pool->is_read_block_lent && !keeps(&tunnel->up));
    pool->is_read_block_lent = true;
    ssize_t len = transport_recv(&conn->transport, pool->read_block, READ_BLOCK_BYTES);
    conn->has_unread = len == READ_BLOCK_BYTES; /* there may be more */
    if (len > 0) {
        stat_add(&pool->service->stats.bytes_received, (uint64_t)len);
        size_t sent = offer_up(tunnel, pool->read_block, (size_t)len);
        bool is_taken = sent == (size_t)len || tunnel->up.state == WAY_OVER;
        if (!is_taken &&
            write_buffer_append(&tunnel->up.kept, pool->read_block + sent, (size_t)len - sent, READ_BLOCK_BYTES) < 0) {
            len = -ENOMEM;
        }
    }
    pool->is_read_block_lent = false;
    return len;
}

/* Down. */

/* Offer len bytes to the client. Returns how many it took, or -errno. */
static ssize_t offer_down(struct tunnel *tunnel, const char *data, size_t len)
{
    struct conn *conn = tunnel->conn;
    ssize_t sent = transport_send(&conn->transport, data, len, false);
    if (sent == -EAGAIN || sent == -EINTR) {
        return 0;
    }
    if (sent > 0) {
        conn->has_sent = true;
        stat_add(&conn->pool->service->stats.bytes_sent, (uint64_t)sent);
        note_passed(tunnel, &tunnel->down, (size_t)sent);
    }
    return sent;
}

/* Read once from the upstream. Returns 0 or -errno. */
static int receive_down(struct tunnel *tunnel)
{
    struct conn_pool *pool = tunnel->conn->pool;
    tunnel->is_readable = false;
    assert(!pool->is_read_block_lent);
    pool->is_read_block_lent = true;
    ssize_t len = link_recv(tunnel->link, pool->read_block, READ_BLOCK_BYTES);
    int rv = 0;
    if (len > 0) {
        ssize_t sent = offer_down(tunnel, pool->read_block, (size_t)len);
        rv = sent < 0     ? (int)sent
             : sent < len ? write_buffer_append(&tunnel->down.kept, pool->read_block + sent, (size_t)(len - sent),
                                                READ_BLOCK_BYTES)
                          : 0;
    } else if (len != -EAGAIN && len != -EINTR) {
        enter_way_state(tunnel, &tunnel->down, WAY_ENDING);
        if (len < 0 && tunnel->up.state != WAY_OVER) {
            lose_upstream(tunnel, (int)len);
        }
        tunnel->is_lost = tunnel->is_lost || len < 0;
    }
    pool->is_read_block_lent = false;
    return rv;
}

/* Returns 0 or -errno: the client is lost. */
static int pass_down(struct tunnel *tunnel)
{
    struct way *down = &tunnel->down;
    if (keeps(down)) {
        ssize_t sent = offer_down(tunnel, write_buffer_data(&down->kept), write_buffer_len(&down->kept));
        if (sent < 0) {
            return (int)sent;
        }
        consume_kept(down, (size_t)sent);
    }
    return down->state == WAY_OPEN && tunnel->is_readable && !keeps(down) ? receive_down(tunnel) : 0;
}

/* The upstream has sent all, and the client has taken it: nothing is to come any more. */
static bool tunnel_is_over(const struct tunnel *tunnel)
{
    bool is_sent = tunnel->down.state != WAY_OPEN && !keeps(&tunnel->down);
    bool stays_open = tunnel->up.state != WAY_OVER && !tunnel->is_lost && tunnel->conn->transport.ops == NULL;
    return is_sent && !stays_open;
}

/* The connections end. */
static enum turn end_tunnel(struct tunnel *tunnel)
{
    struct transport *transport = &tunnel->conn->transport;
    transport->is_cut = transport->is_cut || tunnel->is_lost;
    tunnel->conn->has_unread = true;
    transport_say_end(transport);
    return transport->holds_output ? TURN_WAIT : TURN_LINGER;
}

/* The protocol. */

static int want_of_link(struct tunnel *tunnel)
{
    bool reads = tunnel->down.state == WAY_OPEN && !keeps(&tunnel->down);
    return link_want(tunnel->link, (reads ? (unsigned)REACTOR_READABLE : 0U) |
                                       (keeps(&tunnel->up) ? (unsigned)REACTOR_WRITABLE : 0U));
}

static enum turn tunnel_advance(struct conn *conn)
{
    struct tunnel *tunnel = conn->work;
    int rv = pass_up(tunnel);
    rv = rv < 0 ? rv : pass_down(tunnel);
    if (rv == 0 && tunnel_is_over(tunnel)) {
        return end_tunnel(tunnel);
    }
    if (rv == 0 && tunnel->down.state == WAY_ENDING && !keeps(&tunnel->down)) {
        enter_way_state(tunnel, &tunnel->down, WAY_OVER);
        rv = transport_end(&conn->transport); /* it may go on sending */
    }
    rv = rv < 0 ? rv : want_of_link(tunnel);
    if (rv < 0) {
        conn_lost(conn, errno_text(-rv));
        return TURN_CLOSE;
    }
    if (tunnel->restarts) {
        tunnel->restarts = false;
        conn->waits_for = WAIT_NONE;
    }
    return TURN_WAIT;
}

static unsigned tunnel_wants(const struct conn *conn)
{
    const struct tunnel *tunnel = conn->work;
    bool reads = tunnel->up.state == WAY_OPEN && !keeps(&tunnel->up);
    bool writes = keeps(&tunnel->down) || conn->transport.holds_output;
    return (reads ? (unsigned)CONN_READS : 0U) | (writes ? (unsigned)CONN_WRITES : 0U);
}

static bool tunnel_is_idle(const struct conn *conn)
{
    (void)conn;
    return false; /* a stop tells it, and nobody else's connection takes its place */
}

/* Deadlines. */

static enum wait tunnel_waits_for(const struct conn *conn)
{
    const struct tunnel *tunnel = conn->work;
    return keeps(&tunnel->down) || conn->transport.holds_output ? WAIT_WRITE : WAIT_QUIET;
}

/* When its silence has lasted for too long; DEADLINE_NEVER. */
static int64_t silence_end_ms(const struct tunnel *tunnel)
{
    bool is_half_open = tunnel->up.state != WAY_OPEN || tunnel->down.state != WAY_OPEN;
    uint32_t most_ms = tunnel->idle_timeout_ms == 0 ? UINT32_MAX : tunnel->idle_timeout_ms;
    most_ms = is_half_open && most_ms > TUNNEL_HALF_OPEN_MS ? (uint32_t)TUNNEL_HALF_OPEN_MS : most_ms;
    most_ms = tunnel->drains && most_ms > TUNNEL_DRAIN_QUIET_MS ? (uint32_t)TUNNEL_DRAIN_QUIET_MS : most_ms;
    return most_ms == UINT32_MAX ? DEADLINE_NEVER : tunnel->moved_ms + most_ms;
}

static int64_t tunnel_deadline_ms(const struct conn *conn, enum wait waits_for, int64_t now_ms)
{
    const struct tunnel *tunnel = conn->work;
    if (waits_for != WAIT_WRITE) {
        return silence_end_ms(tunnel);
    }
    return tunnel->write_timeout_ms == 0 ? DEADLINE_NEVER : now_ms + tunnel->write_timeout_ms;
}

static bool tunnel_expire(struct conn *conn, enum wait waits_for)
{
    struct tunnel *tunnel = conn->work;
    tunnel->restarts = true;
    return waits_for == WAIT_QUIET && silence_end_ms(tunnel) > reactor_now_ms(conn->pool->service->reactor);
}

static void tunnel_drain(struct conn *conn)
{
    struct tunnel *tunnel = conn->work;
    if (!tunnel->drains) {
        tunnel->drains = tunnel->restarts = true;
        tunnel->moved_ms = reactor_now_ms(conn->pool->service->reactor);
        conn_resume(conn);
    }
}

static const char *tunnel_doing(const struct conn *conn)
{
    (void)conn;
    return "while a tunnel to an upstream was open";
}

/* Its end. */

static void destroy_tunnel(struct tunnel *tunnel)
{
    write_buffer_done(&tunnel->up.kept);
    write_buffer_done(&tunnel->down.kept);
    mem_free(tunnel);
}

static void end_of_tunnel(struct tunnel *tunnel)
{
    if (tunnel->up.state != WAY_OVER) {
        link_cut(tunnel->link);
    }
    link_close(tunnel->link);
    if (tunnel->on_end != NULL) {
        tunnel->on_end(tunnel->arg, &(struct tunnel_counts){.up = tunnel->up.passed, .down = tunnel->down.passed});
    }
    destroy_tunnel(tunnel);
}

static void tunnel_lose(struct conn *conn)
{
    struct tunnel *tunnel = conn->work;
    conn->work = NULL;
    stat_add(&conn->pool->service->stats.tunnels, UINT64_MAX); /* one less */
    end_of_tunnel(tunnel);
}

static const struct protocol tunnel_protocol = {
    .name = "tunnel",
    .read = tunnel_read,
    .advance = tunnel_advance,
    .wants = tunnel_wants,
    .is_idle = tunnel_is_idle,
    .waits_for = tunnel_waits_for,
    .deadline_ms = tunnel_deadline_ms,
    .expire = tunnel_expire,
    .drain = tunnel_drain,
    .lose = tunnel_lose,
    .doing = tunnel_doing,
};

/* Its begin. */

static void on_tunnel_ready(void *arg, unsigned events)
{
    struct tunnel *tunnel = arg;
    tunnel->is_readable = tunnel->is_readable || (events & (unsigned)REACTOR_READABLE) != 0;
    conn_resume(tunnel->conn);
}

static const struct link_user tunnel_user = {.on_ready = on_tunnel_ready};

static void *begin_tunnel(struct conn *conn, const char *unread, size_t len, void *arg)
{
    struct tunnel *tunnel = arg;
    if (len > 0 && write_buffer_append(&tunnel->up.kept, unread, len, UINT32_MAX) < 0) {
        return NULL;
    }
    tunnel->conn = conn;
    stat_add(&conn->pool->service->stats.tunnels, 1);
    tunnel->moved_ms = reactor_now_ms(conn->pool->service->reactor);
    tunnel->is_readable = true;
    tunnel->drains = conn->pool->service->is_draining;
    return tunnel;
}

static void lose_takeover(void *arg)
{
    end_of_tunnel(arg);
}

/* A tunnel that has everything but its connections. NULL without memory. */
static struct tunnel *make_tunnel(const struct tunnel_plan *plan)
{
    struct tunnel *tunnel = mem_zalloc(sizeof *tunnel);
    if (tunnel == NULL) {
        return NULL;
    }
    if (plan->early_len > 0 && write_buffer_append(&tunnel->down.kept, plan->early, plan->early_len, UINT32_MAX) < 0) {
        destroy_tunnel(tunnel);
        return NULL;
    }
    memcpy(tunnel->name, plan->name, strlen(plan->name));
    tunnel->idle_timeout_ms = plan->idle_timeout_ms;
    tunnel->write_timeout_ms = plan->write_timeout_ms;
    tunnel->on_end = plan->on_end;
    tunnel->arg = plan->arg;
    tunnel->takeover = (struct takeover){
        .name = tunnel->name, .to = &tunnel_protocol, .begin = begin_tunnel, .lose = lose_takeover, .arg = tunnel};
    return tunnel;
}

int tunnel_open(struct exchange *exchange, const struct tunnel_plan *plan)
{
    if (strlen(plan->name) > TUNNEL_NAME_MAX) {
        return -EINVAL;
    }
    struct tunnel *tunnel = make_tunnel(plan);
    if (tunnel == NULL) {
        return -ENOMEM;
    }
    tunnel->link = plan->link;
    int rv = response_switch(exchange, &tunnel->takeover);
    if (rv < 0) {
        destroy_tunnel(tunnel);
        return rv;
    }
    link_set_user(plan->link, &tunnel_user, tunnel);
    return 0;
}
