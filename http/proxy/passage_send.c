/* Happy path: head and body leave in one write. What the upstream does not take is kept, and nothing more is read from the
 * client until it is gone.
 *
 * Failure modes: a body that cannot be had is its client's fault. An upstream that takes no more may have responded, so
 * what it sent is read. */

#include "http/proxy/passage_send.h"

#include "core/link.h"
#include "core/mem.h"
#include "core/write_buffer.h"
#include "http/exchange.h"
#include "http/proxy/passage_end.h"
#include "http/proxy/passage_state.h"
#include "http/proxy/proxied_head.h"

#include <errno.h>
#include <stdio.h>
#include <sys/uio.h>

enum { PASSAGE_CHUNK_ROOM = 20 }; /* hexadecimal digits of a length, and CRLF */

/* Send what parts have, behind what waits already; what the upstream does not take is kept in out. Returns 0, or
 * -ENOMEM. */
static int send_request_parts(struct passage *passage, struct iovec *parts, size_t count)
{
    size_t sent = 0;
    if (write_buffer_len(&passage->out) == 0 && !passage->is_send_broken) {
        ssize_t rv;
        do {
            rv = count == 1 ? link_send(passage->link, parts[0].iov_base, parts[0].iov_len)
                            : link_sendv(passage->link, parts, count);
        } while (rv == -EINTR);
        passage->is_send_broken = rv < 0 && rv != -EAGAIN;
        sent = rv > 0 ? (size_t)rv : 0;
    }
    for (size_t i = 0; i < count && !passage->is_send_broken; i++) {
        size_t of_part = sent < parts[i].iov_len ? sent : parts[i].iov_len;
        sent -= of_part;
        const char *rest = (const char *)parts[i].iov_base + of_part;
        if (of_part < parts[i].iov_len &&
            write_buffer_append(&passage->out, rest, parts[i].iov_len - of_part, SIZE_MAX) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Send what waits. Returns whether all of it is gone. */
static bool flush_request(struct passage *passage)
{
    struct write_buffer *out = &passage->out;
    while (write_buffer_len(out) > 0 && !passage->is_send_broken) {
        ssize_t sent = link_send(passage->link, write_buffer_data(out), write_buffer_len(out));
        if (sent == -EAGAIN) {
            return false;
        }
        passage->is_send_broken = sent < 0 && sent != -EINTR;
        write_buffer_consume(out, sent > 0 ? (size_t)sent : 0);
    }
    if (passage->is_send_broken) {
        write_buffer_consume(out, SIZE_MAX);
    }
    return true;
}

/* Put a piece of the body into parts, framed as the upstream expects it. digits has PASSAGE_CHUNK_ROOM bytes. */
static size_t frame_piece(const struct passage *passage, struct iovec *parts, char *digits, const char *data,
                          size_t len)
{
    static char crlf[] = "\r\n";
    size_t count = 0;
    if (passage->exchange->head.chunked) {
        int written = snprintf(digits, PASSAGE_CHUNK_ROOM, "%zx\r\n", len);
        parts[count++] = (struct iovec){.iov_base = digits, .iov_len = (size_t)written};
    }
    parts[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    if (passage->exchange->head.chunked) {
        parts[count++] = (struct iovec){.iov_base = crlf, .iov_len = 2};
    }
    return count;
}

/* Read a piece of the body, behind the first count of parts. Returns how many parts there are then, or -errno or an HTTP
 * status, negated, as exchange_read_body(). */
static int add_body_piece(struct passage *passage, struct iovec *parts, int count, char *digits)
{
    static char last_chunk[] = "0\r\n\r\n";
    struct exchange *exchange = passage->exchange;
    const char *data;
    size_t len;
    int rv = exchange_read_body(exchange, &data, &len);
    if (rv < 0 || rv == BODY_WAIT) {
        return rv < 0 ? rv : count;
    }
    if (rv == BODY_DATA) {
        passage->has_taken = true;
        count += (int)frame_piece(passage, parts + count, digits, data, len);
    }
    if (exchange->is_body_read) {
        passage->is_body_sent = true;
        if (exchange->head.chunked) {
            parts[count++] = (struct iovec){.iov_base = last_chunk, .iov_len = sizeof last_chunk - 1};
        }
    }
    return count;
}

/* The body of the request cannot be had, for which the client is to blame. */
static void refuse_body(struct passage *passage, int status)
{
    passage_fail(passage, status, passage->exchange->body_reason);
}

/* Pass the body on, as far as it has come and the upstream takes it. Returns false if the passage is gone. */
bool passage_pump(struct passage *passage)
{
    while (flush_request(passage) && !passage->is_body_sent && !passage->is_send_broken) {
        struct iovec parts[4];
        char digits[PASSAGE_CHUNK_ROOM];
        int count = add_body_piece(passage, parts, 0, digits);
        if (count < 0) {
            refuse_body(passage, -count);
            return false;
        }
        if (count == 0) {
            break; /* on_data tells when there is more */
        }
        if (send_request_parts(passage, parts, (size_t)count) < 0) {
            passage_lack_memory(passage);
            return false;
        }
    }
    return true;
}

/* The link is open: send the head, and what there is of the body with it. Returns false if the passage is gone. */
bool passage_send_head(struct passage *passage)
{
    struct proxy *proxy = passage->proxy;
    struct exchange *exchange = passage->exchange;
    size_t room = proxied_head_room(exchange, proxy, passage->upstream);
    if (room > proxy->scratch_len) {
        char *scratch = mem_resize(proxy->scratch, room);
        if (scratch == NULL) {
            passage_lack_memory(passage);
            return false;
        }
        proxy->scratch = scratch;
        proxy->scratch_len = room;
    }
    struct iovec parts[5];
    char digits[PASSAGE_CHUNK_ROOM];
    parts[0].iov_base = proxy->scratch;
    parts[0].iov_len = proxied_head_write(proxy->scratch, exchange, proxy, passage->upstream, passage->upgrades);
    int count = 1;
    if (!exchange->has_body) {
        passage->is_body_sent = true;
    } else {
        count = add_body_piece(passage, parts, 1, digits);
        if (count < 0) {
            refuse_body(passage, -count);
            return false;
        }
    }
    if (send_request_parts(passage, parts, (size_t)count) < 0) {
        passage_lack_memory(passage);
        return false;
    }
    return passage->is_body_sent || passage_pump(passage); /* which asks for what has not come yet */
}
