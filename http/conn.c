/* A connection between its socket and its protocol.
 *
 * Happy path: an event says that there is something to read; the protocol reads it and has its turn; then the reactor
 * is asked for what is still needed, and the deadline stored. A connection whose protocol has nothing to do any more
 * is idle: it holds nothing but a struct conn.
 *
 * Failure modes: a lost client, one beyond its deadline, or memory that is short end in conn_close(). A close while
 * the client may still be sending is a lingering one, so that it reads the response and not a reset (RFC 9112 section
 * 9.6). */

#include "http/conn.h"

#include "core/log.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/conn_doing.h"
#include "http/conn_ends.h"
#include "http/conn_look.h"
#include "http/conn_opening.h"
#include "http/conn_pool.h"
#include "http/conn_proxied.h"
#include "http/conn_waits.h"
#include "http/service.h"
#include "http/site.h"

#include <assert.h>
#include <errno.h>

static void on_event(struct reactor *reactor, int fd, unsigned events, void *arg);
static void on_task(struct reactor *reactor, void *arg);
static void on_deadline(struct reactor *reactor, uint64_t timer, void *arg);
static void conn_expire(struct conn *conn);

static struct reactor *conn_reactor(const struct conn *conn)
{
    return conn->pool->service->reactor;
}

/* The one place where a connection changes its state; http/README.md has the diagram. */
static void enter_conn_state(struct conn *conn, enum conn_state state)
{
    static const unsigned from[] = {
        [CONN_OPEN] = 1U << CONN_OPEN,
        [CONN_LINGERING] = 1U << CONN_OPEN,
        [CONN_CLOSED] = 1U << CONN_OPEN | 1U << CONN_LINGERING,
    };
    assert(from[state] & 1U << conn->state);
    (void)from;
    conn->state = (uint8_t)state;
}

/* CONN_READS and CONN_WRITES, as they are now. */
static unsigned conn_wants(const struct conn *conn)
{
    return conn->work == NULL ? (unsigned)CONN_READS : conn->protocol->wants(conn);
}

bool conn_is_idle(const struct conn *conn)
{
    return conn->state == CONN_OPEN && (conn->work == NULL || conn->protocol->is_idle(conn));
}

/* Deadlines. */

static void set_deadline(struct conn *conn, int64_t at_ms)
{
    int64_t first_ms = conn->waits_for == WAIT_WRITE ? conn_look_ms(conn, at_ms) : at_ms;
    deadline_set_look(&conn->deadline, conn_reactor(conn), first_ms, at_ms, on_deadline, conn);
}

/* The turn is over: set the deadline for what the connection waits for now. Those for silence start again with each
 * progress; those for a head and for lingering do not. */
static void update_deadline(struct conn *conn)
{
    enum wait waits_for = conn_waits_for(conn);
    bool is_same = waits_for == conn->waits_for;
    bool restarts = waits_for == WAIT_IDLE || (waits_for == WAIT_BODY && conn->has_received) ||
                    ((waits_for == WAIT_WRITE || waits_for == WAIT_HANDLER) && conn->has_sent);
    conn->waits_for = (uint8_t)waits_for;
    conn->has_received = false;
    conn->has_sent = false;
    if (is_same && !restarts) {
        set_deadline(conn, conn->deadline.at_ms); /* its timer may have fired in this tick: it waits no longer */
        return;
    }
    conn->unsent_bytes = -1;
    set_deadline(conn, conn_deadline_ms(conn, waits_for, reactor_now_ms(conn_reactor(conn))));
}

static void on_deadline(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct conn *conn = arg;
    int64_t now_ms = reactor_now_ms(reactor);
    if (deadline_fired(&conn->deadline, reactor)) {
        conn_expire(conn);
        return;
    }
    bool is_look = conn->waits_for == WAIT_WRITE && conn->unsent_bytes < 0;
    if (is_look && now_ms >= conn_look_ms(conn, conn->deadline.at_ms)) {
        conn_look_first(conn, now_ms);
    }
    set_deadline(conn, conn->deadline.at_ms);
}

/* The end of a turn. */

