/* Happy path: the answers of a turn are appended to one block, which the pool of connections lends, as it does the
 * struct ws_traffic, and leave with one write; what was borrowed goes back: a turn allocates nothing. A frame for many WebSockets is not copied: the bytes that were queued before it
 * are counted, so that the order is kept.
 *
 * Failure mode: without memory nothing is queued. */

#include "http/ws/ws_traffic.h"

#include "core/mem.h"
#include "core/transport.h"
#include "core/write_buffer.h"
#include "http/conn_pool.h"
#include "http/conn_protocol.h"
#include "http/service.h"
#include "http/ws/ws_state.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

enum { FIRST_HELD = 4, SEND_PARTS = 16 };

/* A frame that waits where it is. */
struct held_frame {
    const char *data;           /* first byte still to be sent */
    size_t len;                 /* bytes still to be sent */
    size_t before;              /* bytes of the block to be sent first, from the frame before this one on */
    void (*release)(void *arg); /* of struct ws_made */
    void *arg;
};

struct ws_traffic {
    struct write_buffer out; /* copied frames */
    size_t behind;           /* bytes of it behind the last frame that is held */

    struct held_frame *held;         /* NULL or held_capacity of them */
    size_t held_bytes;               /* of all of them */
    unsigned held_first, held_count; /* those that wait */
    unsigned held_capacity;

    char *rest_block; /* what the client sent and was not looked at: rest_len bytes at rest; or NULL */
    char *rest;
    size_t rest_len;
};

static struct ws_traffic *make_traffic(struct ws *ws)
{
    if (ws->traffic == NULL) {
        struct conn_pool *pool = ws->conn->pool;
        ws->traffic = pool->spare_traffic != NULL ? pool->spare_traffic : mem_alloc(sizeof *ws->traffic);
        pool->spare_traffic = NULL;
        if (ws->traffic != NULL) {
            *ws->traffic = (struct ws_traffic){0};
        }
    }
    return ws->traffic;
}

/* Give it back: nothing is on its way. */
static void put_traffic(struct ws *ws)
{
    struct conn_pool *pool = ws->conn->pool;
    if (pool->spare_traffic == NULL) {
        pool->spare_traffic = ws->traffic;
    } else {
        mem_free(ws->traffic);
    }
    ws->traffic = NULL;
}

size_t ws_traffic_queued(const struct ws *ws)
{
    const struct ws_traffic *traffic = ws->traffic;
    return traffic == NULL ? 0 : write_buffer_len(&traffic->out) + traffic->held_bytes;
}

/* The transport took sent bytes, or failed. Returns their number, or -errno when the client is lost. */
static ssize_t note_taken(struct ws *ws, ssize_t sent)
{
    if (sent == -EAGAIN || sent == -EINTR) {
        return 0;
    }
    if (sent > 0) {
        ws->conn->has_sent = true;
        stat_add(&ws->conn->pool->service->stats.bytes_sent, (uint64_t)sent);
    }
    return sent;
}

/* Whether a frame may go to the transport now, before the turn ends. What the transport holds after that is of this
 * frame. */
static bool may_send_now(const struct ws *ws)
{
    const struct transport *transport = &ws->conn->transport;
    return ws_traffic_queued(ws) == 0 && !transport->is_full && !transport->holds_output;
}

/* Append what is left of a frame behind the first skip bytes. */
static int append_frame(struct ws *ws, const char *head, size_t head_len, const char *data, size_t len, size_t skip)
{
    struct ws_traffic *traffic = make_traffic(ws);
    int error = 0;
    if (traffic == NULL) {
        return -ENOMEM;
    }
    conn_pool_lend_out(ws->conn->pool, &traffic->out);
    size_t left = head_len + len - skip;
    char *at = write_buffer_reserve(&traffic->out, left, UINT32_MAX, &error);
    if (at == NULL) {
        return -ENOMEM;
    }
    if (skip < head_len) {
        memcpy(at, head + skip, head_len - skip);
        at += head_len - skip;
        skip = head_len;
    }
    if (len > 0) {
        memcpy(at, data + (skip - head_len), head_len + len - skip);
    }
    write_buffer_commit(&traffic->out, left);
    traffic->behind += left;
    return 0;
}

