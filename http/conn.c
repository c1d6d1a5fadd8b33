/* The connection state machine. conn_advance() is its table of contents.
 *
 * Happy path: a read fills the exchange's input; the head is parsed and routed, the body read, the handler called, the
 * answer queued; with more requests in the input the same turn goes on, and at its end one write sends all answers.
 * conn_steps.c has what is done in each state, conn_io.c moves the bytes, conn_deadline.c watches the clock.
 *
 * Failure modes: malformed requests get their status and a close, because their framing is in doubt. A lost peer, a
 * peer beyond its deadline, memory that is short, or an answer that cannot be completed end in conn_close(). A close
 * while the client may still be sending is a lingering one, so that it reads the answer and not a reset. */

#include "http/conn.h"

#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/conn_body.h"
#include "http/conn_deadline.h"
#include "http/conn_handler.h"
#include "http/conn_io.h"
#include "http/conn_steps.h"
#include "http/outcome.h"
#include "http/response_refs.h"
#include "http/server_internal.h"

#include <errno.h>
#include <string.h>

static void on_event(struct reactor *reactor, int fd, unsigned events, void *arg);
static void on_task(struct reactor *reactor, void *arg);

/* The end of a turn. */

/* Whether what the client sends is to be read now. */
static bool is_reading(const struct conn *conn)
{
    switch ((enum conn_state)conn->state) {
    case CONN_READING_HEADERS:
    case CONN_READING_BODY:
        return true;
    case CONN_PROCESSING:
        return conn_wants_body(conn->exchange);
    case CONN_WRITING_RESPONSE:
    case CONN_CLOSING:
        break;
    }
    return conn->is_lingering;
}

/* Whether the reactor is to tell of edges. It is so while the client's bytes are all that is waited for, since a read that
 * did not fill its buffer has emptied a TCP socket: then no wait looks at the socket again in vain. What is left in it,
 * or a socket that is full, is told by its level, and this stays so until the connection is idle, because going to and
 * fro costs a system call each time. */
static bool wants_edges(struct conn *conn, unsigned interest, bool reads_now)
{
    if ((conn->is_filled && reads_now) || conn->wants_write) {
        conn->is_level = true;
    } else if (conn->exchange == NULL) {
        conn->is_level = false;
    }
    bool is_tcp = conn->peer.family == AF_INET || conn->peer.family == AF_INET6;
    return (interest | REACTOR_END) == (REACTOR_READABLE | REACTOR_END) && is_tcp && !conn->is_level;
}

/* Ask the reactor for what is still needed. Asking for READABLE stays on while a handler works or an answer is sent,
 * because taking it back costs a system call; only when bytes do arrive meanwhile it is dropped. END stays on after that,
 * so that a client that leaves is noticed though it has sent something that nobody reads now. */
static int update_interest(struct conn *conn)
{
    bool is_held_back = conn->exchange != NULL && out_is_high(conn);
    bool was_reading = !conn->is_registered || (conn->interest & REACTOR_READABLE) != 0;
    bool reads_now = is_reading(conn) && !is_held_back;
    bool wants_read = reads_now || (was_reading && !conn->ignore_input);
    unsigned interest = (wants_read ? (unsigned)REACTOR_READABLE : 0U) |
                        (conn->wants_write ? (unsigned)REACTOR_WRITABLE : 0U) |
                        (conn->is_half_closed ? 0U : (unsigned)REACTOR_END);
    if (conn->is_at_end) {
        interest &= ~(unsigned)(REACTOR_READABLE | REACTOR_END);
    }
    if (wants_edges(conn, interest, reads_now)) {
        interest |= (unsigned)REACTOR_EDGE;
    }
    conn->ignore_input = false;
    if (conn->is_registered && interest == conn->interest) {
        return 0;
    }
    int rv = reactor_register(conn->server->service.reactor, conn->fd, interest, on_event, conn);
    if (rv == 0) {
        conn->is_registered = true;
        conn->interest = (uint8_t)interest;
    }
    return rv;
}

/* Give lent blocks back, and the exchange itself when the connection is idle. */
static int settle(struct conn *conn)
{
    struct exchange *exchange = conn->exchange;
    struct server *server = conn->server;
    int rv = 0;
    if (exchange->response_state != RESPONSE_COMPLETE) { /* the handler, or a body to come, still needs the request */
        rv = input_keep_head(exchange);
        rv = rv < 0 ? rv : input_keep_body(exchange);
    } else if (exchange->is_watched) { /* so does whoever hears of its end */
        rv = input_keep_head(exchange);
    }
    rv = rv < 0 ? rv : input_settle(conn, exchange);
    if (rv < 0) {
        return rv;
    }
    if (out_len(exchange) == 0) {
        server_put_out(server, &exchange->out);
    }
    if (conn->state == CONN_READING_HEADERS && exchange->input.data == NULL && out_is_empty(exchange)) {
        conn->exchange = NULL;
        server_put_exchange(server, exchange);
    }
    return 0;
}

