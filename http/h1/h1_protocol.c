/* HTTP/1 as the storeys above and below see it: a framing for exchanges, a protocol for connections. */

#include "http/h1/h1_protocol.h"

#include "core/mem.h"
#include "core/tls.h"
#include "http/access_log.h"
#include "http/conn_proxied.h"
#include "http/h1/h1.h"
#include "http/h1/h1_body.h"
#include "http/h1/h1_deadline.h"
#include "http/h1/h1_handler.h"
#include "http/h1/h1_head.h"
#include "http/h1/h1_io.h"
#include "http/h1/h1_log.h"
#include "http/h1/h1_pace.h"
#include "http/h1/h1_pool.h"
#include "http/h1/h1_steps.h"
#include "http/h1/h1_turn.h"
#include "http/h1/parser_variants.h"
#include "http/service.h"
#include "http/takeover.h"

#include <errno.h>

enum { STATUS_MISTAKEN = 400 };

/* The framing. */

static void resume_conn(struct exchange *exchange)
{
    conn_resume(h1_of(exchange)->conn);
}

static int64_t deadline_of_write(const struct exchange *exchange)
{
    const struct conn *conn = h1_of(exchange)->conn;
    return conn->waits_for == WAIT_WRITE ? conn->deadline.at_ms : DEADLINE_NEVER;
}

static int fd_of_exchange(const struct exchange *exchange)
{
    return h1_of(exchange)->conn->transport.fd;
}

static bool tls_of_exchange(const struct exchange *exchange, struct tls_info *info)
{
    return tls_get_info(&h1_of(exchange)->conn->transport, info);
}

static bool is_exchange_misdirected(const struct exchange *exchange, const char *name, size_t len)
{
    const struct h1 *h1 = h1_of(exchange);
    return h1->is_secured && tls_is_misdirected(&h1->conn->transport, name, len);
}

static const struct proxied *proxied_of_exchange(const struct exchange *exchange)
{
    return conn_proxied_find(h1_of(exchange)->conn);
}

static const struct framing h1_framing = {
    .begin = h1_begin,
    .prebuilt = h1_prebuilt,
    .write = h1_write,
    .borrow = h1_borrow,
    .end = h1_end_content,
    .queue = h1_queue,
    .queued = h1_queued,
    .overhead = h1_overhead,
    .read_body = h1_read_body,
    .unread_body = h1_unread_body,
    .fail_body = h1_fail_exchange_body,
    .resume = resume_conn,
    .write_deadline_ms = deadline_of_write,
    .fd = fd_of_exchange,
    .tls = tls_of_exchange,
    .interim = h1_interim,
    .is_misdirected = is_exchange_misdirected,
    .proxied = proxied_of_exchange,
};

/* The protocol. */

/* The connection's work, with an output block if one is there. NULL without memory. */
static struct h1 *prepare_work(struct conn *conn)
{
    struct h1 *h1 = conn->work != NULL ? conn->work : h1_take(conn);
    if (h1 != NULL) {
        conn_pool_lend_out(conn->pool, &h1->out);
    }
    return h1;
}

static ssize_t read_for_work(struct conn *conn)
{
    struct h1 *h1 = prepare_work(conn);
    if (h1 == NULL) {
        return -ENOMEM;
    }
    ssize_t len = h1_read_input(h1);
    conn->has_unread = len > 0 && h1->input.end == h1->input.capacity; /* there may be more */
    return len;
}

static enum turn advance_work(struct conn *conn)
{
    struct h1 *h1 = prepare_work(conn);
    return h1 == NULL ? TURN_CLOSE : h1_take_turn(h1);
}

static unsigned work_wants(const struct conn *conn)
{
    const struct h1 *h1 = conn->work;
    return (h1_reads(h1) && !out_is_high(h1) ? (unsigned)CONN_READS : 0U) |
           (h1->wants_write && !h1_is_held(h1) ? (unsigned)CONN_WRITES : 0U);
}

static bool work_is_idle(const struct conn *conn)
{
    return h1_is_idle(conn->work);
}

static enum wait work_waits_for(const struct conn *conn)
{
    return h1_waits_for(conn->work);
}

static int64_t work_deadline_ms(const struct conn *conn, enum wait wait, int64_t now_ms)
{
    return h1_deadline_ms(conn->work, wait, now_ms);
}

static bool work_waits_for_handler(const struct conn *conn)
{
    return h1_waits_for_handler(conn->work);
}

