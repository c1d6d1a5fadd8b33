/* Happy path: one read into the block that all connections share; the frames in it are handed over where they lie, and
 * what the callbacks send leaves with one write at the end of the turn. A WebSocket that waits holds a struct ws.
 *
 * Failure modes: a client that breaks the rules gets a close frame that says which, and its connection ends. One that
 * goes on sending while a message is still handled, or that does not read, is held up: what was read and not looked at
 * is kept, and nothing more is read. */

#include "http/ws/ws_protocol.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/reactor.h"
#include "core/slabs.h"
#include "http/conn.h"
#include "http/conn_doing.h"
#include "http/conn_pool.h"
#include "http/service.h"
#include "http/ws/ws.h"
#include "http/ws/ws_deflate.h"
#include "http/ws/ws_state.h"
#include "http/ws/ws_topics.h"
#include "http/ws/ws_traffic.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    TURN_FRAMES = 8,        /* after two events, and then after each so many, the clock is looked at */
    TURN_LONG = 16384,      /* and after each message of so many bytes, which may have been a few when they came */
    WS_TURN_NS = 500000,    /* a turn takes no further frame after that; a tick may have two of them (R6) */
    END_TIMEOUT_MS = 30000, /* how long a client may take nothing of what waits for it at the end */
    UNSENT_LITTLE = 1024,   /* bytes in the socket that may be little more than our ping or close frame */
    PING_SPREAD_PARTS = 4,  /* a ping may come this part of ping_ms early, so that they do not all come at once */
};

static const char stop_reason[] = "the server stops";
static const char idle_reason[] = "no message for too long";

static uint32_t now_of_conn(const struct conn *conn)
{
    return (uint32_t)reactor_now_ms(conn->pool->service->reactor);
}

/* Whether the client's frames are looked at now. */
static bool takes_frames(const struct ws *ws)
{
    if (ws->state == WS_CLOSING) {
        return true;
    }
    return ws->state == WS_OPEN && !ws->is_paused &&
           (ws->traffic == NULL || ws_traffic_queued(ws) <= ws->options->high_mark);
}

/* What holds for a WebSocket between on_close() and its end: its own options may be gone. */
static const struct ws_options end_options = {.write_timeout_ms = END_TIMEOUT_MS};

/* The end, for the user. */
static void tell_closed(struct ws *ws, unsigned code, const char *reason, size_t len)
{
    ws->state = WS_ENDING;
    ws->options->user->on_close(ws, ws->arg, code, reason, len);
    ws->options = &end_options;
}

/* Events of the reader. */

/* The client closes: it gets its code back, unless we have sent ours, and the connection ends. */
static void take_close(struct ws *ws, const struct ws_happening *what)
{
    if (ws->state == WS_OPEN) {
        const char code[2] = {(char)(what->code >> 8), (char)(what->code & 0xff)};
        if (ws_traffic_add(ws, WS_OP_CLOSE, false, code, what->code == WS_CODE_NONE ? 0 : 2) < 0) {
            ws->state = WS_LOST;
            return;
        }
    }
    tell_closed(ws, what->code, what->data, what->len);
}

/* The client breaks the rules. */
static void take_failure(struct ws *ws, const struct ws_happening *what)
{
    struct conn *conn = ws->conn;
    size_t len = strlen(what->why);
    conn_log(conn, "WebSocket failed", what->why);
    if (ws->state == WS_OPEN && ws_close(ws, what->code, what->why, len) < 0) {
        ws->state = WS_LOST;
        return;
    }
    conn->has_unread = true;
    tell_closed(ws, what->code, what->why, len);
}

static void take_message(struct ws *ws, const struct ws_happening *what)
{
    const struct ws_user *user = ws->options->user;
    stat_add(&ws->conn->pool->service->stats.ws_received, 1);
    ws->message_ms = now_of_conn(ws->conn);
    if (user->on_message != NULL) {
        user->on_message(ws, ws->arg, what->kind, what->data, what->len);
    }
}

static void take_ping(struct ws *ws, const struct ws_happening *what)
{
    if (ws_traffic_add(ws, WS_OP_PONG, false, what->data, what->len) < 0) {
        ws->state = WS_LOST;
    }
}

static void take_pong(struct ws *ws, const struct ws_happening *what)
{
    const struct ws_user *user = ws->options->user;
    if (user->on_pong != NULL) {
        user->on_pong(ws, ws->arg, what->data, what->len);
    }
}