/* Nobody reads, and no event tells of the client's end: look for that. Returns 0, or -errno of a lost client. */
static int look_for_end(struct conn *conn)
{
    struct transport *transport = &conn->transport;
    if (!(transport->may_have_more || transport->holds_input) || transport->is_half_closed || transport->is_opening ||
        transport->holds_output || conn->state != CONN_OPEN || (conn_wants(conn) & (unsigned)CONN_READS) != 0) {
        return 0;
    }
    int rv = transport_look(transport);
    if (rv < 0) {
        conn_lost(conn, rv == -EPROTO ? transport_failure(transport) : errno_text(-rv));
        return rv;
    }
    if (transport->is_half_closed || (transport->may_have_more && !transport->holds_input)) {
        conn_resume(conn); /* the task tells the protocol, or comes back here */
    }
    conn->has_unread = conn->has_unread && !transport->is_half_closed; /* nothing lies before the end */
    return 0;
}

/* Ask the reactor for what is still needed. Asking for READABLE stays on while a handler works or a response is sent,
 * because taking it back costs a system call; only when bytes do arrive meanwhile it is dropped. END stays on after
 * that, so that a client that leaves is noticed though it has sent something that nobody reads now. */
static int update_interest(struct conn *conn)
{
    if (conn->work == NULL && conn->task != TASK_LACKING && !conn->ignores_input && conn->state == CONN_OPEN &&
        transport_rests(&conn->transport, conn->interest)) {
        return 0; /* idle, and watched as such: nearly always */
    }
    bool hides_end = transport_hides_end(&conn->transport);
    int rv = hides_end ? look_for_end(conn) : 0;
    if (rv < 0) {
        return rv;
    }
    bool was_reading = conn->interest == INTEREST_NONE || (conn->interest & REACTOR_READABLE) != 0;
    bool keeps_reading = hides_end ? !conn->transport.holds_input && !conn->transport.is_half_closed
                                   : was_reading && !conn->ignores_input;
    unsigned wanted = conn_wants(conn);
    unsigned events = ((wanted & (unsigned)CONN_READS) != 0 ? (unsigned)REACTOR_READABLE : 0U) |
                      ((wanted & (unsigned)CONN_WRITES) != 0 || conn->task == TASK_LACKING ? (unsigned)REACTOR_WRITABLE
                                                                                           : 0U);
    unsigned interest = transport_interest(&conn->transport, events, keeps_reading,
                                           conn->work == NULL && conn->state == CONN_OPEN);
    conn->ignores_input = false;
    if (interest == conn->interest) {
        return 0;
    }
    rv = reactor_register(conn_reactor(conn), conn->transport.fd, interest, on_event, conn);
    if (rv == 0) {
        conn->interest = (uint8_t)interest;
    }
    return rv;
}

/* All is sent. Shut our side and wait for the client's end, if it may still be sending: a close with unread bytes would
 * reset the connection and could take the response away from the client. Returns false if there is nothing to wait
 * for. */
static bool begin_to_linger(struct conn *conn)
{
    transport_say_end(&conn->transport);
    if (!conn->has_unread || conn->transport.is_at_end || transport_end(&conn->transport) < 0) {
        return false;
    }
    if (conn->work != NULL) {
        conn->protocol->lose(conn);
    }
    enter_conn_state(conn, CONN_LINGERING);
    return true;
}

/* Whether the transport itself holds bytes that are to be read now: no event of the fd will tell of them. While it also
 * holds output it gives none of them; an event tells when there is room for that. */
static bool has_held_input(const struct conn *conn)
{
    return conn->transport.holds_input && !conn->transport.holds_output &&
           (conn_wants(conn) & (unsigned)CONN_READS) != 0;
}

/* The protocol, or the drop of what a lingering client sends, has had its turn. */
static void conn_end_turn(struct conn *conn)
{
    if (update_interest(conn) < 0) {
        conn_close(conn);
        return;
    }
    if (has_held_input(conn) && conn->task == TASK_NONE) {
        conn->reads_next = true;
        conn_resume(conn); /* the task reads that */
    }
    if (conn->pool->service->ends_idle && conn_is_idle(conn)) {
        conn_resume(conn); /* the task ends it */
    }
    update_deadline(conn);
    if (conn->deadline.timer == 0 && conn->deadline.at_ms != DEADLINE_NEVER) {
        conn_lost(conn, "out of memory"); /* for a timer: nobody would close it in time */
        conn_close(conn);
    }
}

