/* Bytes in and out of a connection.
 *
 * While a turn lasts, input lies in a block that the server lends to the connection it is advancing. What is left at
 * the end of the turn, usually nothing, moves to memory of the connection's own. Output leaves in this order: queued
 * bytes (heads and short content), then the body that is sent from where it is. A file whose file system does not know
 * sendfile(2) is read into the queue, a piece at a time, when the queue is empty. */

#include "http/conn_io.h"

#include "core/mem.h"
#include "core/reactor.h"
#include "core/sys.h"
#include "http/cached_file.h"
#include "http/outcome.h"
#include "http/response_refs.h"
#include "http/server_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    WRITE_BUDGET = 256 << 10, /* bytes after which a turn ends (R6): tests/bench/README.md */
    SEND_MAX = 256 << 10,     /* bytes that a call sends at most */
    MEMORY_PIECE = 64 << 10,  /* and from memory that is borrowed: with more, each costs more */
    MEMORY_PARTS = 16,        /* pieces of memory that a call sends at most */
    READ_PIECE = 64 << 10,    /* bytes that are read from a file that cannot be sent as it is */
    INPUT_FIRST_BYTES = 1024, /* first size of a connection's own input */
    FILE_DOUBT_MS = 100,      /* how long a write to a file that is being sent may take to show what it was */
};

/* Input. */

/* Make room to read: in the lent block, or behind the connection's own bytes. What the connection has to keep is
 * bounded by the limits on a head, beyond which the parser has refused it. Returns 0 or -ENOMEM. */
static int input_prepare(struct conn *conn, struct exchange *exchange)
{
    struct input *input = &exchange->input;
    if (input->data == NULL) {
        assert(!conn->server->is_read_block_lent); /* another connection's bytes lie in it */
        conn->server->is_read_block_lent = true;
        *input = (struct input){.data = conn->server->read_block, .capacity = READ_BLOCK_BYTES};
        return 0;
    }
    if (input->start > 0) {
        memmove(input->data, input_data(exchange), input_len(exchange));
        input->end -= input->start;
        input->start = 0;
    }
    if (input->end < input->capacity) {
        return 0;
    }
    char *data = mem_resize(input->data, (size_t)input->capacity * 2);
    if (data == NULL) {
        return -ENOMEM;
    }
    input->data = data;
    input->capacity *= 2;
    return 0;
}

ssize_t input_read(struct conn *conn, struct exchange *exchange)
{
    int rv = input_prepare(conn, exchange);
    if (rv < 0) {
        return rv;
    }
    struct input *input = &exchange->input;
    ssize_t len = sys_recv(conn->fd, input->data + input->end, input->capacity - input->end);
    if (len > 0) {
        input->end += (uint32_t)len;
        stat_add(&conn->server->service.stats.bytes_received, (uint64_t)len);
    }
    return len;
}

int input_settle(struct conn *conn, struct exchange *exchange)
{
    struct input *input = &exchange->input;
    size_t len = input_len(exchange);
    bool is_lent = input_is_lent(conn, exchange);
    conn->server->is_read_block_lent = conn->server->is_read_block_lent && !is_lent;
    if (len == 0) {
        if (!is_lent) {
            mem_free(input->data);
        }
        *input = (struct input){0};
        return 0;
    }
    if (!is_lent) {
        return 0;
    }
    size_t capacity = len < INPUT_FIRST_BYTES / 2 ? INPUT_FIRST_BYTES : len * 2;
    char *own = mem_alloc(capacity);
    if (own == NULL) {
        return -ENOMEM;
    }
    memcpy(own, input_data(exchange), len);
    *input = (struct input){.data = own, .end = (uint32_t)len, .capacity = (uint32_t)capacity};
    return 0;
}

