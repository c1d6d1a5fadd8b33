/* Request bodies with a content coding (core/decoder.c). The first byte chooses the coding, the rest is what a client
 * sends. Whole and in random pieces, with much room and with little, it is the same content or the same failure, and
 * the decoder says the same about its end. No memory is left. */

#include "core/decoder.h"
#include "tests/lib/fuzz.h"

#include <string.h>

enum { DECODED_MAX = 1 << 18 }; /* more of the content is not looked at */

static char whole[DECODED_MAX], pieces[DECODED_MAX];

/* Decode a piece of the input behind *got bytes of content. Returns false on a failure, or beyond DECODED_MAX. */
static bool decode_piece(struct content_decoder *decoder, const char *in, size_t len, struct fuzz_dice *dice, char *out,
                         size_t *got)
{
    ssize_t rv = 0;
    size_t room = 0;
    while (len > 0 || (size_t)rv == room) {
        if (*got == DECODED_MAX) {
            return false;
        }
        room = dice == NULL ? DECODED_MAX - *got : fuzz_piece(dice, DECODED_MAX - *got);
        rv = decoder_run(decoder, &in, &len, out + *got, room);
        if (rv < 0) {
            return false;
        }
        FUZZ_MUST((size_t)rv <= room && (len == 0 || (size_t)rv == room));
        *got += (size_t)rv;
    }
    return true;
}

/* Decode all of it, with dice in pieces. Returns the length, or negative if it fails or is too long. */
static ssize_t decode(enum decoder_kind kind, const char *data, size_t len, struct fuzz_dice *dice, char *out,
                      bool *is_whole)
{
    struct content_decoder *decoder;
    size_t got = 0;
    bool is_good = true;
    FUZZ_MUST(decoder_create(&decoder, kind) == 0);
    for (size_t at = 0; is_good && at < len;) {
        size_t piece = dice == NULL ? len : fuzz_piece(dice, len - at);
        is_good = decode_piece(decoder, data + at, piece, dice, out, &got);
        at += piece;
    }
    *is_whole = is_good && decoder_is_whole(decoder);
    decoder_destroy(decoder);
    return is_good ? (ssize_t)got : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    bool is_whole, is_whole_again;
    if (len < 1 || len > 4096) {
        return 0;
    }
    enum decoder_kind kind = (enum decoder_kind)(data[0] % DECODER_KINDS);
    if (!decoder_is_there(kind)) {
        return 0;
    }
    const char *in = guarded_at_end(fuzz_guarded(), (const char *)data + 1, len - 1);
    ssize_t got = decode(kind, in, len - 1, NULL, whole, &is_whole);
    ssize_t again = decode(kind, in, len - 1, &dice, pieces, &is_whole_again);
    FUZZ_MUST(got == again && is_whole == is_whole_again);
    FUZZ_MUST(got < 0 || memcmp(whole, pieces, (size_t)got) == 0);
    FUZZ_MUST(len > 1 || is_whole);
    FUZZ_MUST(fake_mem_live() == 0);
    return 0;
}
