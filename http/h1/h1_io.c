/* While a turn lasts, input lies in a block that the pool lends to the connection that is being advanced. What is left
 * at the end of the turn, usually nothing, moves to memory of the connection's own. Output leaves in this order: queued
 * bytes (heads and short content), then exchange.source. A file that sendfile(2) cannot send, or that the transport has
 * to see, is read into the queue, a piece at a time, when the queue is empty.
 *
 * Failure modes: -errno of the transport, of a file that cannot be read or has changed, and -ENOMEM. */

#include "http/h1/h1_io.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "http/h1/h1.h"
#include "http/h1/h1_pace.h"
#include "http/h1/h1_refs.h"
#include "http/service.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    WRITE_BUDGET = 256 << 10,   /* bytes after which a turn ends (R6): tests/bench/README.md */
    FILE_PIECE = 256 << 10,     /* bytes of a file that a call sends at most */
    MEMORY_PIECE = 64 << 10,    /* bytes of borrowed memory that a call sends at most: with more, each costs more */
    MEMORY_PARTS = 16,          /* pieces of memory that a call sends at most */
    READ_PIECE = 64 << 10,      /* bytes that are read from a file that cannot be sent as it is: whole TLS records */
    INPUT_FIRST_BYTES = 1024,   /* first size of a connection's own input */
    FILE_JOINS_BELOW = 8 << 10, /* bytes that may be queued before a piece of a file that is read */
    MADE_BELOW = 32 << 10,      /* bytes that may be queued before content is made that comes behind them */
    FILE_DOUBT_MS = 100,        /* how long a write to a file that is being sent may take to show what it was */
};

/* Input. */

static bool is_lent(const struct h1 *h1)
{
    return h1->input.data == h1->conn->pool->read_block;
}

/* Make room to read: in the lent block, or behind the connection's own bytes. What the connection has to keep is
 * bounded by the limits on a head, beyond which the parser has refused it. Returns 0 or -ENOMEM. */
static int prepare_input(struct h1 *h1)
{
    struct input *input = &h1->input;
    struct conn_pool *pool = h1->conn->pool;
    if (input->data == NULL) {
        assert(!pool->is_read_block_lent); /* another connection's bytes lie in it */
        pool->is_read_block_lent = true;
        *input = (struct input){.data = pool->read_block, .capacity = READ_BLOCK_BYTES};
        return 0;
    }
    if (input->start > 0) {
        memmove(input->data, input_data(h1), input_len(h1));
        input->end -= input->start;
        input->start = 0;
    }
    if (input->end < input->capacity) {
        return 0;
    }
    char *data = mem_resize(input->data, (size_t)input->capacity * 2 + READ_SLACK);
    if (data == NULL) {
        return -ENOMEM;
    }
    input->data = data;
    input->capacity *= 2;
    return 0;
}

ssize_t h1_read_input(struct h1 *h1)
{
    int rv = prepare_input(h1);
    if (rv < 0) {
        return rv;
    }
    struct input *input = &h1->input;
    ssize_t len = transport_recv(&h1->conn->transport, input->data + input->end, input->capacity - input->end);
    if (len > 0) {
        input->end += (uint32_t)len;
        stat_add(&h1->exchange.service->stats.bytes_received, (uint64_t)len);
    }
    return len;
}

void h1_drop_input(struct h1 *h1)
{
    if (is_lent(h1)) {
        h1->conn->pool->is_read_block_lent = false;
    } else {
        mem_free(h1->input.data);
    }
    h1->input = (struct input){0};
}

int h1_settle_input(struct h1 *h1)
{
    struct input *input = &h1->input;
    size_t len = input_len(h1);
    if (len == 0) {
        h1_drop_input(h1);
        return 0;
    }
    if (!is_lent(h1)) {
        return 0;
    }
    h1->conn->pool->is_read_block_lent = false;
    size_t capacity = len < INPUT_FIRST_BYTES / 2 ? INPUT_FIRST_BYTES : len * 2;
    char *own = mem_alloc(capacity + READ_SLACK);
    if (own == NULL) {
        return -ENOMEM;
    }
    memcpy(own, input_data(h1), len);
    *input = (struct input){.data = own, .end = (uint32_t)len, .capacity = (uint32_t)capacity};
    return 0;
}

