/* Happy path: a frame is queued, and the connection has a turn before the tick ends, in which all that is queued leaves
 * with one write.
 *
 * Failure modes: a client that does not read is cut when more than write_cap bytes wait for it; a client that is lost
 * is noticed by the turn, which calls on_close(). */

#include "http/ws/ws.h"

#include "core/reactor.h"
#include "http/conn.h"
#include "http/conn_pool.h"
#include "http/limits.h"
#include "http/service.h"
#include "http/ws/ws_deflate.h"
#include "http/ws/ws_state.h"
#include "http/ws/ws_traffic.h"

#include <errno.h>
#include <string.h>

static uint32_t least_of(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

void ws_options_init(struct ws_options *options, const struct limits *limits, const struct ws_user *user)
{
    *options = (struct ws_options){
        .user = user,
        .max_message = WS_MAX_MESSAGE_BYTES,
        .ping_ms = WS_PING_MS,
        .pong_timeout_ms = WS_PONG_TIMEOUT_MS,
        .close_timeout_ms = WS_CLOSE_TIMEOUT_MS,
        .write_timeout_ms = least_of(limits->write_timeout_ms),
        .high_mark = least_of(limits->write_high_mark_bytes),
        .write_cap = least_of(limits->write_cap_bytes),
    };
}

struct service *ws_service(const struct ws *ws)
{
    return ws->conn->pool->service;
}

static uint32_t now_of(const struct ws *ws)
{
    return (uint32_t)reactor_now_ms(ws_service(ws)->reactor);
}

void ws_cut(struct ws *ws)
{
    if (ws->state < WS_ENDING) {
        ws->state = WS_LOST;
        conn_resume(ws->conn);
    }
}

/* Whether a frame of a message may be queued: 0, -EPIPE or -ENOBUFS. */
static int check_sendable(struct ws *ws)
{
    if (ws->state != WS_OPEN) {
        return -EPIPE;
    }
    if (ws->traffic != NULL && ws_traffic_queued(ws) > ws->options->write_cap) {
        ws_cut(ws);
        return -ENOBUFS;
    }
    return 0;
}

/* A frame was queued or sent, with rv. What the caller of ws_send() is told. */
static int after_send(struct ws *ws, int rv)
{
    if (rv == -ENOMEM) {
        return rv;
    }
    if (rv < 0) {
        ws_cut(ws);
        return -EPIPE;
    }
    if (ws->traffic == NULL) {
        return 1; /* all of it was sent */
    }
    conn_resume(ws->conn);
    if (ws_traffic_queued(ws) <= ws->options->high_mark) {
        return 1;
    }
    ws->is_behind = true;
    return 0;
}

static int after_message(struct ws *ws, int rv)
{
    if (rv == 0) {
        stat_add(&ws_service(ws)->stats.ws_sent, 1);
        if (ws->options->idle_timeout_ms != 0) {
            ws->message_ms = now_of(ws);
        }
    }
    return after_send(ws, rv);
}

static bool is_text(const char *data, size_t len)
{
    struct ws_utf8 utf8 = {0};
    return ws_utf8_check(&utf8, data, len) && ws_utf8_is_whole(&utf8);
}

/* Queue a message, compressed if it is worth it. Returns as ws_traffic_add(). */
static int queue_message(struct ws *ws, enum ws_opcode opcode, const void *data, size_t len)
{
    const char *packed = NULL;
    size_t packed_len = ws->deflate == NULL || len < ws->options->compress_min
                            ? 0
                            : ws_deflate_message(ws->deflate, data, len, &packed);
    if (packed_len == 0) {
        return ws_traffic_add(ws, opcode, false, data, len);
    }
    int rv = ws_traffic_add(ws, opcode, true, packed, packed_len);
    if (rv < 0) {
        ws_deflate_take_back(ws->deflate);
    }
    return rv;
}

int ws_send(struct ws *ws, enum ws_kind kind, const void *data, size_t len)
{
    int rv = check_sendable(ws);
    if (rv < 0) {
        return rv;
    }
    if (len > WS_SEND_MAX_BYTES) {
        return -EMSGSIZE;
    }
    if (kind == WS_TEXT && !is_text(data, len)) {
        return -EILSEQ;
    }
    return after_message(ws, queue_message(ws, (enum ws_opcode)kind, data, len));
}

int ws_send_made(struct ws *ws, const struct ws_made *made)
{
    int rv = check_sendable(ws);
    return rv < 0 ? rv : after_message(ws, ws_traffic_add_made(ws, made));
}

int ws_ping(struct ws *ws, const void *data, size_t len)
{
    int rv = len > WS_CONTROL_MAX ? -EMSGSIZE : check_sendable(ws);
    return rv < 0 ? rv : after_send(ws, ws_traffic_add(ws, WS_OP_PING, false, data, len));
}

int ws_close(struct ws *ws, unsigned code, const char *reason, size_t len)
{
    char payload[WS_CONTROL_MAX];
    bool is_valid = code == 0 ? len == 0 : ws_code_is_valid(code) && len <= WS_REASON_MAX && is_text(reason, len);
    if (!is_valid) {
        return -EINVAL;
    }
    if (ws->state != WS_OPEN) {
        return -EPIPE;
    }
    payload[0] = (char)(code >> 8);
    payload[1] = (char)(code & 0xff);
    if (len > 0) {
        memcpy(payload + 2, reason, len);
    }
    int rv = ws_traffic_add(ws, WS_OP_CLOSE, false, payload, code == 0 ? 0 : len + 2);
    if (rv < 0) {
        return rv;
    }
    ws->state = WS_CLOSING;
    ws->since_ms = now_of(ws);
    ws->restarts = true;
    conn_resume(ws->conn);
    return 0;
}

void ws_pause(struct ws *ws)
{
    ws->is_paused = true;
}

void ws_resume(struct ws *ws)
{
    if (ws->is_paused && ws->state < WS_ENDING) {
        ws->is_paused = false;
        ws->awaits_pong = false; /* it may have come meanwhile */
        ws->since_ms = ws->state == WS_OPEN ? now_of(ws) : ws->since_ms;
        ws->restarts = true;
        conn_resume(ws->conn);
    }
}

size_t ws_queued(const struct ws *ws)
{
    return ws_traffic_queued(ws);
}

bool ws_is_open(const struct ws *ws)
{
    return ws->state == WS_OPEN;
}

unsigned ws_protocol_place(const struct ws *ws)
{
    return ws->protocol;
}

void *ws_arg(const struct ws *ws)
{
    return ws->arg;
}

const struct ws_options *ws_options_of(const struct ws *ws)
{
    return ws->options;
}

const struct peer *ws_client_address(const struct ws *ws)
{
    return ws->client != NULL ? ws->client : &ws->conn->peer;
}

const struct peer *ws_peer(const struct ws *ws)
{
    return &ws->conn->peer;
}