/* The connection gets its exchange, and the output block is lent. Returns 0 or -ENOMEM. */
static int prepare(struct conn *conn)
{
    struct server *server = conn->server;
    if (conn->exchange == NULL) {
        conn->exchange = server_take_exchange(server);
        if (conn->exchange == NULL) {
            return -ENOMEM;
        }
        conn->exchange->conn = conn;
        conn->exchange->peer = &conn->peer;
        conn->exchange->listener = conn->listener;
        conn_start_request(conn);
    }
    if (conn->exchange->out.block == NULL && server->spare_out != NULL) {
        write_buffer_attach(&conn->exchange->out, server->spare_out, server->spare_out_capacity);
        server->spare_out = NULL;
    }
    return 0;
}

static enum advance step(struct conn *conn)
{
    switch ((enum conn_state)conn->state) {
    case CONN_READING_HEADERS:
        return conn_read_head(conn);
    case CONN_READING_BODY:
        return conn_read_body(conn);
    case CONN_PROCESSING:
        return conn_process(conn);
    case CONN_WRITING_RESPONSE:
        return conn_write_response(conn);
    case CONN_CLOSING:
        break;
    }
    return conn_linger(conn);
}

/* What was read is not looked at yet: the turn's budget is spent, or the client does not take its answers. */
static bool has_requests_waiting(const struct conn *conn)
{
    return conn->state == CONN_READING_HEADERS && input_len(conn->exchange) > 0 &&
           (conn->turn_requests >= PIPELINE_BUDGET || out_is_high(conn));
}

/* Something is left to do in this tick's tasks or in the next one, though no fd will say so. */
static bool has_more_to_do(const struct conn *conn)
{
    const struct exchange *exchange = conn->exchange;
    if (conn->state == CONN_PROCESSING && exchange->is_stalled) {
        return response_refs_queued(exchange) <= conn_limits(conn)->write_high_mark_bytes / 2;
    }
    return has_requests_waiting(conn) && !out_is_high(conn);
}

/* Between requests: nothing of the next one is there. Empty lines before it are nothing. */
static bool is_idle(const struct conn *conn)
{
    const struct exchange *exchange = conn->exchange;
    return exchange == NULL || (conn->state == CONN_READING_HEADERS && out_is_empty(exchange) &&
                                !parser_has_begun(&exchange->parser) && !has_requests_waiting(conn));
}

/* The client shut its side. Nearly always that is the first half of a close, so a handler that has yet to answer is told
 * that its client has gone, unless its route says that such clients still read. An answer that is complete is sent; a
 * request that is not complete never will be. */
static enum advance end_of_input(struct conn *conn)
{
    if ((conn->is_half_closed || conn->is_at_end) && conn_is_left(conn)) {
        return conn_close_left(conn);
    }
    if (!conn->is_at_end || !is_reading(conn) || has_requests_waiting(conn)) {
        return ADVANCE_ON;
    }
    if (out_is_empty(conn->exchange)) {
        return ADVANCE_CLOSE;
    }
    conn->state = CONN_CLOSING;
    return ADVANCE_WAIT;
}

/* One turn: go on from where the connection is until it has to wait. Calls go down, verdicts come back up. */
static void conn_advance(struct conn *conn)
{
    enum advance verdict = ADVANCE_ON;
    conn->is_advancing = true;
    conn->wants_write = false;
    conn->turn_requests = 0;
    conn->exchange->turn_end_ns = 0;
    while (verdict == ADVANCE_ON) {
        verdict = step(conn);
    }
    if (verdict == ADVANCE_WAIT && !conn->wants_write && !out_is_empty(conn->exchange)) {
        int rv = conn_flush(conn);
        verdict = rv < 0 ? conn_lost(conn, errno_text(-rv)) : ADVANCE_WAIT;
    }
    if (verdict == ADVANCE_WAIT) {
        verdict = end_of_input(conn);
    }
    conn->is_advancing = false;
    if (verdict != ADVANCE_CLOSE && has_more_to_do(conn)) {
        conn_resume(conn);
    }
    if (verdict == ADVANCE_CLOSE || settle(conn) < 0 || update_interest(conn) < 0) {
        conn_close(conn);
        return;
    }
    if (conn->server->service.is_draining && is_idle(conn)) {
        conn_resume(conn); /* the task closes it */
    }
    conn_update_deadline(conn);
    if (conn->timer == 0 && conn->deadline_ms != INT64_MAX) {
        conn_lost(conn, "out of memory"); /* for a timer: nobody would close it in time */
        conn_close(conn);
    }
}