static bool expire_work(struct conn *conn, enum wait wait)
{
    struct h1 *h1 = prepare_work(conn);
    if (wait == WAIT_QUIET) {
        return true; /* what was held back may go on */
    }
    bool is_client_late = (wait == WAIT_HEAD || wait == WAIT_BODY) && h1->exchange.response_state == RESPONSE_NONE;
    if (is_client_late && h1->state == H1_PROCESSING) {
        h1_fail_body(h1, 408, NULL); /* it is the handler that waits, and that responds */
        return true;
    }
    if (is_client_late) {
        h1_refuse(h1, 408, NULL);
        return true;
    }
    if (wait != WAIT_HANDLER || !h1_replace_handler(h1)) {
        return false;
    }
    conn->end = OUTCOME_GONE; /* until it ends in another way: it goes on */
    return true;
}

static void drain_work(struct conn *conn)
{
    struct h1 *h1 = conn->work;
    if (h1->exchange.response_state == RESPONSE_NONE) {
        h1->closes = true; /* so that the response says it is the last one */
    }
    h1_announce_stop(h1);
}

/* A response whose end is that of the connection is cut with a reset: an orderly end would make it look complete. */
static void cut_unframed(struct h1 *h1)
{
    bool is_whole = h1->exchange.response_state == RESPONSE_NONE && out_is_empty(h1); /* nothing after the reset */
    if (h1->ends_with_close && !is_whole) {
        transport_reset(&h1->conn->transport);
    }
}

/* Whether something of a request is there: a connection that ends between two of them has nothing to log. */
static bool has_begun(const struct h1 *h1)
{
    const struct exchange *exchange = &h1->exchange;
    return exchange->head_data != NULL || exchange->response_state != RESPONSE_NONE || parser_has_begun(&h1->parser);
}

/* A client that sent plain HTTP instead of a TLS handshake got a response, which has a line like others. What it sent
 * is gone with the handshake. */
static void log_plain_reply(struct conn *conn)
{
    struct service *service = conn->pool->service;
    if (service->access != NULL) {
        access_log_turned_away(service, &conn->peer, STATUS_MISTAKEN, conn->transport.replied, NULL, 0, true);
    }
    conn->transport.replied = 0;
}

static void lose_work(struct conn *conn)
{
    struct h1 *h1 = conn->work;
    struct exchange *exchange = &h1->exchange;
    cut_unframed(h1);
    if (conn->transport.replied > 0) {
        log_plain_reply(conn);
    }
    if (conn->end == OUTCOME_STOPPED) {
        h1_log_stopped(h1);
    }
    if (exchange->response_state != RESPONSE_COMPLETE) {
        h1_tell_gone(h1);
    }
    if (exchange->takeover != NULL && exchange->takeover->lose != NULL) {
        exchange->takeover->lose(exchange->takeover->arg);
    }
    if (exchange->dues.is_watched) {
        source_release(&exchange->source); /* the host may free what it keeps for the request, this content too */
        outcome_end(exchange, (enum outcome_end)conn->end, input_data(h1), input_len(h1));
    }
    if ((exchange->dues.is_logged || exchange->dues.is_measured) && has_begun(h1)) {
        h1_log_cut(h1, (enum outcome_end)conn->end);
    }
    h1_drop(h1);
}

static const struct protocol h1_protocol = {
    .name = "HTTP/1",
    .read = read_for_work,
    .advance = advance_work,
    .wants = work_wants,
    .is_idle = work_is_idle,
    .waits_for = work_waits_for,
    .deadline_ms = work_deadline_ms,
    .waits_for_handler = work_waits_for_handler,
    .expire = expire_work,
    .drain = drain_work,
    .lose = lose_work,
    .doing = h1_doing,
    .refuse = h1_refuse_newcomer,
};

/* For a server. */

int h1_server_create(struct h1_server **server, struct service *service)
{
    struct h1_server *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->protocol = h1_protocol;
    made->service = service;
    made->framing = &h1_framing;
    made->parse_head = parse_head_best(NULL);
    *server = made;
    return 0;
}

void h1_server_destroy(struct h1_server *server)
{
    if (server != NULL) {
        h1_empty_pool(server);
        mem_free(server);
    }
}

void h1_server_renew(struct h1_server *server)
{
    h1_empty_pool(server);
}

const struct protocol *h1_server_protocol(const struct h1_server *server)
{
    return &server->protocol;
}
