/* Happy path: a header that has come as a whole is looked at where it lies in the socket, and then read to its last
 * byte, so that what follows is there for its own reader, which may be a TLS session. Two system calls a connection.
 * A header that comes in pieces is collected.
 *
 * Failure modes: what is no header, or is not whole in time, or comes from a sender who is not trusted, is a line in
 * the log, and the connection is closed without a response, since nobody knows who would read it. */

#include "http/conn_proxy.h"

#include "core/mem.h"
#include "core/proxy_header.h"
#include "core/sys.h"
#include "http/conn.h"
#include "http/conn_doing.h"
#include "http/conn_opening.h"
#include "http/conn_pool.h"
#include "http/conn_proxied.h"
#include "http/service.h"
#include "http/site.h"
#include "http/trusted_proxies.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

/* The work, from the first read on: what has come. */
struct proxy_bytes {
    size_t len;
    char bytes[];
};

static const struct conn_proxy *proxy_of(const struct conn *conn)
{
    return (const struct conn_proxy *)(const void *)conn->protocol;
}

static void drop_proxy_bytes(struct conn *conn)
{
    mem_free(conn->work);
    conn->work = NULL;
}

/* Add what has come. Returns 0 or -ENOMEM. */
static int keep_proxy_bytes(struct conn *conn, const char *bytes, size_t len)
{
    const struct proxy_bytes *work = conn->work;
    size_t before = work == NULL ? 0 : work->len;
    struct proxy_bytes *grown = mem_resize(conn->work, sizeof *grown + before + len);
    if (grown == NULL) {
        return -ENOMEM;
    }
    memcpy(grown->bytes + before, bytes, len);
    grown->len = before + len;
    conn->work = grown;
    return 0;
}

/* Take from the socket what belongs to the header. What is none stays where it is, and a copy of it is kept for
 * advance(), which says so. */
static ssize_t read_proxy(struct conn *conn)
{
    assert(!conn->pool->is_read_block_lent);
    char *block = conn->pool->read_block;
    const struct proxy_bytes *work = conn->work;
    if (work == NULL && keep_proxy_bytes(conn, block, 0) < 0) {
        return -ENOMEM;
    }
    size_t before = work == NULL ? 0 : work->len;
    if (before > 0) {
        memcpy(block, work->bytes, before);
    }
    ssize_t seen = sys_peek(conn->transport.fd, block + before, PROXY_HEADER_MAX - before);
    conn->transport.is_at_end = seen == 0;
    conn->transport.may_have_more = seen == -EINTR;
    if (seen <= 0) {
        return seen;
    }
    struct proxy_header header;
    enum proxy_verdict verdict = proxy_header_read(&header, block, before + (size_t)seen);
    ssize_t taken = verdict == PROXY_BAD ? seen : sys_recv(conn->transport.fd, block + before, header.len - before);
    conn->transport.may_have_more = verdict != PROXY_BAD && (size_t)(taken < 0 ? 0 : taken) < header.len - before;
    if (taken <= 0) {
        return taken;
    }
    stat_add(&conn->pool->service->stats.bytes_received, verdict == PROXY_BAD ? 0 : (uint64_t)taken);
    return keep_proxy_bytes(conn, block + before, (size_t)taken) < 0 ? -ENOMEM : taken;
}

/* The header is there. */
static enum turn go_on_proxied(struct conn *conn, const struct proxy_header *header)
{
    const struct conn_proxy *proxy = proxy_of(conn);
    const struct trusted_proxies *trusted = conn->pool->service->site->trusted;
    if (trusted != NULL && !trusted_proxies_have(trusted, &conn->peer)) {
        conn_opening_headless(conn, "its sender is none of trusted_proxies", false);
        return TURN_CLOSE;
    }
    int rv = header->has_addresses ? conn_proxied_note(conn, header) : 0;
    drop_proxy_bytes(conn);
    if (rv == 0 && !proxy->admit(proxy->arg, conn)) {
        conn->has_unread = true;
        return TURN_LINGER;
    }
    rv = rv < 0 ? rv : transport_change(&conn->transport, proxy->ops, proxy->ops_arg);
    if (rv < 0) {
        conn_lost(conn, "out of memory");
        return TURN_CLOSE;
    }
    conn_go_over(conn, proxy->to, NULL);
    conn->reads_next = true; /* what follows the header may be there, and its event is over */
    return TURN_AGAIN;
}

static enum turn advance_proxy(struct conn *conn)
{
    const struct proxy_bytes *work = conn->work;
    struct proxy_header header;
    if (work->len == 0) {
        return conn->transport.is_at_end ? TURN_CLOSE : TURN_WAIT; /* a health check, for instance */
    }
    switch (proxy_header_read(&header, work->bytes, work->len)) {
    case PROXY_MORE:
        break;
    case PROXY_WHOLE:
        return go_on_proxied(conn, &header);
    case PROXY_BAD:
        conn_opening_headless(conn, header.why, header.is_missing);
        return TURN_CLOSE;
    }
    if (conn->transport.is_at_end) {
        conn_opening_headless(conn, "the connection ended inside of it", false);
        return TURN_CLOSE;
    }
    return TURN_WAIT;
}

static unsigned proxy_wants(const struct conn *conn)
{
    (void)conn;
    return CONN_READS;
}

static bool proxy_is_idle(const struct conn *conn)
{
    const struct proxy_bytes *work = conn->work;
    return work->len == 0;
}

static enum wait proxy_waits_for(const struct conn *conn)
{
    (void)conn;
    return WAIT_HEAD;
}

static int64_t proxy_deadline_ms(const struct conn *conn, enum wait waits_for, int64_t now_ms)
{
    uint64_t wait_ms = conn->pool->service->site->limits.header_timeout_ms;
    (void)waits_for;
    return now_ms + (int64_t)(wait_ms < PROXY_HEADER_MS ? wait_ms : (uint64_t)PROXY_HEADER_MS);
}

static bool proxy_waits_for_handler(const struct conn *conn)
{
    (void)conn;
    return false;
}

static bool expire_proxy(struct conn *conn, enum wait waits_for)
{
    const struct proxy_bytes *work = conn->work;
    (void)waits_for;
    if (work->len > 0) {
        conn_opening_headless(conn, "it was not whole in time", false);
    }
    return false;
}

static void drain_proxy(struct conn *conn)
{
    (void)conn; /* it has its deadline, as a head has */
}

static const char *proxy_doing(const struct conn *conn)
{
    (void)conn;
    return "while reading the PROXY header";
}

/* Not called: the server strips the header, and asks what follows. */
static size_t refuse_proxy(struct service *service, const char *received, size_t len, char text[REFUSAL_MAX])
{
    (void)service;
    (void)received;
    (void)len;
    (void)text;
    return 0;
}

void conn_proxy_init(struct conn_proxy *proxy, const struct protocol *to, const struct transport_ops *ops,
                     void *ops_arg)
{
    proxy->protocol = (struct protocol){
        .name = "PROXY",
        .is_prelude = true,
        .read = read_proxy,
        .advance = advance_proxy,
        .wants = proxy_wants,
        .is_idle = proxy_is_idle,
        .waits_for = proxy_waits_for,
        .deadline_ms = proxy_deadline_ms,
        .waits_for_handler = proxy_waits_for_handler,
        .expire = expire_proxy,
        .drain = drain_proxy,
        .lose = drop_proxy_bytes,
        .doing = proxy_doing,
        .refuse = refuse_proxy,
    };
    proxy->to = to;
    proxy->ops = ops;
    proxy->ops_arg = ops_arg;
}