int h1_keep_head(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    uint32_t len = exchange->head.len;
    if (exchange->head_data == NULL || exchange->head_data == h1->head_copy) {
        return 0;
    }
    if (h1->head_copy_capacity < len) {
        char *copy = mem_resize(h1->head_copy, (size_t)len + READ_SLACK);
        if (copy == NULL) {
            return -ENOMEM;
        }
        h1->head_copy = copy;
        h1->head_copy_capacity = len;
    }
    memcpy(h1->head_copy, exchange->head_data, len);
    exchange->head_data = h1->head_copy;
    return 0;
}

int h1_keep_body(struct h1 *h1)
{
    struct exchange *exchange = &h1->exchange;
    if (exchange->body_len == 0 || exchange->body == write_buffer_data(&exchange->body_block)) {
        return 0;
    }
    int rv = write_buffer_append(&exchange->body_block, exchange->body, exchange->body_len, SIZE_MAX);
    if (rv == 0) {
        exchange->body = write_buffer_data(&exchange->body_block);
    }
    return rv;
}

/* Output. */

size_t h1_queued(const struct exchange *exchange)
{
    return h1_refs_queued(h1_of(exchange));
}

/* Bytes of the queue, the borrowed memory behind it and what follows that were sent. Returns 0, or -errno when the
 * response cannot go on. */
static int take_off(struct h1 *h1, size_t sent)
{
    struct source *source = &h1->exchange.source;
    for (;;) {
        size_t of_queue = sent < out_len(h1) ? sent : out_len(h1);
        write_buffer_consume(&h1->out, of_queue);
        sent -= of_queue;
        if (sent == 0 || source->kind != SOURCE_BORROWED) {
            return 0;
        }
        size_t of_source = sent < source->borrowed.len ? sent : source->borrowed.len;
        source->borrowed.data += of_source;
        source->borrowed.len -= of_source;
        sent -= of_source;
        int rv = source->borrowed.len == 0 ? source_next(source, &h1->exchange) : 0;
        if (rv < 0 || sent == 0) {
            return rv;
        }
    }
}

/* Whether the connection ends once all that is queued has been sent, in an orderly way. */
static bool is_last_response(const struct h1 *h1)
{
    const struct exchange *exchange = &h1->exchange;
    switch ((enum h1_state)h1->state) {
    case H1_WRITING_RESPONSE:
        return exchange->response_state == RESPONSE_COMPLETE && exchange->takeover == NULL &&
               (h1->closes || exchange->wants_close || (exchange->service->is_draining && exchange->is_body_read));
    case H1_CLOSING:
        return exchange->response_state == RESPONSE_NONE || exchange->response_state == RESPONSE_COMPLETE;
    default:
        return false;
    }
}

/* The next write has all that is queued, or not. A transport that says its end can do so in the same call. */
static void announce_end(const struct h1 *h1, bool is_all)
{
    struct transport *transport = &h1->conn->transport;
    if (transport->ops != NULL) {
        transport->is_ending = is_all && is_last_response(h1);
    }
}

/* Whether these parts, which end in borrowed memory or behind it, are all that is left of the response. */
static bool is_all_queued(const struct h1 *h1, const struct iovec *parts, size_t count)
{
    const struct source *source = &h1->exchange.source;
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += parts[i].iov_len;
    }
    return len == (source->then.next == NULL ? out_len(h1) + source->borrowed.len : h1_refs_queued(h1));
}

/* How much a call may send that usually sends usual bytes. */
static size_t piece_most(const struct h1 *h1, size_t usual, int64_t budget)
{
    return h1->exchange.dues.is_paced && budget < (int64_t)usual ? (size_t)budget : usual;
}