/* Events. */

/* Read once. Returns as input_read(). */
static ssize_t take_input(struct conn *conn)
{
    if (prepare(conn) < 0) {
        return -ENOMEM;
    }
    struct input *input = &conn->exchange->input;
    ssize_t len = input_read(conn, conn->exchange);
    conn->is_at_end = len == 0;
    conn->has_unread = len > 0 && input->end == input->capacity; /* there may be more */
    conn->is_filled = conn->has_unread || (len > 0 && conn->is_told_more) || len == -EINTR;
    return len;
}

/* Read once and go on. */
static void conn_read(struct conn *conn)
{
    ssize_t len = take_input(conn);
    if (len < 0 && len != -EAGAIN && len != -EINTR) {
        conn_lost(conn, errno_text((int)-len));
        conn_close(conn);
        return;
    }
    conn_advance(conn);
}

/* Close a connection between requests, unless a request has arrived that no event has told of yet: closing would throw
 * it away, and reset the connection. Returns whether it was closed. */
bool conn_close_idle(struct conn *conn)
{
    if (take_input(conn) > 0) {
        conn_advance(conn);
        return false;
    }
    conn_close(conn);
    return true;
}

static void on_event(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)fd;
    struct conn *conn = arg;
    if (events & (REACTOR_ERROR | REACTOR_HANGUP)) {
        int error = reactor_error(reactor);
        if (conn->exchange != NULL) {
            conn_lost(conn, error == 0 ? "hung up" : errno_text(-error));
        }
        conn_close(conn);
        return;
    }
    conn->is_told_more = conn->is_told_more || (events & REACTOR_MORE) != 0;
    conn->is_half_closed = conn->is_half_closed || (events & REACTOR_END) != 0;
    if (conn->has_task && !conn->is_expired) {
        conn->is_filled = conn->is_filled || (events & REACTOR_READABLE) != 0;
        return; /* this tick's task goes on with what was read already: more is read when that is answered */
    }
    bool is_task = conn->lacks_task;
    bool is_held_back = conn->exchange != NULL && out_is_high(conn);
    conn->lacks_task = false;
    if ((events & REACTOR_READABLE) && is_reading(conn) && !is_held_back) {
        conn_read(conn);
        return;
    }
    if (is_task) {
        on_task(reactor, conn);
        return;
    }
    conn->ignore_input = (events & REACTOR_READABLE) != 0;
    conn->has_unread = conn->has_unread || conn->ignore_input;
    if (prepare(conn) < 0) {
        conn_close(conn);
        return;
    }
    conn_advance(conn);
}

/* Returns 0, or -ENOMEM. */
static int schedule_task(struct conn *conn)
{
    int rv = conn->has_task ? 0 : reactor_defer(conn->server->service.reactor, on_task, conn);
    conn->has_task = rv == 0;
    return rv;
}

void conn_resume(struct conn *conn)
{
    if (!conn->is_advancing && schedule_task(conn) < 0) {
        conn->lacks_task = true;
        conn->wants_write = true; /* without memory for a task, an event of the fd itself does as well */
        update_interest(conn);
    }
}

void conn_expire(struct conn *conn)
{
    conn->is_expired = true; /* data may have arrived while the loop was busy: I/O comes first, then the task (R3) */
    if (schedule_task(conn) < 0) {
        on_task(conn->server->service.reactor, conn); /* without memory for a task it comes now */
    }
}

/* The deadline passed, and this tick's I/O has not moved it. */
static void close_expired(struct conn *conn)
{
    enum wait waits_for = (enum wait)conn->waits_for;
    if (waits_for == WAIT_IDLE) {
        stat_add(&conn->server->service.stats.timeouts, conn_close_idle(conn) ? 1 : 0);
        return;
    }
    stat_add(&conn->server->service.stats.timeouts, 1);
    conn->end = OUTCOME_TIMEOUT;
    log_write(conn->server->service.log, LOG_DEBUG, "connection timed out %s", conn_doing(conn));
    bool is_asked = (waits_for == WAIT_HEAD || waits_for == WAIT_BODY) && conn->exchange != NULL &&
                    conn->exchange->response_state == RESPONSE_NONE;
    if (waits_for == WAIT_WRITE) {
        conn->is_reset = true;
        sys_reset_on_close(conn->fd); /* else the kernel would go on offering what is in the socket, for minutes */
    }
    bool is_late = waits_for == WAIT_HANDLER; /* the handler, not the client */
    if ((!is_asked && !is_late) || prepare(conn) < 0) {
        conn_close(conn);
        return;
    }
    conn->is_advancing = true;
    if (is_late && !conn_replace_handler(conn)) {
        conn_close(conn);
        return;
    }
    if (is_late) {
        conn->end = OUTCOME_GONE; /* until it ends in another way: it goes on */
        conn_advance(conn);
        return;
    }
    if (conn->state == CONN_PROCESSING) {
        conn_fail_body(conn, 408, NULL); /* it is the handler that waits, and that answers */
    } else {
        (void)conn_refuse(conn, 408, NULL);
    }
    conn_advance(conn);
}