static void take_event(struct ws *ws, enum ws_event event, const struct ws_happening *what)
{
    if (event == WS_CLOSE) {
        take_close(ws, what);
    } else if (event == WS_FAIL) {
        take_failure(ws, what);
    } else if (ws->state != WS_OPEN) {
        return; /* we have sent our close frame: nothing else counts any more */
    } else if (event == WS_MESSAGE) {
        take_message(ws, what);
    } else if (event == WS_PING) {
        take_ping(ws, what);
    } else if (event == WS_PONG) {
        take_pong(ws, what);
    }
}

/* Whether the turn has lasted long enough, after count events. A read with one short event looks at no clock. */
static bool is_turn_over(unsigned count, bool is_long, int64_t *end_ns)
{
    if (count != 2 && count % TURN_FRAMES != 0 && !is_long) {
        return false;
    }
    int64_t now_ns = conn_clock_ns();
    if (*end_ns == 0) {
        *end_ns = now_ns + WS_TURN_NS;
    }
    return now_ns >= *end_ns;
}

/* Look at what the client sent, and keep what has to wait. */
static void take_frames(struct ws *ws, char *at, size_t len)
{
    const struct ws_rules rules = {
        .max_message = ws->options->max_message,
        .inflate = ws->deflate == NULL ? NULL : ws_deflate_inflate,
        .inflate_arg = ws->deflate,
    };
    struct ws_happening what;
    enum ws_event event = WS_GOES_ON;
    int64_t end_ns = 0;
    for (unsigned count = 1; takes_frames(ws) && event != WS_NONE; count++) {
        event = ws_reader_next(&ws->reader, &rules, &at, &len, &what);
        bool is_long = event == WS_GOES_ON || (event == WS_MESSAGE && what.len >= TURN_LONG);
        take_event(ws, event, &what);
        if (event != WS_NONE && is_turn_over(count, is_long, &end_ns)) {
            break;
        }
    }
    ws_reader_settle(&ws->reader); /* it may be paused, or has to wait for its client */
    ws->has_more = event != WS_NONE;
    ws->has_read = true;
    if (ws->state >= WS_ENDING) {
        ws->conn->has_unread = ws->conn->has_unread || len > 0;
        ws->has_more = false;
        len = 0;
    }
    if (ws_traffic_keep(ws, at, len) < 0) {
        conn_lost(ws->conn, "out of memory");
        ws->state = WS_LOST;
    }
}

/* The protocol. */

static ssize_t ws_read(struct conn *conn)
{
    struct ws *ws = conn->work;
    struct conn_pool *pool = conn->pool;
    assert(!pool->is_read_block_lent && !ws->has_more);
    pool->is_read_block_lent = true;
    ssize_t len = transport_recv(&conn->transport, pool->read_block, READ_BLOCK_BYTES);
    conn->has_unread = len == READ_BLOCK_BYTES; /* there may be more */
    if (len > 0) {
        stat_add(&pool->service->stats.bytes_received, (uint64_t)len);
        if (ws->state == WS_OPEN) {
            ws->since_ms = now_of_conn(conn);
            ws->awaits_pong = false;
        }
        conn->is_advancing = true;
        take_frames(ws, pool->read_block, (size_t)len);
    }
    pool->is_read_block_lent = false;
    return len;
}

static void open_ws(struct ws *ws)
{
    const struct ws_user *user = ws->options->user;
    ws->state = WS_OPEN;
    if (user->on_open != NULL) {
        user->on_open(ws, ws->arg);
    }
    if (ws->state == WS_OPEN && ws->conn->pool->service->is_draining) {
        ws_close(ws, WS_CODE_GOING_AWAY, stop_reason, sizeof stop_reason - 1);
    }
}

/* The client has taken most of what was queued. */
static void tell_drained(struct ws *ws)
{
    if (ws->is_behind && ws->state == WS_OPEN && ws_traffic_queued(ws) <= ws->options->high_mark / 2) {
        const struct ws_user *user = ws->options->user;
        ws->is_behind = false;
        if (user->on_drain != NULL) {
            user->on_drain(ws, ws->arg);
        }
    }
}

/* Bytes in the socket that the client has not taken yet. */
static uint32_t unsent_bytes(const struct ws *ws)
{
    int unsent = transport_unsent_bytes(&ws->conn->transport);
    return unsent > 0 ? (uint32_t)unsent : 0;
}