/* If some of it was sent, or is in records that the transport holds, there is no way back. */
static int append_rest(struct ws *ws, const char *head, size_t head_len, const char *data, size_t len, size_t skip)
{
    bool has_begun = skip > 0 || (ws_traffic_queued(ws) == 0 && ws->conn->transport.holds_output);
    int rv = skip == head_len + len ? 0 : append_frame(ws, head, head_len, data, len, skip);
    return rv < 0 && has_begun ? -ECONNABORTED : rv;
}

int ws_traffic_add(struct ws *ws, enum ws_opcode opcode, bool is_deflated, const void *data, size_t len)
{
    char head[WS_SERVER_HEAD_MAX];
    size_t head_len = ws_frame_write(head, opcode, is_deflated, len);
    ssize_t sent = 0;
    if (len >= WS_DIRECT_MIN_BYTES && may_send_now(ws)) {
        union {
            const void *bytes;
            void *writable; /* as struct iovec wants it */
        } payload = {.bytes = data};
        const struct iovec parts[] = {{.iov_base = head, .iov_len = head_len},
                                      {.iov_base = payload.writable, .iov_len = len}};
        sent = note_taken(ws, transport_sendv(&ws->conn->transport, parts, 2));
    }
    return sent < 0 ? (int)sent : append_rest(ws, head, head_len, data, len, (size_t)sent);
}

/* Room for one more frame that is held. Returns false without memory, and when there are many. */
static bool make_held_room(struct ws_traffic *traffic)
{
    if (traffic->held_first + traffic->held_count < traffic->held_capacity) {
        return true;
    }
    if (traffic->held_first > 0) {
        memmove(traffic->held, traffic->held + traffic->held_first, traffic->held_count * sizeof *traffic->held);
        traffic->held_first = 0;
        return true;
    }
    unsigned capacity = traffic->held_capacity == 0 ? FIRST_HELD : traffic->held_capacity * 2;
    struct held_frame *held = capacity > WS_HELD_FRAMES_MAX
                                  ? NULL
                                  : mem_resize(traffic->held, capacity * sizeof *traffic->held);
    if (held == NULL) {
        return false;
    }
    traffic->held = held;
    traffic->held_capacity = capacity;
    return true;
}

int ws_traffic_add_made(struct ws *ws, const struct ws_made *made)
{
    size_t sent = 0;
    if (may_send_now(ws)) {
        ssize_t rv = note_taken(ws, transport_send(&ws->conn->transport, made->frame, made->len, false));
        if (rv < 0) {
            return (int)rv;
        }
        sent = (size_t)rv;
        if (sent == made->len) {
            return 0;
        }
    }
    struct ws_traffic *traffic = make_traffic(ws);
    if (traffic == NULL || !make_held_room(traffic)) {
        return append_rest(ws, made->frame, made->len, NULL, 0, sent);
    }
    made->hold(made->arg);
    traffic->held[traffic->held_first + traffic->held_count++] = (struct held_frame){
        .data = made->frame + sent,
        .len = made->len - sent,
        .before = traffic->behind,
        .release = made->release,
        .arg = made->arg,
    };
    traffic->held_bytes += made->len - sent;
    traffic->behind = 0;
    return 0;
}

static void drop_first_held(struct ws_traffic *traffic)
{
    struct held_frame *frame = &traffic->held[traffic->held_first];
    traffic->held_bytes -= frame->len;
    frame->release(frame->arg);
    traffic->held_count--;
    traffic->held_first = traffic->held_count == 0 ? 0 : traffic->held_first + 1;
}

