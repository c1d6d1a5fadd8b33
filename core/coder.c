/* Happy path: one call of the library for each piece.
 *
 * Failure modes: a library is not there; no memory. Windows are of 256 KiB at most (32 KiB for gzip), so that neither
 * our memory nor that of clients depends on the length of the content. */

#include "core/coder.h"

#include "core/coder_calls.h"
#include "core/mem.h"
#include "core/zlib_calls.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stddef.h>

enum {
    GZIP_WINDOW_BITS = 15 + 16, /* the largest window, in the format of gzip */
    GZIP_MEM_LEVEL = 8,         /* zlib's default */
    CODER_WINDOW_BITS = 18,     /* of the others */
    ZLIB_FINISH = 4,
};

/* In front of each block of brotli's. */
struct coder_block {
    alignas(max_align_t) struct coder_block *next;
    struct coder_block **link; /* what points here */
};

struct coder {
    enum coder_kind kind;
    unsigned level;
    struct zlib_stream zlib;    /* of CODER_GZIP */
    void *state;                /* of the others */
    jmp_buf no_memory;          /* of CODER_BROTLI: where its allocations end that fail */
    struct coder_block *blocks; /* and those that did not */
    bool is_over;               /* zstd would begin another frame */
};

bool coder_is_there(enum coder_kind kind)
{
    switch (kind) {
    case CODER_GZIP:
        return zlib_load() != NULL;
    case CODER_BROTLI:
        return coder_load_brotli() != NULL;
    default:
        return coder_load_zstd() != NULL;
    }
}

const char *coder_package(enum coder_kind kind)
{
    return kind == CODER_GZIP ? "zlib1g" : kind == CODER_BROTLI ? "libbrotli1" : "libzstd1";
}

/* Brotli, as most systems build it, ends the process when it gets no memory. So it never learns of that: the call that
 * we have made of it is left by a jump, and all that it had is freed. */
static void *brotli_alloc(void *arg, size_t size)
{
    struct coder *coder = arg;
    struct coder_block *block = mem_alloc(sizeof *block + size);
    if (block == NULL) {
        longjmp(coder->no_memory, 1);
    }
    *block = (struct coder_block){.next = coder->blocks, .link = &coder->blocks};
    if (block->next != NULL) {
        block->next->link = &block->next;
    }
    coder->blocks = block;
    return block + 1;
}

static void brotli_free(void *arg, void *data)
{
    (void)arg;
    if (data == NULL) {
        return;
    }
    struct coder_block *block = (struct coder_block *)data - 1;
    *block->link = block->next;
    if (block->next != NULL) {
        block->next->link = block->link;
    }
    mem_free(block);
}

static void drop_brotli(struct coder *coder)
{
    while (coder->blocks != NULL) {
        brotli_free(coder, coder->blocks + 1);
    }
    coder->state = NULL;
}

/* Brotli has no way to begin anew: another state takes the place of the one before. */
static int start_brotli(struct coder *coder)
{
    const struct brotli_calls *calls = coder_load_brotli();
    drop_brotli(coder);
    if (setjmp(coder->no_memory) != 0) {
        drop_brotli(coder);
        return -ENOMEM;
    }
    coder->state = calls->create(brotli_alloc, brotli_free, coder);
    calls->set(coder->state, BROTLI_QUALITY, coder->level);
    calls->set(coder->state, BROTLI_WINDOW_BITS, CODER_WINDOW_BITS);
    return 0;
}

static int start_zstd(struct coder *coder)
{
    const struct zstd_calls *calls = coder_load_zstd();
    coder->state = calls->create();
    if (coder->state == NULL) {
        return -ENOMEM;
    }
    calls->set(coder->state, ZSTD_LEVEL, (int)coder->level);
    calls->set(coder->state, ZSTD_WINDOW_BITS, CODER_WINDOW_BITS);
    return 0;
}

static int start_gzip(struct coder *coder)
{
    zlib_stream_init(&coder->zlib);
    int rv = zlib_load()->deflate_init(&coder->zlib, (int)coder->level, ZLIB_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEM_LEVEL,
                                       ZLIB_DEFAULT_STRATEGY, ZLIB_INTERFACE, (int)sizeof coder->zlib);
    return rv == ZLIB_OK ? 0 : rv == ZLIB_NO_MEMORY ? -ENOMEM : -ENOSYS;
}

int coder_create(struct coder **created, enum coder_kind kind, unsigned level)
{
    if (!coder_is_there(kind)) {
        return -ENOSYS;
    }
    struct coder *coder = mem_zalloc(sizeof *coder);
    if (coder == NULL) {
        return -ENOMEM;
    }
    coder->kind = kind;
    coder->level = level;
    int rv = kind == CODER_GZIP ? start_gzip(coder) : kind == CODER_BROTLI ? start_brotli(coder) : start_zstd(coder);
    if (rv < 0) {
        mem_free(coder);
        return rv;
    }
    *created = coder;
    return 0;
}