/* All is sent: the end of the transport itself may have to wait for room. */
static enum turn end_ws(struct ws *ws)
{
    transport_say_end(&ws->conn->transport);
    return ws->conn->transport.holds_output ? TURN_WAIT : TURN_LINGER;
}

static enum turn ws_advance(struct conn *conn)
{
    struct ws *ws = conn->work;
    if (ws->state == WS_OPENING) {
        open_ws(ws);
    }
    if (ws->has_more && !ws->has_read && takes_frames(ws)) {
        size_t len;
        char *rest = ws_traffic_rest(ws, &len);
        take_frames(ws, rest, len);
    }
    ws->has_read = false;
    int rv = ws->state == WS_LOST ? -ECONNABORTED : ws_traffic_send(ws);
    if (rv < 0) {
        if (rv != -ECONNABORTED) {
            conn_lost(conn, errno_text(-rv));
        }
        return TURN_CLOSE;
    }
    tell_drained(ws);
    if (ws->restarts) {
        ws->restarts = false;
        ws->unsent = ws->awaits_pong || ws->state == WS_CLOSING ? unsent_bytes(ws) : 0;
        conn->waits_for = WAIT_NONE;
    }
    size_t queued = ws_traffic_queued(ws);
    if (ws->state == WS_CLOSING && queued == 0 && conn->waits_for == WAIT_WRITE) {
        ws->since_ms = now_of_conn(conn); /* our close frame has only now left */
        ws->unsent = unsent_bytes(ws);
    }
    if (ws->state == WS_ENDING && queued == 0) {
        return end_ws(ws);
    }
    if (ws->state == WS_LOST || (conn->transport.is_at_end && ws->state != WS_ENDING && !ws->has_more)) {
        return TURN_CLOSE;
    }
    ws_traffic_settle(ws);
    bool goes_on = (ws->has_more && takes_frames(ws)) || (queued > 0 && !conn->transport.is_full);
    return goes_on ? TURN_AGAIN : TURN_WAIT;
}

static unsigned ws_wants(const struct conn *conn)
{
    const struct ws *ws = conn->work;
    bool writes = ws_traffic_queued(ws) > 0 || conn->transport.holds_output;
    return (takes_frames(ws) && !ws->has_more ? (unsigned)CONN_READS : 0U) | (writes ? (unsigned)CONN_WRITES : 0U);
}

static bool ws_is_idle(const struct conn *conn)
{
    (void)conn;
    return false; /* a stop tells it, and nobody else's connection takes its place */
}

static enum wait ws_waits_for(const struct conn *conn)
{
    const struct ws *ws = conn->work;
    return ws_traffic_queued(ws) > 0 || ws->state == WS_ENDING ? WAIT_WRITE : WAIT_QUIET;
}

/* Deadlines. */

/* The silence before a ping: each WebSocket has another one each time, so that those that were opened together, or
 * heard together, are not pinged together. */
static uint32_t silence_ms(const struct ws *ws)
{
    uint32_t spread = ws->options->ping_ms / PING_SPREAD_PARTS;
    uint64_t mixed = ((uint64_t)(uintptr_t)ws ^ (uint64_t)ws->since_ms << 32) * UINT64_C(0x9e3779b97f4a7c15);
    return ws->options->ping_ms - (uint32_t)((mixed >> 32) * spread >> 32);
}

/* What is left of a time since a moment, both in 32 bits. */
static int64_t left_ms(uint32_t now_ms, uint32_t since_ms, uint32_t time_ms)
{
    return (int64_t)time_ms - (int64_t)(uint32_t)(now_ms - since_ms);
}

/* How long until something is due while nothing happens; INT64_MAX: forever. */
static int64_t quiet_ms(const struct ws *ws, uint32_t now_ms)
{
    const struct ws_options *options = ws->options;
    if (ws->state == WS_CLOSING) {
        const struct service *service = ws->conn->pool->service;
        bool is_cut = service->is_draining && service->has_drain_deadline; /* the stop does that */
        return is_cut ? INT64_MAX : left_ms(now_ms, ws->since_ms, options->close_timeout_ms);
    }
    if (!takes_frames(ws)) {
        return INT64_MAX;
    }
    int64_t ping = options->ping_ms == 0
                       ? INT64_MAX
                       : left_ms(now_ms, ws->since_ms, ws->awaits_pong ? options->pong_timeout_ms : silence_ms(ws));
    int64_t idle = options->idle_timeout_ms == 0 ? INT64_MAX
                                                 : left_ms(now_ms, ws->message_ms, options->idle_timeout_ms);
    return ping < idle ? ping : idle;
}