/* One turn of the protocol. */
static void conn_advance(struct conn *conn)
{
    conn->is_advancing = true;
    enum turn turn = conn->protocol->advance(conn);
    if (turn == TURN_CLOSE || (turn == TURN_LINGER && !begin_to_linger(conn))) {
        conn_close(conn);
        return;
    }
    conn->is_advancing = false;
    if (turn == TURN_AGAIN) {
        conn_resume(conn);
    }
    conn_end_turn(conn);
}

int64_t conn_clock_ns(void)
{
    return sys_now_ns();
}

void conn_go_over(struct conn *conn, const struct protocol *to, void *work)
{
    assert(conn->is_advancing && conn->work == NULL);
    conn->protocol = to;
    conn->work = work;
    conn->waits_for = WAIT_NONE; /* whatever it waits for after this turn, its time begins then */
}

/* Events. */

/* The client is lost, or breaks the rules of the transport. A handshake that fails ends with a message to the client,
 * which a reset must not take away from it. */
static void conn_fail(struct conn *conn, int error, bool was_idle)
{
    if (error == -EPROTO && conn->transport.is_opening) {
        conn_opening_failed(conn);
        conn->has_unread = true;
        if (begin_to_linger(conn)) {
            conn_end_turn(conn);
            return;
        }
    } else if (!was_idle || error != -ECONNABORTED) {
        conn_lost(conn, error == -EPROTO         ? transport_failure(&conn->transport)
                        : error == -ECONNABORTED ? "the client closed without close_notify"
                                                 : errno_text(-error));
    }
    conn_close(conn);
}

/* The socket has room for what the transport itself has to send. Returns false when the connection was closed. */
static bool conn_flush_transport(struct conn *conn)
{
    int rv = transport_flush(&conn->transport);
    if (rv < 0) {
        conn_fail(conn, rv, false);
    }
    return rv == 0;
}

/* Drop what a client sends after our end, one read at a time (R6). */
static void drop_input(struct conn *conn)
{
    assert(!conn->pool->is_read_block_lent);
    ssize_t len = transport_recv(&conn->transport, conn->pool->read_block, READ_BLOCK_BYTES);
    if (len > 0) {
        stat_add(&conn->pool->service->stats.bytes_received, (uint64_t)len);
    }
    if (len < 0 && len != -EAGAIN && len != -EINTR) {
        conn_lost(conn, errno_text((int)-len));
        conn_close(conn);
    } else if (len == 0) {
        conn_close(conn);
    } else {
        conn_end_turn(conn);
    }
}

/* Read once and go on. */
static void conn_read(struct conn *conn)
{
    if (conn->state == CONN_LINGERING) {
        drop_input(conn);
        return;
    }
    bool was_idle = conn->work == NULL;
    ssize_t len = conn->transport.is_opening ? conn_opening_read(conn) : conn->protocol->read(conn);
    if (len < 0 && len != -EAGAIN && len != -EINTR) {
        conn_fail(conn, (int)len, was_idle);
        return;
    }
    conn_advance(conn);
}

bool conn_close_idle(struct conn *conn)
{
    if (conn->protocol->read(conn) > 0) {
        conn_advance(conn);
        return false;
    }
    transport_say_end(&conn->transport);
    conn_close(conn);
    return true;
}

/* The server stops: end a connection between requests, unless one has arrived. A request that is on its way meets our
 * end and not a reset: its client knows then that nobody has seen it, and may send it elsewhere (RFC 9112 sections
 * 9.3.1 and 9.6). */
