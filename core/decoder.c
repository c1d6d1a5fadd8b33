/* Happy path: the decoder of a kind does the work; here it is only chosen.
 *
 * Failure modes: those of the kinds. */

#include "core/decoder.h"

#include "core/gunzip.h"
#include "core/mem.h"

#include <errno.h>

struct content_decoder {
    enum decoder_kind kind;
    struct gunzip *gunzip; /* of DECODER_GZIP */
};

bool decoder_is_there(enum decoder_kind kind)
{
    return kind == DECODER_GZIP && gunzip_is_there();
}

int decoder_create(struct content_decoder **created, enum decoder_kind kind)
{
    struct content_decoder *decoder = mem_zalloc(sizeof *decoder);
    if (decoder == NULL) {
        return -ENOMEM;
    }
    decoder->kind = kind;
    int rv = gunzip_create(&decoder->gunzip);
    if (rv < 0) {
        mem_free(decoder);
        return rv;
    }
    *created = decoder;
    return 0;
}

void decoder_destroy(struct content_decoder *decoder)
{
    if (decoder != NULL) {
        gunzip_destroy(decoder->gunzip);
        mem_free(decoder);
    }
}

ssize_t decoder_run(struct content_decoder *decoder, const char **in, size_t *in_len, char *out, size_t room)
{
    return gunzip_run(decoder->gunzip, in, in_len, out, room);
}

bool decoder_is_whole(const struct content_decoder *decoder)
{
    return gunzip_is_whole(decoder->gunzip);
}