static int64_t ws_deadline_ms(const struct conn *conn, enum wait waits_for, int64_t now_ms)
{
    const struct ws *ws = conn->work;
    if (waits_for == WAIT_WRITE) {
        return now_ms + ws->options->write_timeout_ms;
    }
    int64_t wait_ms = quiet_ms(ws, (uint32_t)now_ms);
    return wait_ms == INT64_MAX ? DEADLINE_NEVER : now_ms + (wait_ms > 0 ? wait_ms : 0);
}

static bool ws_expire(struct conn *conn, enum wait waits_for)
{
    struct ws *ws = conn->work;
    uint32_t now_ms = now_of_conn(conn);
    if (waits_for == WAIT_WRITE) {
        return false;
    }
    ws->restarts = true;
    if (ws->state == WS_LOST || quiet_ms(ws, now_ms) > 0) {
        return true; /* it has moved meanwhile */
    }
    const struct ws_options *options = ws->options;
    bool is_idle = options->idle_timeout_ms != 0 && left_ms(now_ms, ws->message_ms, options->idle_timeout_ms) <= 0;
    if (ws->state == WS_OPEN && is_idle) {
        return ws_close(ws, WS_CODE_GOING_AWAY, idle_reason, sizeof idle_reason - 1) == 0;
    }
    if (ws->state != WS_OPEN || ws->awaits_pong) {
        bool takes = ws->unsent > UNSENT_LITTLE && unsent_bytes(ws) < ws->unsent; /* what was sent before that */
        ws->since_ms = takes ? now_ms : ws->since_ms;
        return takes;
    }
    ws->awaits_pong = true;
    ws->since_ms = now_ms;
    return ws_traffic_add(ws, WS_OP_PING, false, NULL, 0) == 0;
}

static void ws_drain(struct conn *conn)
{
    struct ws *ws = conn->work;
    if (ws->state == WS_OPEN && ws_close(ws, WS_CODE_GOING_AWAY, stop_reason, sizeof stop_reason - 1) < 0) {
        ws_cut(ws);
    }
}

static void ws_lose(struct conn *conn)
{
    struct ws *ws = conn->work;
    struct service *service = conn->pool->service;
    bool is_due = ws->state != WS_ENDING && ws->state != WS_OVER;
    ws->state = WS_OVER;
    if (is_due) {
        ws->options->user->on_close(ws, ws->arg, WS_CODE_LOST, "", 0);
    }
    ws_topics_drop(ws);
    ws_traffic_drop(ws);
    ws_reader_done(&ws->reader);
    ws_deflate_destroy(ws->deflate);
    stat_add(&service->stats.websockets, UINT64_MAX); /* one less */
    conn->work = NULL;
    mem_free(ws->client);
    slabs_put(ws);
}

static const char *ws_doing(const struct conn *conn)
{
    const struct ws *ws = conn->work;
    return ws->state == WS_OPEN ? "while a WebSocket was open" : "while a WebSocket was closing";
}

const struct protocol ws_protocol = {
    .name = "WebSocket",
    .read = ws_read,
    .advance = ws_advance,
    .wants = ws_wants,
    .is_idle = ws_is_idle,
    .waits_for = ws_waits_for,
    .deadline_ms = ws_deadline_ms,
    .expire = ws_expire,
    .drain = ws_drain,
    .lose = ws_lose,
    .doing = ws_doing,
};

int ws_begin(struct ws *ws, struct conn *conn, const char *unread, size_t len)
{
    ws->conn = conn;
    ws->state = WS_OPENING;
    ws->since_ms = ws->message_ms = now_of_conn(conn);
    ws_reader_init(&ws->reader);
    if (len > 0) {
        union {
            const char *bytes;
            char *writable; /* it is copied */
        } from = {.bytes = unread};
        if (ws_traffic_keep(ws, from.writable, len) < 0) {
            ws_traffic_drop(ws);
            return -ENOMEM;
        }
        ws->has_more = true;
    }
    stat_add(&conn->pool->service->stats.websockets, 1);
    return 0;
}
