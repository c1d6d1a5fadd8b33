/* Happy path: zlib decodes member after member.
 *
 * Failure modes: zlib is not there; input that is not gzip, or damaged, which its checksum shows. An input that ends
 * too early shows by gunzip_is_whole(). */

#include "core/gunzip.h"

#include "core/mem.h"
#include "core/zlib_calls.h"

#include <errno.h>
#include <limits.h>

enum { GZIP_WINDOW = 15 + 16 }; /* inflateInit2(): the largest window, and the gzip format */

struct gunzip {
    const struct zlib_calls *calls;
    struct zlib_stream zlib;
    bool is_whole; /* at the end of a member, or before the first */
};

bool gunzip_is_there(void)
{
    return zlib_load() != NULL;
}

int gunzip_create(struct gunzip **created)
{
    if (!gunzip_is_there()) {
        return -ENOSYS;
    }
    struct gunzip *gunzip = mem_alloc(sizeof *gunzip);
    if (gunzip == NULL) {
        return -ENOMEM;
    }
    gunzip->calls = zlib_load();
    gunzip->is_whole = true;
    zlib_stream_init(&gunzip->zlib);
    int rv = gunzip->calls->inflate_init(&gunzip->zlib, GZIP_WINDOW, ZLIB_INTERFACE, (int)sizeof gunzip->zlib);
    if (rv != ZLIB_OK) {
        mem_free(gunzip);
        return rv == ZLIB_NO_MEMORY ? -ENOMEM : -ENOSYS;
    }
    *created = gunzip;
    return 0;
}

void gunzip_destroy(struct gunzip *gunzip)
{
    if (gunzip != NULL) {
        gunzip->calls->inflate_end(&gunzip->zlib);
        mem_free(gunzip);
    }
}

/* Decode some of the input. Returns 0, or -errno. */
static int gunzip_some(struct gunzip *gunzip, const char **in, size_t *in_len)
{
    struct zlib_stream *zlib = &gunzip->zlib;
    unsigned piece = *in_len < INT_MAX ? (unsigned)*in_len : INT_MAX;

    if (gunzip->is_whole && piece > 0 && zlib->total_in > 0) { /* another member follows */
        gunzip->calls->inflate_reset(zlib);
    }
    zlib->next_in = (const unsigned char *)*in;
    zlib->avail_in = piece;
    int rv = gunzip->calls->inflate(zlib, ZLIB_NO_FLUSH);
    *in += piece - zlib->avail_in;
    *in_len -= piece - zlib->avail_in;
    gunzip->is_whole = rv == ZLIB_AT_END;
    if (rv != ZLIB_OK && rv != ZLIB_AT_END && rv != ZLIB_NO_PROGRESS) {
        return rv == ZLIB_NO_MEMORY ? -ENOMEM : -EPROTO;
    }
    return 0;
}

ssize_t gunzip_run(struct gunzip *gunzip, const char **in, size_t *in_len, char *out, size_t room)
{
    struct zlib_stream *zlib = &gunzip->zlib;
    unsigned space = room < INT_MAX ? (unsigned)room : INT_MAX;
    int rv = 0;

    zlib->next_out = (unsigned char *)out;
    zlib->avail_out = space;
    while (rv == 0 && *in_len > 0 && zlib->avail_out > 0) {
        rv = gunzip_some(gunzip, in, in_len);
    }
    if (rv == 0 && *in_len == 0 && zlib->avail_out > 0 && !gunzip->is_whole) {
        rv = gunzip_some(gunzip, in, in_len); /* zlib may hold what had no room in the last call */
    }
    return rv < 0 ? rv : (ssize_t)(space - zlib->avail_out);
}

bool gunzip_is_whole(const struct gunzip *gunzip)
{
    return gunzip->is_whole;
}