void coder_destroy(struct coder *coder)
{
    if (coder == NULL) {
        return;
    }
    if (coder->kind == CODER_GZIP) {
        zlib_load()->deflate_end(&coder->zlib);
    } else if (coder->kind == CODER_ZSTD) {
        coder_load_zstd()->destroy(coder->state);
    } else {
        drop_brotli(coder);
    }
    mem_free(coder);
}

int coder_reset(struct coder *coder)
{
    if (coder->kind == CODER_BROTLI) {
        return start_brotli(coder);
    }
    if (coder->kind == CODER_ZSTD) {
        coder_load_zstd()->reset(coder->state, ZSTD_SESSION);
        coder->is_over = false;
    } else {
        zlib_load()->deflate_reset(&coder->zlib);
    }
    return 0;
}

static ssize_t run_gzip(struct coder *coder, enum coder_step step, const char **in, size_t *in_len, char *out,
                        size_t room)
{
    static const int flushes[] = {
        [CODER_GO_ON] = ZLIB_NO_FLUSH, [CODER_FLUSH] = ZLIB_SYNC_FLUSH, [CODER_END] = ZLIB_FINISH};
    struct zlib_stream *zlib = &coder->zlib;
    zlib->next_out = (unsigned char *)out;
    zlib->avail_out = room < INT_MAX ? (unsigned)room : INT_MAX;
    const unsigned space = zlib->avail_out;
    do {
        unsigned len = *in_len < INT_MAX ? (unsigned)*in_len : INT_MAX;
        zlib->next_in = (const unsigned char *)*in;
        zlib->avail_in = len;
        int rv = zlib_load()->deflate(zlib, len == *in_len ? flushes[step] : ZLIB_NO_FLUSH);
        *in += len - zlib->avail_in;
        *in_len -= len - zlib->avail_in;
        if (rv != ZLIB_OK && rv != ZLIB_AT_END && rv != ZLIB_NO_PROGRESS) {
            return -ENOMEM;
        }
    } while (*in_len > 0 && zlib->avail_out > 0);
    return (ssize_t)(space - zlib->avail_out);
}

static ssize_t run_brotli(struct coder *coder, enum coder_step step, const char **in, size_t *in_len, char *out,
                          size_t room)
{
    static const int operations[] = {
        [CODER_GO_ON] = BROTLI_PROCESS, [CODER_FLUSH] = BROTLI_FLUSH, [CODER_END] = BROTLI_FINISH};
    const struct brotli_calls *calls = coder_load_brotli();
    const uint8_t *next = (const uint8_t *)*in;
    uint8_t *at = (uint8_t *)out;
    size_t left = room;
    if (setjmp(coder->no_memory) != 0) {
        drop_brotli(coder);
        return -ENOMEM;
    }
    do {
        if (calls->run(coder->state, operations[step], in_len, &next, &left, &at, NULL) == 0) {
            return -ENOMEM;
        }
    } while (left > 0 && (*in_len > 0 || calls->has_more(coder->state) != 0));
    *in = (const char *)next;
    return (ssize_t)(room - left);
}

static ssize_t run_zstd(struct coder *coder, enum coder_step step, const char **in, size_t *in_len, char *out,
                        size_t room)
{
    static const int directives[] = {[CODER_GO_ON] = ZSTD_ON, [CODER_FLUSH] = ZSTD_FLUSH, [CODER_END] = ZSTD_END};
    const struct zstd_calls *calls = coder_load_zstd();
    struct zstd_in from = {.data = *in, .len = *in_len};
    struct zstd_out to = {.data = out, .room = room};
    size_t left = 0;
    if (coder->is_over) {
        return 0;
    }
    do {
        left = calls->run(coder->state, &to, &from, directives[step]);
        if (calls->is_error(left) != 0) {
            return -ENOMEM;
        }
    } while (to.at < to.room && (from.at < from.len || (step != CODER_GO_ON && left > 0)));
    coder->is_over = step == CODER_END && left == 0;
    *in += from.at;
    *in_len -= from.at;
    return (ssize_t)to.at;
}

ssize_t coder_run(struct coder *coder, enum coder_step step, const char **in, size_t *in_len, char *out, size_t room)
{
    return coder->kind == CODER_GZIP     ? run_gzip(coder, step, in, in_len, out, room)
           : coder->kind == CODER_BROTLI ? run_brotli(coder, step, in, in_len, out, room)
                                         : run_zstd(coder, step, in, in_len, out, room);
}
