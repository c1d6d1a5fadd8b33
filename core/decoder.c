/* Happy path: the decoder of a kind does the work; here it is only chosen.
 *
 * Failure modes: those of the kinds. */

#include "core/decoder.h"

#include "core/gunzip.h"
#include "core/mem.h"
#include "core/unbrotli.h"
#include "core/unzstd.h"

#include <errno.h>

struct content_decoder {
    enum decoder_kind kind;
    union {
        struct gunzip *gunzip;
        struct unbrotli *unbrotli;
        struct unzstd *unzstd;
    };
};

bool decoder_is_there(enum decoder_kind kind)
{
    return kind == DECODER_GZIP ? gunzip_is_there() : kind == DECODER_BR ? unbrotli_is_there() : unzstd_is_there();
}

static int create_of_kind(struct content_decoder *decoder)
{
    switch (decoder->kind) {
    case DECODER_BR:
        return unbrotli_create(&decoder->unbrotli);
    case DECODER_ZSTD:
        return unzstd_create(&decoder->unzstd);
    default:
        return gunzip_create(&decoder->gunzip);
    }
}

int decoder_create(struct content_decoder **created, enum decoder_kind kind)
{
    struct content_decoder *decoder = mem_zalloc(sizeof *decoder);
    if (decoder == NULL) {
        return -ENOMEM;
    }
    decoder->kind = kind;
    int rv = create_of_kind(decoder);
    if (rv < 0) {
        mem_free(decoder);
        return rv;
    }
    *created = decoder;
    return 0;
}

void decoder_destroy(struct content_decoder *decoder)
{
    if (decoder == NULL) {
        return;
    }
    switch (decoder->kind) {
    case DECODER_BR:
        unbrotli_destroy(decoder->unbrotli);
        break;
    case DECODER_ZSTD:
        unzstd_destroy(decoder->unzstd);
        break;
    default:
        gunzip_destroy(decoder->gunzip);
        break;
    }
    mem_free(decoder);
}

ssize_t decoder_run(struct content_decoder *decoder, const char **in, size_t *in_len, char *out, size_t room)
{
    switch (decoder->kind) {
    case DECODER_BR:
        return unbrotli_run(decoder->unbrotli, in, in_len, out, room);
    case DECODER_ZSTD:
        return unzstd_run(decoder->unzstd, in, in_len, out, room);
    default:
        return gunzip_run(decoder->gunzip, in, in_len, out, room);
    }
}

bool decoder_is_whole(const struct content_decoder *decoder)
{
    switch (decoder->kind) {
    case DECODER_BR:
        return unbrotli_is_whole(decoder->unbrotli);
    case DECODER_ZSTD:
        return unzstd_is_whole(decoder->unzstd);
    default:
        return gunzip_is_whole(decoder->gunzip);
    }
}
