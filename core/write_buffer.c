/* Bytes wait in one block between start and end. Sent bytes leave a gap in front, which is closed by moving the rest
 * down once half of the block is gap (or it may not grow), and else when the block grows: so a byte is moved at most
 * once per doubling and once per half block of progress. */

#include "core/write_buffer.h"

#include "core/mem.h"
#include "core/transport.h"

#include <errno.h>
#include <string.h>

enum { FIRST_CAPACITY = 512 };

void write_buffer_init(struct write_buffer *buffer)
{
    *buffer = (struct write_buffer){0};
}

void write_buffer_done(struct write_buffer *buffer)
{
    mem_free(buffer->block);
    write_buffer_init(buffer);
}

static void compact(struct write_buffer *buffer)
{
    size_t len = write_buffer_len(buffer);
    memmove(buffer->block, buffer->block + buffer->start, len);
    buffer->start = 0;
    buffer->end = (uint32_t)len;
}

/* Replace the block by one twice as large, or as often doubled as needed bytes ask for, but never beyond cap. */
static int grow_block(struct write_buffer *buffer, size_t needed, size_t cap)
{
    uint64_t capacity = buffer->capacity == 0 ? FIRST_CAPACITY : (uint64_t)buffer->capacity * 2;
    while (capacity < needed) {
        capacity *= 2;
    }
    if (capacity > cap) {
        capacity = cap;
    }
    char *block = mem_alloc((size_t)capacity);
    if (block == NULL) {
        return -ENOMEM;
    }
    size_t len = write_buffer_len(buffer);
    if (len > 0) {
        memcpy(block, write_buffer_data(buffer), len);
    }
    mem_free(buffer->block);
    *buffer = (struct write_buffer){.block = block, .end = (uint32_t)len, .capacity = (uint32_t)capacity};
    return 0;
}

static int make_room(struct write_buffer *buffer, size_t len, uint64_t limit)
{
    size_t queued = write_buffer_len(buffer);
    size_t cap = limit < UINT32_MAX ? (size_t)limit : UINT32_MAX; /* a size_t may have 32 bits, a limit has more */
    if (len > cap || queued > cap - len) {
        return -ENOBUFS;
    }
    if (buffer->block == NULL) {
        return grow_block(buffer, len, cap);
    }
    if (len <= buffer->capacity - buffer->end) {
        return 0;
    }
    bool at_cap = buffer->capacity >= cap;
    if (queued + len <= buffer->capacity && (at_cap || buffer->start >= buffer->capacity / 2)) {
        compact(buffer);
        return 0;
    }
    return grow_block(buffer, queued + len, cap);
}

char *write_buffer_reserve(struct write_buffer *buffer, size_t len, uint64_t cap, int *error)
{
    int rv = make_room(buffer, len, cap);
    if (rv < 0) {
        if (error != NULL) {
            *error = rv;
        }
        return NULL;
    }
    return buffer->block + buffer->end;
}

void write_buffer_commit(struct write_buffer *buffer, size_t len)
{
    buffer->end += (uint32_t)len;
}

int write_buffer_append(struct write_buffer *buffer, const void *data, size_t len, uint64_t cap)
{
    if (len == 0) {
        return 0;
    }
    int rv = make_room(buffer, len, cap);
    if (rv < 0) {
        return rv;
    }
    memcpy(buffer->block + buffer->end, data, len);
    buffer->end += (uint32_t)len;
    return 0;
}

int write_buffer_send(struct write_buffer *buffer, struct transport *transport, size_t *budget, bool more)
{
    transport->is_full = false;
    while (write_buffer_len(buffer) > 0 && *budget > 0 && !transport->is_full) {
        size_t len = write_buffer_len(buffer);
        size_t part = len < *budget ? len : *budget;
        ssize_t sent = transport_send(transport, write_buffer_data(buffer), part, more || len > part);
        if (sent < 0 && sent != -EINTR && sent != -EAGAIN) {
            return (int)sent;
        }
        if (sent > 0) {
            write_buffer_consume(buffer, (size_t)sent);
            *budget -= (size_t)sent;
        }
    }
    return write_buffer_len(buffer) > 0 ? WRITE_PENDING : WRITE_DRAINED;
}

int write_buffer_flush(struct write_buffer *buffer, int fd, size_t budget, bool more)
{
    struct transport transport = {.fd = fd};
    return write_buffer_send(buffer, &transport, &budget, more);
}

void write_buffer_attach(struct write_buffer *buffer, char *block, size_t capacity)
{
    *buffer = (struct write_buffer){.block = block, .capacity = (uint32_t)capacity};
}

char *write_buffer_detach(struct write_buffer *buffer, size_t *capacity)
{
    if (write_buffer_len(buffer) > 0) {
        return NULL;
    }
    char *block = buffer->block;
    *capacity = buffer->capacity;
    write_buffer_init(buffer);
    return block;
}
