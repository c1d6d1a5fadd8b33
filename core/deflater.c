/* Happy path: one call of zlib compresses one message.
 *
 * Failure modes: zlib is not there; no memory, only while a deflater is made; no room for the output. */

#include "core/deflater.h"

#include "core/mem.h"
#include "core/zlib_calls.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>

/* Of zlib's levels 1 to 9: where the text still gets clearly shorter with little more time. */
enum { DEFLATE_LEVEL = 3 };

/* The hash table of a window has as many places as the window bytes: what zlib calls the memory level. */
enum { BITS_ABOVE_MEM_LEVEL = 7 };

struct deflater {
    const struct zlib_calls *calls;
    struct zlib_stream zlib;
};

size_t deflater_memory(unsigned window_bits)
{
    enum { ITSELF = 7 * 1024 }; /* what zlib keeps besides its tables, and struct deflater */
    /* Two bytes a place: window (twice its size in bytes), its chains, the hash table; four a symbol of a block. */
    return ((size_t)4 << window_bits) + ((size_t)1 << (window_bits - BITS_ABOVE_MEM_LEVEL + 9)) + ITSELF;
}

int deflater_create(struct deflater **created, unsigned window_bits)
{
    const struct zlib_calls *calls = zlib_load();
    if (calls == NULL) {
        return -ENOSYS;
    }
    struct deflater *deflater = mem_alloc(sizeof *deflater);
    if (deflater == NULL) {
        return -ENOMEM;
    }
    deflater->calls = calls;
    zlib_stream_init(&deflater->zlib);
    int rv = calls->deflate_init(&deflater->zlib, DEFLATE_LEVEL, ZLIB_DEFLATED, -(int)window_bits, /* raw */
                                 (int)window_bits - BITS_ABOVE_MEM_LEVEL, ZLIB_DEFAULT_STRATEGY, ZLIB_INTERFACE,
                                 (int)sizeof deflater->zlib);
    if (rv != ZLIB_OK) {
        mem_free(deflater);
        return rv == ZLIB_NO_MEMORY ? -ENOMEM : -ENOSYS;
    }
    *created = deflater;
    return 0;
}

void deflater_destroy(struct deflater *deflater)
{
    if (deflater != NULL) {
        deflater->calls->deflate_end(&deflater->zlib);
        mem_free(deflater);
    }
}

void deflater_reset(struct deflater *deflater)
{
    deflater->calls->deflate_reset(&deflater->zlib);
}

ssize_t deflater_run(struct deflater *deflater, const void *data, size_t len, char *out, size_t room)
{
    struct zlib_stream *zlib = &deflater->zlib;
    if (len > INT_MAX) {
        return -ENOBUFS;
    }
    unsigned space = room < INT_MAX ? (unsigned)room : INT_MAX;
    zlib->next_in = data;
    zlib->avail_in = (unsigned)len;
    zlib->next_out = (unsigned char *)out;
    zlib->avail_out = space;
    int rv = deflater->calls->deflate(zlib, ZLIB_SYNC_FLUSH);
    bool is_whole = rv == ZLIB_OK && zlib->avail_in == 0 && zlib->avail_out > 0; /* no room left: more may be pending */
    return is_whole ? (ssize_t)(space - zlib->avail_out) : -ENOBUFS;
}
