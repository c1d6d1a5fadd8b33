/* How long a connection may wait for what.
 *
 * Activity only stores a deadline. The timer in the heap usually fires early, finds a later deadline and is set again,
 * so a request costs no heap operation; it moves at once only when it would come too late.
 *
 * What the socket takes is seen only when it has room again, and the kernel may have 256 KiB or more to get rid of before
 * it says so. So a client that does not let us write is looked at twice: early in its time the kernel is asked how much
 * is in the socket, and when the time is over, whether it has become less. When something else has blocked the loop and
 * the first look comes late, the second one comes later too: a client that reads slowly needs time to show it. */

#include "http/conn_deadline.h"

#include "core/reactor.h"
#include "core/sys.h"
#include "http/conn_io.h"
#include "http/server_internal.h"

enum {
    LINGER_MS = 2000,    /* how long a closing connection waits for the client's end */
    FIRST_LOOK_PART = 8, /* the first look into the socket comes when this part of write_timeout is over, and the second
                            one no sooner than this part of it later */
};

static void on_deadline(struct reactor *reactor, uint64_t timer, void *arg);

/* When the timer has something to do. */
static int64_t next_look_ms(const struct conn *conn)
{
    if (conn->waits_for != WAIT_WRITE || conn->unsent_bytes >= 0) {
        return conn->deadline_ms;
    }
    uint64_t wait_ms = conn_limits(conn)->write_timeout_ms;
    return conn->deadline_ms - (int64_t)(wait_ms - wait_ms / FIRST_LOOK_PART);
}

void conn_arm_timer(struct conn *conn, int64_t now_ms)
{
    if (conn->timer != 0) {
        reactor_cancel_timer(conn->server->service.reactor, conn->timer);
    }
    conn->timer_due_ms = next_look_ms(conn);
    int64_t delay_ms = conn->timer_due_ms > now_ms ? conn->timer_due_ms - now_ms : 0;
    conn->timer = reactor_set_timeout(conn->server->service.reactor, (uint32_t)delay_ms, on_deadline, conn);
}

/* Whether the timer comes too late for a deadline that was stored just now. */
static bool is_late_timer(const struct conn *conn)
{
    int64_t look_ms = conn->waits_for == WAIT_WRITE ? next_look_ms(conn) : conn->deadline_ms;
    return conn->timer == 0 || look_ms < conn->timer_due_ms;
}

/* Store the deadline. The timer moves only when it would come too late: usually it fires early, finds a later deadline
 * and is set again, so activity costs no heap operation. */
static void set_deadline(struct conn *conn, int64_t now_ms, int64_t deadline_ms)
{
    conn->deadline_ms = deadline_ms;
    if (deadline_ms != INT64_MAX && is_late_timer(conn)) {
        conn_arm_timer(conn, now_ms);
    }
}

enum wait conn_waits_for(const struct conn *conn)
{
    if (conn->is_lingering) {
        return WAIT_LINGER;
    }
    if (conn->state == CONN_PROCESSING && conn->exchange->wants_body && !out_is_high(conn)) {
        return WAIT_BODY;
    }
    if (conn->exchange != NULL && !out_is_empty(conn->exchange)) {
        return WAIT_WRITE;
    }
    switch ((enum conn_state)conn->state) {
    case CONN_READING_HEADERS:
        return conn->exchange != NULL && parser_has_begun(&conn->exchange->parser) ? WAIT_HEAD : WAIT_IDLE;
    case CONN_READING_BODY:
        return WAIT_BODY;
    default:
        return WAIT_HANDLER;
    }
}

/* Until when a body may go on trickling in: body_timeout for the start, and what min_body_rate grants for each byte. What
 * counts is the time in which it was waited for. */
static int64_t body_limit_ms(const struct conn *conn, int64_t now_ms)
{
    struct exchange *exchange = conn->exchange;
    const struct limits *limits = conn_limits(conn);
    if (limits->min_body_rate_bytes == 0) {
        return INT64_MAX;
    }
    if (exchange->body_since_ms == 0) {
        exchange->body_since_ms = now_ms - exchange->body_waited_ms;
    }
    uint64_t granted_ms = exchange->body_taken * 1000 / limits->min_body_rate_bytes;
    return exchange->body_since_ms + (int64_t)(limits->body_timeout_ms + granted_ms);
}

