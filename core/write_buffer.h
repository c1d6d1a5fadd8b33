#ifndef EVSERVE_CORE_WRITE_BUFFER_H
#define EVSERVE_CORE_WRITE_BUFFER_H

/* A bounded queue of bytes on their way to a socket. Appending copies; consuming moves the head; the block grows by
 * doubling up to a cap and is compacted instead where that makes room. An empty buffer may hold no memory at all, and
 * its block may be handed on: a server keeps one block for all connections that have nothing queued. One thread
 * only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* core/transport.h, which is not installed: other programs use write_buffer_flush(). */
struct transport;

struct write_buffer {
    char *block;       /* capacity bytes, or NULL */
    uint32_t start;    /* first byte that is still to be sent */
    uint32_t end;      /* one past the last */
    uint32_t capacity; /* bytes in block */
};

enum { WRITE_DRAINED, WRITE_PENDING }; /* what write_buffer_send() and write_buffer_flush() return */

static inline size_t write_buffer_len(const struct write_buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline const char *write_buffer_data(const struct write_buffer *buffer)
{
    return buffer->block + buffer->start;
}

/* Start empty and without memory. */
void write_buffer_init(struct write_buffer *buffer);

/* Free the block. */
void write_buffer_done(struct write_buffer *buffer);

/* Make room for len more bytes and return where they go; write_buffer_commit() then says how many came. NULL, with the
 * queued bytes as they were, when they would be more than cap in all (errno-style reason in *error, if not NULL:
 * -ENOBUFS) or memory is short (-ENOMEM). */
char *write_buffer_reserve(struct write_buffer *buffer, size_t len, uint64_t cap, int *error);
void write_buffer_commit(struct write_buffer *buffer, size_t len);

/* Append a copy of len bytes. Returns 0, or -ENOBUFS or -ENOMEM with the buffer unchanged. */
int write_buffer_append(struct write_buffer *buffer, const void *data, size_t len, uint64_t cap);

/* Drop len bytes, at most what is queued, from the front. */
static inline void write_buffer_consume(struct write_buffer *buffer, size_t len)
{
    if (len < write_buffer_len(buffer)) {
        buffer->start += (uint32_t)len;
    } else {
        buffer->start = buffer->end = 0;
    }
}

/* Send what is queued, at most *budget bytes (R6), which go down by what was sent. more: other bytes follow the last
 * one at once. Returns WRITE_DRAINED when nothing is left, WRITE_PENDING when the transport is full (is_full) or the
 * budget is spent, or -errno when the peer is lost (-EPIPE, -ECONNRESET, ...). */
int write_buffer_send(struct write_buffer *buffer, struct transport *transport, size_t *budget, bool more);

/* The same to a socket. */
int write_buffer_flush(struct write_buffer *buffer, int fd, size_t budget, bool more);

/* Hand an empty buffer without memory a block of capacity bytes from mem_alloc(): it is the buffer's now. */
void write_buffer_attach(struct write_buffer *buffer, char *block, size_t capacity);

/* Take the block of an empty buffer back, which may be another one than was attached. Returns it with its *capacity,
 * or NULL when bytes are queued (the buffer keeps it) or there is none. */
char *write_buffer_detach(struct write_buffer *buffer, size_t *capacity);

#endif
