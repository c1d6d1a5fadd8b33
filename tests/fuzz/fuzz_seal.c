/* Sealed texts (core/tls_seal.c), and the base64 and hexadecimal digits below them. The input is a text that comes from a
 * client: it never opens, except one that was sealed here, and that only as it is. Inputs lie flush against a page that
 * must not be touched, and outputs have no byte too much. */

#include "core/base64.h"
#include "core/hex.h"
#include "core/tls_digest.h"
#include "core/tls_seal.h"
#include "tests/lib/fuzz.h"

#include <string.h>

static const struct seal_terms fuzz_terms = {
    .secrets = {{"0123456789abcdef0123456789abcdef", 32}, {"a second secret, which opens too", 32}},
    .count = 2,
    .purpose = "fuzz",
    .purpose_len = 4,
    .max_age_ms = 1000,
};

static char *fuzz_room(size_t len)
{
    char *room = malloc(len > 0 ? len : 1);
    FUZZ_MUST(room != NULL);
    return room;
}

static ssize_t open_text(const char *text, size_t len, char *out)
{
    char err[256];
    return tls_seal_open(&fuzz_terms, text, len, 5000, out, err, sizeof err);
}

/* What decodes is what an encoder makes of the bytes again, except for padding and the case of digits. */
static void check_codecs(const char *text, size_t len)
{
    for (int is_url = 0; is_url <= 1; is_url++) {
        size_t bad = len + 1, bare = len;
        char *bytes = fuzz_room(base64_decoded_room(len));
        ssize_t got = base64_decode_exact(text, len, is_url != 0, bytes, &bad);
        FUZZ_MUST(got >= 0 ? bad == len + 1 : bad <= len);
        while (bare > 0 && text[bare - 1] == '=') {
            bare--;
        }
        if (got >= 0) {
            char *again = fuzz_room(base64_room((size_t)got));
            FUZZ_MUST(base64_encode(bytes, (size_t)got, is_url ? BASE64_URL : BASE64_BARE, again) == bare);
            FUZZ_MUST(memcmp(text, again, bare) == 0);
            free(again);
        }
        free(bytes);
    }
    size_t bad = len + 1;
    char *bytes = fuzz_room(len / 2), *again = fuzz_room(len);
    ssize_t got = hex_decode(text, len, bytes, &bad);
    FUZZ_MUST(got >= 0 ? bad == len + 1 : bad <= len);
    if (got >= 0) {
        FUZZ_MUST((size_t)got * 2 == len);
        hex_encode(bytes, (size_t)got, again);
        for (size_t i = 0; i < len; i++) {
            FUZZ_MUST(again[i] == text[i] || again[i] == (text[i] | 0x20));
        }
    }
    free(bytes);
    free(again);
}

/* Seal the input; then change a character of it, or cut it. */
static void check_seal(struct fuzz_dice *dice, const char *text, size_t len)
{
    char err[256];
    size_t sealed_len = tls_seal_room(len);
    char *sealed = fuzz_room(sealed_len), *out = fuzz_room(sealed_len);
    FUZZ_MUST(tls_seal_text(&fuzz_terms, text, len, 4000, sealed, err, sizeof err) == 0);
    FUZZ_MUST(open_text(sealed, sealed_len, out) == (ssize_t)len && memcmp(out, text, len) == 0);
    size_t at = fuzz_roll(dice, sealed_len);
    sealed[at] = (char)((unsigned char)sealed[at] ^ (unsigned)(1 + fuzz_roll(dice, 255)));
    FUZZ_MUST(open_text(sealed, sealed_len, out) < 0);
    FUZZ_MUST(open_text(sealed, at, out) < 0);
    free(sealed);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char err[256];
    if (len > GUARDED_BYTES || len > SEAL_TEXT_MAX) {
        return 0;
    }
    const char *text = guarded_at_end(fuzz_guarded(), (const char *)data, len);
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    check_codecs(text, len);
    if (tls_digest_load(err, sizeof err) == 0) {
        char *out = fuzz_room(len);
        FUZZ_MUST(open_text(text, len, out) < 0);
        free(out);
        check_seal(&dice, text, len);
        FUZZ_MUST(fake_mem_live() == 0);
    }
    return 0;
}
