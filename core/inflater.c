/* Happy path: zlib decodes block after block.
 *
 * Failure modes: zlib is not there; input that is not DEFLATE; no memory for the window, which zlib allocates with the
 * first content. */

#include "core/inflater.h"

#include "core/mem.h"
#include "core/zlib_calls.h"

#include <errno.h>
#include <limits.h>

struct inflater {
    const struct zlib_calls *calls;
    struct zlib_stream zlib;
    bool is_at_end; /* behind a final block: another stream begins with the next byte, and its window stays */
    bool is_whole;  /* behind a block, on a byte */
};

size_t inflater_memory(unsigned window_bits)
{
    enum { ITSELF = 10 * 1024 }; /* what zlib keeps besides the window, and struct inflater */
    return ((size_t)1 << window_bits) + ITSELF;
}

int inflater_create(struct inflater **created, unsigned window_bits)
{
    const struct zlib_calls *calls = zlib_load();
    if (calls == NULL) {
        return -ENOSYS;
    }
    struct inflater *inflater = mem_alloc(sizeof *inflater);
    if (inflater == NULL) {
        return -ENOMEM;
    }
    inflater->calls = calls;
    inflater->is_at_end = inflater->is_whole = false;
    zlib_stream_init(&inflater->zlib);
    int rv = calls->inflate_init(&inflater->zlib, -(int)window_bits, ZLIB_INTERFACE, (int)sizeof inflater->zlib);
    if (rv != ZLIB_OK) {
        mem_free(inflater);
        return rv == ZLIB_NO_MEMORY ? -ENOMEM : -ENOSYS;
    }
    *created = inflater;
    return 0;
}

void inflater_destroy(struct inflater *inflater)
{
    if (inflater != NULL) {
        inflater->calls->inflate_end(&inflater->zlib);
        mem_free(inflater);
    }
}

void inflater_reset(struct inflater *inflater)
{
    inflater->calls->inflate_reset(&inflater->zlib);
    inflater->is_at_end = inflater->is_whole = false;
}

/* Whether zlib has stopped behind a block, on a byte: zlib.h, at inflate(). */
static bool is_behind_block(const struct zlib_stream *zlib)
{
    enum { UNUSED_BITS = 63, BEHIND_A_BLOCK = 128 };
    return (zlib->data_type & UNUSED_BITS) == 0 && (zlib->data_type & BEHIND_A_BLOCK) != 0;
}

/* Decode some of the input. Returns 0, or -errno. */
static int inflate_some(struct inflater *inflater, const char **in, size_t *in_len)
{
    struct zlib_stream *zlib = &inflater->zlib;
    unsigned piece = *in_len < INT_MAX ? (unsigned)*in_len : INT_MAX;

    if (inflater->is_at_end && piece > 0) {
        inflater->calls->inflate_reset_keep(zlib);
        inflater->is_at_end = false;
    }
    zlib->next_in = (const unsigned char *)*in;
    zlib->avail_in = piece;
    unsigned room = zlib->avail_out;
    int rv = inflater->calls->inflate(zlib, ZLIB_SYNC_FLUSH);
    unsigned taken = piece - zlib->avail_in;
    *in += taken;
    *in_len -= taken;
    if (taken > 0 || zlib->avail_out < room) { /* a call without progress takes what zlib says of its place back */
        inflater->is_whole = rv == ZLIB_AT_END || is_behind_block(zlib);
    }
    inflater->is_at_end = rv == ZLIB_AT_END;
    if (rv != ZLIB_OK && rv != ZLIB_AT_END && rv != ZLIB_NO_PROGRESS) {
        return rv == ZLIB_NO_MEMORY ? -ENOMEM : -EPROTO;
    }
    return 0;
}

ssize_t inflater_run(struct inflater *inflater, const char **in, size_t *in_len, char *out, size_t room)
{
    struct zlib_stream *zlib = &inflater->zlib;
    unsigned space = room < INT_MAX ? (unsigned)room : INT_MAX;
    int rv = 0;

    zlib->next_out = (unsigned char *)out;
    zlib->avail_out = space;
    while (rv == 0 && *in_len > 0 && zlib->avail_out > 0) {
        rv = inflate_some(inflater, in, in_len);
    }
    if (rv == 0 && *in_len == 0 && zlib->avail_out > 0 && !inflater->is_at_end) {
        rv = inflate_some(inflater, in, in_len); /* zlib may hold what had no room in the last call */
    }
    return rv < 0 ? rv : (ssize_t)(space - zlib->avail_out);
}

bool inflater_is_whole(const struct inflater *inflater)
{
    return inflater->is_whole;
}
