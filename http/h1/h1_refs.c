/* Happy path: h1_refs_add() makes a piece the range in exchange.source, or puts it in the ring behind it; whenever a
 * piece is sent, next_ref() brings the bytes and the piece that follow.
 *
 * Failure modes: without memory nothing is borrowed, and the caller copies. The bytes that move to h1->out when a piece
 * is sent may find no memory there: the connection is cut. Whatever happens, a piece is released exactly once: when it
 * is sent, or with the queue, which goes with the response. */

#include "http/h1/h1_refs.h"

#include "core/mem.h"
#include "http/h1/h1.h"

#include <errno.h>
#include <stdint.h>

struct ref {
    struct borrowed piece;
    size_t before; /* bytes of the tail that go before it, behind the piece before */
};

struct refs {
    struct write_buffer tail;  /* all bytes behind the piece that is being sent */
    size_t after;              /* bytes of them behind the last piece */
    size_t borrowed_bytes;     /* of the pieces in the ring */
    unsigned first;            /* of the ring */
    unsigned count;            /* pieces in the ring */
    struct ref ring[REFS_MAX]; /* in the order of sending */
};

static void release_piece(const struct borrowed *piece)
{
    if (piece->release != NULL) {
        piece->release(piece->arg);
    }
}

static void release_refs(void *arg)
{
    struct refs *refs = arg;
    for (; refs->count > 0; refs->count--) {
        release_piece(&refs->ring[refs->first].piece);
        refs->first = (refs->first + 1) % REFS_MAX;
    }
    write_buffer_done(&refs->tail);
    mem_free(refs);
}

/* The piece in exchange.source is sent. */
static int next_ref(struct exchange *exchange, void *arg)
{
    struct h1 *h1 = h1_of(exchange);
    struct refs *refs = arg;
    struct ref *ref = refs->count == 0 ? NULL : &refs->ring[refs->first];
    size_t len = ref == NULL ? refs->after : ref->before;
    int rv = len == 0 ? 0 : write_buffer_append(&h1->out, write_buffer_data(&refs->tail), len, SIZE_MAX);
    if (rv < 0) {
        return rv;
    }
    write_buffer_consume(&refs->tail, len);
    if (ref == NULL) {
        refs->after = 0;
        write_buffer_done(&refs->tail);
        return 0;
    }
    h1->exchange.source.kind = SOURCE_BORROWED;
    h1->exchange.source.borrowed = ref->piece;
    refs->borrowed_bytes -= ref->piece.len;
    refs->first = (refs->first + 1) % REFS_MAX;
    refs->count--;
    return 0;
}

/* The queue of the stream, or NULL while it has borrowed nothing. */
static struct refs *refs_of(const struct h1 *h1)
{
    const struct continuation *then = &h1->exchange.source.then;
    return then->next == next_ref ? then->arg : NULL;
}

int h1_refs_prepare(struct h1 *h1)
{
    struct refs *refs = refs_of(h1);
    if (refs == NULL) {
        refs = mem_zalloc(sizeof *refs);
        if (refs == NULL) {
            return -ENOMEM;
        }
        h1->exchange.source.then = (struct continuation){.next = next_ref, .release = release_refs, .arg = refs};
    }
    if (refs->count == REFS_MAX) {
        return -ENOBUFS;
    }
    int error = 0;
    return write_buffer_reserve(&refs->tail, REFS_TAIL_ROOM, SIZE_MAX, &error) == NULL ? error : 0;
}

void h1_refs_add(struct h1 *h1, const struct borrowed *piece)
{
    struct refs *refs = refs_of(h1);
    if (h1->exchange.source.kind == SOURCE_NONE) {
        h1->exchange.source.kind = SOURCE_BORROWED;
        h1->exchange.source.borrowed = *piece;
        return;
    }
    refs->ring[(refs->first + refs->count) % REFS_MAX] = (struct ref){.piece = *piece, .before = refs->after};
    refs->count++;
    refs->borrowed_bytes += piece->len;
    refs->after = 0;
}

struct write_buffer *h1_refs_end(struct h1 *h1)
{
    return h1->exchange.source.kind == SOURCE_NONE ? &h1->out : &refs_of(h1)->tail;
}

void h1_refs_commit(struct h1 *h1, size_t len)
{
    write_buffer_commit(h1_refs_end(h1), len);
    if (h1->exchange.source.kind != SOURCE_NONE) {
        refs_of(h1)->after += len;
    }
}

size_t h1_refs_queued(const struct h1 *h1)
{
    const struct refs *refs = refs_of(h1);
    size_t queued = write_buffer_len(&h1->out);
    if (refs == NULL) {
        return queued;
    }
    const struct source *body = &h1->exchange.source;
    queued += body->kind == SOURCE_BORROWED ? body->borrowed.len : 0;
    return queued + write_buffer_len(&refs->tail) + refs->borrowed_bytes;
}

size_t h1_refs_gather(const struct h1 *h1, struct iovec *parts, size_t max, size_t max_bytes)
{
    struct refs *refs = refs_of(h1);
    size_t count = 0, total = 0, offset = 0;
    if (refs == NULL) {
        return 0;
    }
    for (unsigned i = 0; i <= refs->count && count + 2 <= max; i++) {
        const struct ref *ref = i == refs->count ? NULL : &refs->ring[(refs->first + i) % REFS_MAX];
        size_t before = ref == NULL ? refs->after : ref->before;
        size_t len = ref == NULL ? 0 : ref->piece.len;
        if (before + len > max_bytes - total) {
            break;
        }
        if (before > 0) {
            parts[count++] = (struct iovec){.iov_base = refs->tail.block + refs->tail.start + offset,
                                            .iov_len = before};
        }
        if (len > 0) {
            parts[count++] = (struct iovec){.iov_base = (char *)(uintptr_t)ref->piece.data, .iov_len = len};
        }
        offset += before;
        total += before + len;
    }
    return count;
}