/* The next bytes in line, as at most SEND_PARTS parts. Returns how many. */
static size_t gather_parts(const struct ws_traffic *traffic, struct iovec parts[SEND_PARTS])
{
    union {
        const char *bytes;
        void *writable;
    } base;
    const char *copied = traffic->out.block == NULL ? NULL : write_buffer_data(&traffic->out);
    size_t count = 0;
    unsigned i = 0;
    for (; i < traffic->held_count && count + 2 <= SEND_PARTS; i++) {
        const struct held_frame *frame = &traffic->held[traffic->held_first + i];
        if (frame->before > 0) {
            base.bytes = copied;
            parts[count++] = (struct iovec){.iov_base = base.writable, .iov_len = frame->before};
            copied += frame->before;
        }
        base.bytes = frame->data;
        parts[count++] = (struct iovec){.iov_base = base.writable, .iov_len = frame->len};
    }
    if (i == traffic->held_count && traffic->behind > 0 && count < SEND_PARTS) {
        base.bytes = copied;
        parts[count++] = (struct iovec){.iov_base = base.writable, .iov_len = traffic->behind};
    }
    return count;
}

static void consume_sent(struct ws_traffic *traffic, size_t sent)
{
    while (sent > 0 && traffic->held_count > 0) {
        struct held_frame *frame = &traffic->held[traffic->held_first];
        size_t copied = sent < frame->before ? sent : frame->before;
        if (copied > 0) {
            write_buffer_consume(&traffic->out, copied);
            frame->before -= copied;
            sent -= copied;
        }
        size_t held = sent < frame->len ? sent : frame->len;
        frame->data += held;
        frame->len -= held;
        traffic->held_bytes -= held;
        sent -= held;
        if (frame->len == 0) {
            drop_first_held(traffic);
        }
    }
    if (sent > 0) {
        write_buffer_consume(&traffic->out, sent);
        traffic->behind -= sent;
    }
}

int ws_traffic_send(struct ws *ws)
{
    struct transport *transport = &ws->conn->transport;
    size_t budget = WS_SEND_BUDGET_BYTES;
    transport->is_full = false;
    while (ws_traffic_queued(ws) > 0 && budget > 0 && !transport->is_full) {
        struct iovec parts[SEND_PARTS];
        size_t count = gather_parts(ws->traffic, parts);
        ssize_t sent = note_taken(ws, transport_sendv(transport, parts, count));
        if (sent < 0) {
            return (int)sent;
        }
        if (sent == 0) {
            break;
        }
        consume_sent(ws->traffic, (size_t)sent);
        budget -= (size_t)sent < budget ? (size_t)sent : budget;
    }
    return 0;
}

char *ws_traffic_rest(const struct ws *ws, size_t *len)
{
    *len = ws->traffic == NULL ? 0 : ws->traffic->rest_len;
    return ws->traffic == NULL ? NULL : ws->traffic->rest;
}

static void drop_unread(struct ws_traffic *traffic)
{
    mem_free(traffic->rest_block);
    traffic->rest_block = traffic->rest = NULL;
    traffic->rest_len = 0;
}

int ws_traffic_keep(struct ws *ws, char *data, size_t len)
{
    struct ws_traffic *traffic = ws->traffic;
    if (traffic != NULL && traffic->rest_block != NULL) {
        traffic->rest = data;
        traffic->rest_len = len;
        if (len == 0) {
            drop_unread(traffic);
        }
        return 0;
    }
    if (len == 0) {
        return 0;
    }
    traffic = make_traffic(ws);
    char *block = traffic == NULL ? NULL : mem_alloc(len);
    if (block == NULL) {
        return -ENOMEM;
    }
    memcpy(block, data, len);
    traffic->rest_block = traffic->rest = block;
    traffic->rest_len = len;
    return 0;
}

void ws_traffic_settle(struct ws *ws)
{
    struct ws_traffic *traffic = ws->traffic;
    if (traffic == NULL || ws_traffic_queued(ws) > 0) {
        return;
    }
    conn_pool_put_out(ws->conn->pool, &traffic->out);
    mem_free(traffic->held);
    traffic->held = NULL;
    traffic->held_capacity = 0;
    if (traffic->rest_block == NULL) {
        put_traffic(ws);
    }
}

void ws_traffic_drop(struct ws *ws)
{
    struct ws_traffic *traffic = ws->traffic;
    if (traffic == NULL) {
        return;
    }
    while (traffic->held_count > 0) {
        drop_first_held(traffic);
    }
    traffic->behind = 0;
    write_buffer_consume(&traffic->out, SIZE_MAX);
    drop_unread(traffic);
    ws_traffic_settle(ws);
}