/* A handler takes its time before it asks for more of the body: that is not the client's fault. */
static void pause_body(struct exchange *exchange, int64_t now_ms)
{
    if (exchange->body_since_ms != 0) {
        exchange->body_waited_ms = now_ms - exchange->body_since_ms;
        exchange->body_since_ms = 0;
    }
}

/* How long it may wait, in milliseconds; 0 for ever. */
static uint64_t wait_limit_ms(const struct conn *conn, enum wait waits_for)
{
    const struct limits *limits = conn_limits(conn);
    switch (waits_for) {
    case WAIT_IDLE:
        return limits->idle_timeout_ms;
    case WAIT_HEAD:
        return limits->header_timeout_ms;
    case WAIT_BODY:
        return limits->body_timeout_ms;
    case WAIT_HANDLER:
        return conn->exchange->response_state == RESPONSE_NONE ? limits->handler_timeout_ms : limits->stream_timeout_ms;
    case WAIT_WRITE:
        return limits->write_timeout_ms;
    case WAIT_LINGER:
        break;
    }
    return LINGER_MS;
}

void conn_update_deadline(struct conn *conn)
{
    enum wait waits_for = conn_waits_for(conn);
    bool is_same = waits_for == conn->waits_for;
    bool restarts = waits_for == WAIT_IDLE || (waits_for == WAIT_BODY && conn->has_received) ||
                    ((waits_for == WAIT_WRITE || waits_for == WAIT_HANDLER) && conn->has_sent);
    conn->waits_for = (uint8_t)waits_for;
    conn->has_received = false;
    conn->has_sent = false;
    int64_t now_ms = reactor_now_ms(conn->server->service.reactor);
    if (waits_for != WAIT_BODY && conn->exchange != NULL) {
        pause_body(conn->exchange, now_ms);
    }
    if (is_same && !restarts) {
        set_deadline(conn, now_ms, conn->deadline_ms); /* its timer may have fired in this tick: it waits no longer */
        return;
    }
    conn->unsent_bytes = -1;
    uint64_t wait_ms = wait_limit_ms(conn, waits_for);
    int64_t deadline_ms = wait_ms == 0 ? INT64_MAX : now_ms + (int64_t)wait_ms;
    int64_t latest_ms = waits_for == WAIT_BODY ? body_limit_ms(conn, now_ms) : INT64_MAX;
    set_deadline(conn, now_ms, deadline_ms < latest_ms ? deadline_ms : latest_ms);
}

/* Ask the kernel. Where it does not answer, nothing that comes later is less. */
static int32_t ask_unsent(const struct conn *conn)
{
    int unsent = sys_unsent_bytes(conn->fd);
    return unsent < 0 ? 0 : unsent;
}

/* The look that the next one is compared with. */
static void look_first(struct conn *conn, int64_t now_ms)
{
    int64_t next_ms = now_ms + (int64_t)(conn_limits(conn)->write_timeout_ms / FIRST_LOOK_PART) + 1;
    conn->unsent_bytes = ask_unsent(conn);
    conn->deadline_ms = next_ms > conn->deadline_ms ? next_ms : conn->deadline_ms;
}

bool conn_takes_response(struct conn *conn, int64_t now_ms)
{
    if (conn->unsent_bytes < 0) { /* the loop was blocked until now */
        look_first(conn, now_ms);
        return true;
    }
    int32_t before = conn->unsent_bytes;
    conn->unsent_bytes = ask_unsent(conn);
    if (conn->unsent_bytes >= before) {
        return false;
    }
    conn->deadline_ms = now_ms + (int64_t)conn_limits(conn)->write_timeout_ms;
    return true;
}

static void on_deadline(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)timer;
    struct conn *conn = arg;
    int64_t now_ms = reactor_now_ms(reactor);
    conn->timer = 0;
    if (conn->deadline_ms == INT64_MAX) {
        return;
    }
    if (now_ms < conn->deadline_ms) {
        if (conn->waits_for == WAIT_WRITE && conn->unsent_bytes < 0 && now_ms >= next_look_ms(conn)) {
            look_first(conn, now_ms);
        }
        conn_arm_timer(conn, now_ms);
        return;
    }
    conn_expire(conn);
}