/* Send borrowed memory once, with what is queued before it and what a stream has behind it. Returns bytes or -errno. */
static ssize_t send_borrowed(struct h1 *h1, size_t most)
{
    const struct borrowed *borrowed = &h1->exchange.source.borrowed;
    size_t queued = out_len(h1);
    size_t len = borrowed->len < most ? borrowed->len : most;
    struct iovec parts[MEMORY_PARTS];
    size_t count = 0;
    if (queued > 0) {
        parts[count++] = (struct iovec){.iov_base = h1->out.block + h1->out.start, .iov_len = queued};
    }
    parts[count++] = (struct iovec){.iov_base = (char *)(uintptr_t)borrowed->data, .iov_len = len};
    if (len == borrowed->len && h1->exchange.source.then.next != NULL) {
        count += h1_refs_gather(h1, parts + count, MEMORY_PARTS - count, most - len);
    }
    announce_end(h1, h1->conn->transport.ops != NULL && is_all_queued(h1, parts, count));
    ssize_t sent = transport_sendv(&h1->conn->transport, parts, count);
    int rv = sent < 0 ? (int)sent : take_off(h1, (size_t)sent);
    return rv < 0 ? rv : sent;
}

/* Read a piece of the file into the queue. Returns 0 or -errno. Together with what is queued it has as many bytes as a
 * call sends, so no rest of a few bytes takes a call of its own. */
static int queue_file_piece(struct h1 *h1)
{
    struct file_range *file = &h1->exchange.source.file;
    assert(out_len(h1) < FILE_JOINS_BELOW);
    size_t room = READ_PIECE - out_len(h1);
    size_t len = file->len < room ? (size_t)file->len : room;
    char *at = write_buffer_reserve(&h1->out, len, SIZE_MAX, NULL);
    if (at == NULL) {
        return -ENOMEM;
    }
    int rv = source_read_file(file, at, len);
    if (rv < 0) {
        return rv;
    }
    write_buffer_commit(&h1->out, len);
    return file->len == 0 ? source_next(&h1->exchange.source, &h1->exchange) : 0;
}

/* Whether the file may be sent on. Returns 0; -EAGAIN: a write to it may be under way, so look again in the next turn;
 * or another -errno. */
static int check_range(struct h1 *h1)
{
    struct file_range *file = &h1->exchange.source.file;
    int rv = file->is_checked ? 0 : file->check(file->arg);
    if (rv == -EAGAIN) {
        int64_t now_ms = reactor_now_ms(h1->exchange.service->reactor);
        file->doubted_ms = file->doubted_ms == 0 ? now_ms : file->doubted_ms;
        return now_ms - file->doubted_ms < FILE_DOUBT_MS ? -EAGAIN : -ESTALE;
    }
    file->doubted_ms = 0;
    file->is_checked = rv == 0;
    return rv;
}

/* Whether sendfile(2) says that this file cannot be sent so, by anybody. */
static bool is_refusal(ssize_t error)
{
    return error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP;
}

/* Send of the file once. Returns bytes, 0 when a piece of it was queued instead, or -errno. */
static ssize_t send_file(struct h1 *h1, size_t most)
{
    struct file_range *file = &h1->exchange.source.file;
    int rv = check_range(h1);
    if (rv < 0) {
        return rv;
    }
    if (*file->has_no_sendfile || !transport_can_sendfile(&h1->conn->transport)) {
        return queue_file_piece(h1);
    }
    size_t len = file->len < most ? (size_t)file->len : most;
    ssize_t sent = transport_sendfile(&h1->conn->transport, file->fd, &file->offset, len);
    if (is_refusal(sent)) {
        *file->has_no_sendfile = true;
        return queue_file_piece(h1);
    }
    if (sent == 0) {
        return -ENODATA; /* the file was truncated: what was announced cannot be sent */
    }
    if (sent > 0) {
        file->len -= (uint64_t)sent;
        rv = file->len == 0 ? source_next(&h1->exchange.source, &h1->exchange) : 0;
        sent = rv < 0 ? rv : sent;
    }
    return sent;
}

/* Whether what ends a response is no fault of the client's: its file has changed or cannot be read, or memory is
 * short. */
static bool is_own_fault(int error)
{
    return error == -ESTALE || error == -ENODATA || error == -EIO || error == -ENOMEM;
}

/* Whether the file behind the queue should join it first: a transport that cannot send files makes records, and a small
 * response is to be one. */
static bool file_joins_queue(const struct h1 *h1)
{
    return !transport_can_sendfile(&h1->conn->transport) && out_len(h1) < FILE_JOINS_BELOW;
}