static void end_idle(struct conn *conn)
{
    ssize_t len = conn->protocol->read(conn);
    if (len > 0) {
        conn_advance(conn);
        return;
    }
    conn->has_unread = conn->has_unread || len == -EAGAIN;
    if (begin_to_linger(conn)) {
        conn->ends_idle = true;
        conn_end_turn(conn);
    } else {
        conn_close(conn);
    }
}

/* Returns 0, or -ENOMEM. */
static int schedule_task(struct conn *conn, enum conn_task task)
{
    bool is_scheduled = conn->task == TASK_RESUME || conn->task == TASK_EXPIRED;
    int rv = is_scheduled ? 0 : reactor_defer(conn_reactor(conn), on_task, conn);
    if (rv == 0 && conn->task != TASK_EXPIRED) {
        conn->task = (uint8_t)task;
    }
    return rv;
}

static void on_event(struct reactor *reactor, int fd, unsigned events, void *arg)
{
    (void)fd;
    struct conn *conn = arg;
    if (events & (REACTOR_ERROR | REACTOR_HANGUP)) {
        int error = reactor_error(reactor);
        if (conn->state != CONN_OPEN || conn->work != NULL) {
            conn_lost(conn, error == 0 ? "hung up" : errno_text(-error));
        } else if (conn->transport.is_opening) {
            conn_opening_failed(conn);
        }
        conn_close(conn);
        return;
    }
    transport_note(&conn->transport, events);
    bool is_readable = (events & REACTOR_READABLE) != 0;
    if (conn->task == TASK_RESUME) { /* this tick's task goes on with what was read: more is read after that */
        conn->transport.may_have_more = conn->transport.may_have_more || is_readable;
        return;
    }
    if (conn->transport.holds_output && (events & REACTOR_WRITABLE) != 0 && !conn_flush_transport(conn)) {
        return;
    }
    if (is_readable && conn->transport.is_opening && conn->task == TASK_NONE && schedule_task(conn, TASK_RESUME) == 0) {
        conn->reads_next = true; /* in the task: a crowd in handshakes must not take the whole tick */
        return;
    }
    bool is_task = conn->task == TASK_LACKING;
    conn->task = is_task ? TASK_NONE : conn->task;
    if (is_readable && (conn_wants(conn) & (unsigned)CONN_READS) != 0) {
        conn_read(conn);
    } else if (conn->state == CONN_LINGERING) {
        conn_end_turn(conn);
    } else if (is_task) {
        on_task(reactor, conn);
    } else {
        conn->ignores_input = is_readable;
        conn->transport.may_have_more = conn->transport.may_have_more ||
                                        (is_readable && transport_hides_end(&conn->transport));
        conn->has_unread = conn->has_unread || is_readable;
        conn_advance(conn);
    }
}

void conn_resume(struct conn *conn)
{
    if (!conn->is_advancing && schedule_task(conn, TASK_RESUME) < 0) {
        conn->task = TASK_LACKING; /* without memory for a task, an event of the fd itself does as well */
        update_interest(conn);
    }
}

/* Data may have arrived while the loop was busy: I/O comes first, then the task (R3). */
static void conn_expire(struct conn *conn)
{
    if (schedule_task(conn, TASK_EXPIRED) < 0) {
        conn->task = TASK_EXPIRED;
        on_task(conn_reactor(conn), conn); /* without memory for a task it comes now */
    }
}

/* The deadline passed, and this tick's I/O has not moved it. */
static void close_expired(struct conn *conn)
{
    enum wait waits_for = (enum wait)conn->waits_for;
    if (waits_for == WAIT_IDLE) {
        conn_count_timeout(conn, waits_for, conn_close_idle(conn) ? 1 : 0);
        return;
    }
    conn->is_advancing = true;
    if (waits_for == WAIT_QUIET && conn->protocol->expire(conn, waits_for)) {
        conn_advance(conn);
        return;
    }
    conn_count_timeout(conn, waits_for, 1);
    conn->end = OUTCOME_TIMEOUT;
    conn_log(conn, "timed out", NULL);
    conn_opening_late(conn);
    if (waits_for == WAIT_WRITE) {
        transport_reset(&conn->transport); /* else the kernel would go on offering what is in the socket, for minutes */
    }
    if (waits_for != WAIT_QUIET && conn->work != NULL && conn->protocol->expire(conn, waits_for)) {
        conn_advance(conn);
    } else {
        conn_close(conn);
    }
}