int input_keep_head(struct exchange *exchange)
{
    uint32_t len = exchange->head.len;
    if (exchange->head_data == NULL || exchange->head_data == exchange->head_copy) {
        return 0;
    }
    if (exchange->head_copy_capacity < len) {
        char *copy = mem_resize(exchange->head_copy, len);
        if (copy == NULL) {
            return -ENOMEM;
        }
        exchange->head_copy = copy;
        exchange->head_copy_capacity = len;
    }
    memcpy(exchange->head_copy, exchange->head_data, len);
    exchange->head_data = exchange->head_copy;
    return 0;
}

int input_keep_body(struct exchange *exchange)
{
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

/* One call that sends. *wanted gets how many bytes there were to send. Returns bytes sent or -errno. */

static ssize_t send_queued(struct conn *conn, bool more, size_t *wanted)
{
    struct write_buffer *out = &conn->exchange->out;
    size_t len = write_buffer_len(out);
    *wanted = len < SEND_MAX ? len : SEND_MAX;
    ssize_t sent = sys_send(conn->fd, write_buffer_data(out), *wanted, more || len > *wanted);
    if (sent > 0) {
        write_buffer_consume(out, (size_t)sent);
    }
    return sent;
}

/* Bytes of the queue, the borrowed memory behind it and what follows that were sent. Returns 0, or -errno when the answer
 * cannot go on. */
static int take_off(struct exchange *exchange, size_t sent)
{
    struct response_body *body = &exchange->response_body;
    for (;;) {
        size_t of_queue = sent < out_len(exchange) ? sent : out_len(exchange);
        write_buffer_consume(&exchange->out, of_queue);
        sent -= of_queue;
        if (sent == 0 || body->kind != BODY_BORROWED) {
            return 0;
        }
        size_t of_body = sent < body->borrowed.len ? sent : body->borrowed.len;
        body->borrowed.data += of_body;
        body->borrowed.len -= of_body;
        sent -= of_body;
        int rv = body->borrowed.len == 0 ? response_next_range(exchange) : 0;
        if (rv < 0 || sent == 0) {
            return rv;
        }
    }
}

/* Borrowed memory, what is queued before it, and what a stream has behind it. */
static ssize_t send_borrowed(struct conn *conn, size_t *wanted)
{
    struct exchange *exchange = conn->exchange;
    const struct borrowed *body = &exchange->response_body.borrowed;
    size_t queued = out_len(exchange);
    size_t len = body->len < MEMORY_PIECE ? body->len : MEMORY_PIECE;
    struct iovec parts[MEMORY_PARTS];
    size_t count = 0;
    if (queued > 0) {
        parts[count++] = (struct iovec){.iov_base = exchange->out.block + exchange->out.start, .iov_len = queued};
    }
    parts[count++] = (struct iovec){.iov_base = (char *)(uintptr_t)body->data, .iov_len = len};
    *wanted = queued + len;
    if (len == body->len && exchange->response_body.then.next != NULL) {
        size_t more = response_refs_gather(exchange, parts + count, MEMORY_PARTS - count, MEMORY_PIECE - len);
        for (; more > 0; more--) {
            *wanted += parts[count++].iov_len;
        }
    }
    ssize_t sent = count == 1 ? sys_send(conn->fd, body->data, len, false) : sys_sendv(conn->fd, parts, count);
    int rv = sent < 0 ? (int)sent : take_off(exchange, (size_t)sent);
    return rv < 0 ? rv : sent;
}

/* Returns 0 or -errno. */
static int queue_piece(struct exchange *exchange)
{
    struct response_body *body = &exchange->response_body;
    size_t len = body->file.len < READ_PIECE ? (size_t)body->file.len : READ_PIECE;
    int rv = response_queue_file(exchange, body->file.file, (uint64_t)body->file.offset, len);
    if (rv < 0) {
        return rv;
    }
    body->file.offset += (int64_t)len;
    body->file.len -= len;
    return body->file.len == 0 ? response_next_range(exchange) : 0;
}

/* Whether sendfile(2) says that this file cannot be sent so, by anybody. */
static bool is_refusal(ssize_t error)
{
    return error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP;
}

/* Whether the file may be sent on. Returns 0; -EAGAIN: a write to it may be under way, so look again in the next turn;
 * or another -errno. */
static int check_file(struct conn *conn)
{
    struct response_body *body = &conn->exchange->response_body;
    int rv = body->file.is_checked ? 0 : cached_file_check(body->file.file);
    if (rv == -EAGAIN) {
        int64_t now_ms = reactor_now_ms(conn->server->service.reactor);
        body->file.doubted_ms = body->file.doubted_ms == 0 ? now_ms : body->file.doubted_ms;
        return now_ms - body->file.doubted_ms < FILE_DOUBT_MS ? -EAGAIN : -ESTALE;
    }
    body->file.doubted_ms = 0;
    body->file.is_checked = rv == 0;
    return rv;
}

/* 0 when a piece of the file was queued instead. */
static ssize_t send_file(struct conn *conn, size_t *wanted)
{
    struct response_body *body = &conn->exchange->response_body;
    struct cached_file *file = body->file.file;
    int rv = check_file(conn);
    if (rv < 0) {
        return rv;
    }
    if (file->has_no_sendfile) {
        return queue_piece(conn->exchange);
    }
    off_t offset = body->file.offset;
    *wanted = body->file.len < SEND_MAX ? (size_t)body->file.len : SEND_MAX;
    ssize_t sent = sys_sendfile(conn->fd, file->fd, &offset, *wanted);
    if (is_refusal(sent)) {
        file->has_no_sendfile = true;
        return queue_piece(conn->exchange);
    }
    if (sent == 0) {
        return -ENODATA; /* the file was truncated: what was announced cannot be sent */
    }
    if (sent > 0) {
        body->file.offset = offset;
        body->file.len -= (uint64_t)sent;
        rv = body->file.len == 0 ? response_next_range(conn->exchange) : 0;
        sent = rv < 0 ? rv : sent;
    }
    return sent;
}

static ssize_t send_some(struct conn *conn, size_t *wanted)
{
    enum body_kind kind = conn->exchange->response_body.kind;
    if (kind == BODY_BORROWED) {
        return send_borrowed(conn, wanted);
    }
    ssize_t sent = 0;
    if (out_len(conn->exchange) == 0) {
        sent = send_file(conn, wanted);
    }
    return sent != 0 ? sent : send_queued(conn, conn->exchange->response_body.kind == BODY_FILE, wanted);
}

/* Whether what ends a response is no fault of the client's: its file has changed or cannot be read, or memory is short. */
static bool is_own_fault(int error)
{
    return error == -ESTALE || error == -ENODATA || error == -EIO || error == -ENOMEM;
}

/* The turn is over, and something is left. */
static void wait_for_room(struct conn *conn)
{
    struct response_body *body = &conn->exchange->response_body;
    conn->wants_write = true;
    if (body->kind == BODY_FILE) {
        body->file.is_checked = false; /* it may change until the next turn */
    }
}

int conn_flush(struct conn *conn)
{
    size_t turn = 0; /* bytes of this one */
    conn->wants_write = false;
    while (!out_is_empty(conn->exchange)) {
        size_t wanted = 0;
        ssize_t sent = send_some(conn, &wanted);
        if (sent == -EINTR) {
            continue;
        }
        if (sent < 0 && sent != -EAGAIN) {
            conn->end = is_own_fault((int)sent) ? OUTCOME_ABORTED : OUTCOME_GONE;
            return (int)sent;
        }
        if (sent > 0) {
            turn += (size_t)sent;
            conn->exchange->bytes_out += (size_t)sent;
            stat_add(&conn->server->service.stats.bytes_sent, (uint64_t)sent);
            conn->has_sent = true;
        }
        /* A short send means a full socket: asking again would only say EAGAIN. */
        if (sent < (ssize_t)wanted || turn >= WRITE_BUDGET) {
            if (!out_is_empty(conn->exchange)) {
                wait_for_room(conn);
            }
            return 0;
        }
    }
    return 0;
}