/* Send what is queued, and before that make more of it, unless that was done in this turn. Returns as send_some(). */
static int send_made(struct h1 *h1, int64_t *budget)
{
    struct source *source = &h1->exchange.source;
    bool is_due = !source->made.has_run && out_len(h1) < MADE_BELOW;
    int rv = is_due ? source_next(source, &h1->exchange) : 0;
    if (rv < 0) {
        return rv;
    }
    if (source->kind == SOURCE_MADE) {
        source->made.has_run = source->made.has_run || is_due;
    }
    if (out_len(h1) == 0) {
        return source->kind == SOURCE_MADE ? -EAGAIN : 0;
    }
    size_t left = (size_t)*budget;
    announce_end(h1, source->kind == SOURCE_NONE && out_len(h1) <= left);
    rv = write_buffer_send(&h1->out, &h1->conn->transport, &left, source->kind != SOURCE_NONE);
    *budget = (int64_t)left;
    return rv < 0 ? rv : 0;
}

/* Send from the queue, or from behind it. Returns 0 or -errno; -EAGAIN when the transport is full, or a file has to be
 * looked at again later. What was sent is taken off *budget, which a last piece may exceed. */
static int send_some(struct h1 *h1, int64_t *budget)
{
    const struct exchange *exchange = &h1->exchange;
    enum source_kind kind = exchange->source.kind;
    if (kind == SOURCE_MADE) {
        return send_made(h1, budget);
    }
    if (kind == SOURCE_FILE && out_len(h1) > 0 && file_joins_queue(h1)) {
        int rv = (int)send_file(h1, FILE_PIECE);
        if (rv < 0) {
            return rv;
        }
        kind = exchange->source.kind;
    }
    bool sends_queue = kind == SOURCE_NONE || (out_len(h1) > 0 && (kind == SOURCE_FILE || exchange->dues.is_paced));
    if (sends_queue) {
        size_t left = (size_t)*budget;
        announce_end(h1, kind == SOURCE_NONE && out_len(h1) <= left);
        int rv = write_buffer_send(&h1->out, &h1->conn->transport, &left, kind != SOURCE_NONE);
        *budget = (int64_t)left;
        return rv < 0 ? rv : 0;
    }
    h1->conn->transport.is_full = false;
    ssize_t sent = kind == SOURCE_BORROWED ? send_borrowed(h1, piece_most(h1, MEMORY_PIECE, *budget))
                                           : send_file(h1, piece_most(h1, FILE_PIECE, *budget));
    if (sent < 0) { /* whether the transport is full says nothing: what was to follow may have found no memory */
        return sent == -EINTR ? 0 : (int)sent;
    }
    *budget -= sent;
    return 0;
}

int h1_flush(struct h1 *h1)
{
    struct conn *conn = h1->conn;
    struct exchange *exchange = &h1->exchange;
    int64_t granted = WRITE_BUDGET;
    int rv = 0;
    if (exchange->dues.is_paced) {
        granted = h1_pace_budget(h1, WRITE_BUDGET);
        h1->wants_write = granted == 0 && !out_is_empty(h1);
        if (h1->wants_write) {
            return 0;
        }
    }
    int64_t budget = granted;
    h1->wants_write = false;
    conn->transport.is_full = false;
    do {
        rv = send_some(h1, &budget);
    } while (rv == 0 && budget > 0 && !conn->transport.is_full && !out_is_empty(h1));
    if (budget < granted) {
        uint64_t sent = (uint64_t)(granted - budget);
        exchange->sent_bytes += sent;
        stat_add(&exchange->service->stats.bytes_sent, sent);
        conn->has_sent = true;
    }
    if (rv < 0 && rv != -EAGAIN) {
        conn->end = is_own_fault(rv) ? OUTCOME_ABORTED : OUTCOME_GONE;
        return rv;
    }
    if (!out_is_empty(h1)) {
        h1->wants_write = true;
        if (exchange->source.kind == SOURCE_FILE) {
            exchange->source.file.is_checked = false; /* it may change until the next turn */
        } else if (exchange->source.kind == SOURCE_MADE) {
            exchange->source.made.has_run = false;
        }
        if (exchange->dues.is_paced && !conn->transport.is_full) {
            h1_pace_hold(h1);
        }
    }
    return 0;
}