static void on_task(struct reactor *reactor, void *arg)
{
    struct conn *conn = arg;
    bool was_expired = conn->task == TASK_EXPIRED;
    conn->task = TASK_NONE;
    if (conn->state == CONN_CLOSED) {
        conn_pool_put(conn->pool, conn);
        return;
    }
    if (was_expired && conn->deadline.at_ms != DEADLINE_NEVER) {
        int64_t now_ms = reactor_now_ms(reactor);
        bool has_moved = (conn->waits_for == WAIT_WRITE && conn_takes_response(conn, now_ms)) ||
                         (conn->waits_for == WAIT_HANDLER && !conn->protocol->waits_for_handler(conn));
        if (deadline_is_over(&conn->deadline, now_ms) && !has_moved) {
            close_expired(conn);
            return;
        }
        set_deadline(conn, conn->deadline.at_ms);
    }
    bool reads = conn->reads_next && (conn->transport.is_opening || conn->work == NULL || has_held_input(conn));
    if (reads && !conn_opening_has_time(conn) && schedule_task(conn, TASK_RESUME) == 0) {
        return; /* in the next tick, before those that come in it */
    }
    conn->reads_next = false;
    if (reads) {
        conn_read(conn);
    } else if (conn->state == CONN_LINGERING) {
        conn_end_turn(conn);
    } else if (conn->pool->service->ends_idle && conn_is_idle(conn)) {
        end_idle(conn);
    } else if (conn->work != NULL) {
        conn_advance(conn);
    }
}

/* Opening and closing. */

/* Read, or leave that to a task: in a handshake, and if a stop has held the loop for long. */
static void read_now_or_later(struct conn *conn)
{
    if (conn->transport.is_opening || conn_pool_drains_long(conn->pool)) {
        conn->reads_next = true;
        conn_resume(conn);
    } else {
        conn_read(conn);
    }
}

void conn_open(struct conn *conn, const struct protocol *protocol, const struct transport_ops *ops, void *ops_arg,
               int fd)
{
    enter_conn_state(conn, CONN_OPEN);
    conn->protocol = protocol;
    conn->interest = INTEREST_NONE;
    if (transport_open(&conn->transport, ops, ops_arg, fd, conn->peer.family) < 0) {
        conn_lost(conn, "out of memory");
        conn_close(conn);
    } else {
        read_now_or_later(conn);
    }
}

static void close_socket(struct conn *conn)
{
    transport_shut(&conn->transport, conn->state == CONN_LINGERING);
    if (conn->interest != INTEREST_NONE) {
        reactor_close(conn_reactor(conn), conn->transport.fd);
    } else {
        sys_close(conn->transport.fd);
    }
    conn->transport.fd = -1;
}

void conn_close(struct conn *conn)
{
    if (conn->work != NULL) {
        conn->is_advancing = true; /* what handlers still say is not to be sent */
        conn->protocol->lose(conn);
    }
    if (conn->deadline.timer != 0) {
        deadline_cancel(&conn->deadline, conn_reactor(conn));
    }
    close_socket(conn);
    if (conn->is_proxied) {
        conn_proxied_drop(conn);
    }
    if (conn->has_end) {
        conn_ends_call(conn);
    }
    enter_conn_state(conn, CONN_CLOSED);
    conn_pool_forget(conn->pool, conn);
    if (conn->task != TASK_RESUME && conn->task != TASK_EXPIRED) {
        conn_pool_put(conn->pool, conn);
    }
}

void conn_drain(struct conn *conn)
{
    if (conn_is_idle(conn)) {
        read_now_or_later(conn);
    } else if (conn->work != NULL) {
        conn->protocol->drain(conn);
    }
}

void conn_retire(struct conn *conn)
{
    if (conn_is_idle(conn) && conn_pool_drains_long(conn->pool)) {
        conn_resume(conn);
    } else if (conn_is_idle(conn)) {
        end_idle(conn);
    }
}