static void on_task(struct reactor *reactor, void *arg)
{
    struct conn *conn = arg;
    bool was_expired = conn->is_expired;
    conn->has_task = false;
    conn->is_expired = false;
    if (conn->fd < 0) {
        server_put_conn(conn->server, conn);
        return;
    }
    if (was_expired && conn->deadline_ms != INT64_MAX) {
        int64_t now_ms = reactor_now_ms(reactor);
        bool is_over = now_ms >= conn->deadline_ms;
        bool has_moved = (conn->waits_for == WAIT_WRITE && conn_takes_response(conn, now_ms)) ||
                         (conn->waits_for == WAIT_HANDLER && !conn_waits_for_handler(conn));
        if (is_over && !has_moved) {
            close_expired(conn);
            return;
        }
        conn_arm_timer(conn, now_ms);
    }
    if (conn->server->service.is_draining && is_idle(conn)) {
        conn_close_idle(conn);
    } else if (conn->exchange != NULL && prepare(conn) == 0) {
        conn_advance(conn);
    }
}

/* Opening and closing. */

void conn_open(struct server *server, int listener, int fd, const struct sockaddr *peer)
{
    struct conn newcomer = {.server = server};
    peer_init(&newcomer.peer, peer);
    uint64_t address = address_key(newcomer.peer.family, newcomer.peer.address);
    struct conn *conn = server_make_room(server, address) ? server_take_conn(server) : NULL;
    if (conn == NULL) {
        server_turn_away(server, fd, &newcomer);
        return;
    }
    conn->state = CONN_READING_HEADERS;
    conn->listener = (int8_t)listener;
    conn->peer = newcomer.peer;
    if (server_count_address(conn, address) < 0) {
        server_forget_conn(server, conn);
        server_put_conn(server, conn);
        server_turn_away(server, fd, &newcomer);
        return;
    }
    conn->fd = fd;
    if (server_drains_long(server)) {
        conn_resume(conn);
    } else {
        conn_read(conn);
    }
}

/* An answer whose end is that of the connection is cut with a reset: an orderly end would make it look complete. */
static void cut_unframed(struct conn *conn)
{
    const struct exchange *exchange = conn->exchange;
    bool is_whole = exchange->response_state == RESPONSE_NONE && out_is_empty(exchange); /* nothing after the reset */
    if (exchange->ends_with_close && !is_whole) {
        conn->is_reset = true;
        sys_reset_on_close(conn->fd);
    }
}

/* A child that the host has forked may have the socket, too, and then close(2) alone tells the client nothing. */
static void close_socket(struct conn *conn)
{
    if (!conn->is_reset && !conn->is_lingering) {
        sys_shutdown(conn->fd);
    }
    if (conn->is_registered) {
        reactor_close(conn->server->service.reactor, conn->fd);
    } else {
        sys_close(conn->fd);
    }
    conn->fd = -1;
}

void conn_close(struct conn *conn)
{
    struct server *server = conn->server;
    struct exchange *exchange = conn->exchange;
    if (exchange != NULL) {
        cut_unframed(conn);
        if (exchange->response_state != RESPONSE_COMPLETE) {
            conn->is_advancing = true; /* what the handler still says is not to be sent */
            conn_tell_gone(exchange);
        }
        if (exchange->is_watched) {
            conn->is_advancing = true;
            response_release_body(
                exchange); /* before the host frees what it keeps for the request, this content perhaps */
            outcome_end(exchange, (enum outcome_end)conn->end);
        }
        if (input_is_lent(conn, exchange)) {
            server->is_read_block_lent = false;
            exchange->input = (struct input){0};
        }
        conn->exchange = NULL;
        server_put_exchange(server, exchange);
    }
    if (conn->timer != 0) {
        reactor_cancel_timer(server->service.reactor, conn->timer);
        conn->timer = 0;
    }
    close_socket(conn);
    server_forget_conn(server, conn);
    if (!conn->has_task) {
        server_put_conn(server, conn);
    }
}

void conn_drain(struct conn *conn)
{
    if (is_idle(conn) && server_drains_long(conn->server)) {
        conn_resume(conn);
    } else if (is_idle(conn)) {
        conn_close_idle(conn);
    } else {
        if (conn->exchange->response_state == RESPONSE_NONE) {
            conn->exchange->keep_alive = false; /* so that the answer says it is the last one */
        }
        conn_announce_stop(conn);
    }
}
