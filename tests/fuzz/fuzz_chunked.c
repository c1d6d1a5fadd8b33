/* Chunked bodies (http/h1/chunked.c). The input is such a body and what follows it: taken whole and in random pieces,
 * flush against a page that must not be touched, content, end and verdict are the same. Then the input is content: put
 * in chunks of random sizes it comes back as it was, and the body ends where it ends. */

#include "http/h1/chunked.h"
#include "http/limits.h"
#include "tests/lib/fuzz.h"

#include <string.h>

/* Everything that must not depend on how the bytes arrived. */
struct outcome {
    enum parse_verdict verdict;
    struct chunk_parser parser;
    size_t used;                 /* bytes taken */
    size_t len;                  /* of content */
    char content[GUARDED_BYTES]; /* what the pieces made up */
};

static struct outcome whole, pieces;

static void begin(struct outcome *out)
{
    memset(&out->parser, 0xa5, sizeof out->parser);
    out->used = out->len = 0;
    out->verdict = PARSE_INCOMPLETE;
    chunk_parser_reset(&out->parser);
}

static void arrive(struct outcome *out, const struct limits *limits, const char *text, size_t len)
{
    const char *data = guarded_at_end(fuzz_guarded(), text, len);
    while (out->verdict == PARSE_INCOMPLETE && len > 0) {
        size_t used = SIZE_MAX;
        struct slice piece = {UINT32_MAX, UINT32_MAX};
        out->verdict = parse_chunked(&out->parser, limits, data, len, &used, &piece);
        if (out->verdict == PARSE_ERROR) {
            FUZZ_MUST(out->parser.status == 400 || out->parser.status == 431);
            FUZZ_MUST(out->parser.reason != NULL);
            return;
        }
        FUZZ_MUST(used > 0 && used <= len);
        FUZZ_MUST(piece.len == 0 || (piece.offset <= used && piece.len <= used - piece.offset));
        memcpy(out->content + out->len, data + (piece.len == 0 ? 0 : piece.offset), piece.len);
        out->len += piece.len;
        out->used += used;
        data += used;
        len -= used;
    }
}

static void arrive_in_pieces(const struct limits *limits, const char *text, size_t len, struct fuzz_dice *dice)
{
    begin(&pieces);
    for (size_t at = 0; at < len && pieces.verdict == PARSE_INCOMPLETE;) {
        size_t piece = fuzz_piece(dice, len - at);
        arrive(&pieces, limits, text + at, piece);
        at += piece;
    }
}

static void check_body(const struct limits *limits, const char *text, size_t len, struct fuzz_dice *dice)
{
    begin(&whole);
    arrive(&whole, limits, text, len);
    arrive_in_pieces(limits, text, len, dice);
    FUZZ_MUST(whole.verdict == pieces.verdict && whole.len == pieces.len);
    FUZZ_MUST(memcmp(whole.content, pieces.content, whole.len) == 0);
    if (whole.verdict == PARSE_ERROR) {
        FUZZ_MUST(whole.parser.status == pieces.parser.status);
        FUZZ_MUST(strcmp(whole.parser.reason, pieces.parser.reason) == 0);
    } else {
        FUZZ_MUST(whole.used == pieces.used);
    }
}

static void check_content(const struct limits *limits, const char *content, size_t len, struct fuzz_dice *dice)
{
    static char body[GUARDED_BYTES];
    size_t size = 0;
    for (size_t at = 0; at < len;) {
        size_t chunk = fuzz_piece(dice, len - at);
        const char *extension = fuzz_roll(dice, 4) == 0 ? ";a=\"b;c\"" : "";
        size += (size_t)snprintf(body + size, 64, "%zx%s\r\n", chunk, extension);
        memcpy(body + size, content + at, chunk);
        memcpy(body + size + chunk, "\r\n", 2);
        size += chunk + 2;
        at += chunk;
    }
    size += (size_t)snprintf(body + size, 64, "0\r\n%s\r\n", fuzz_roll(dice, 2) == 0 ? "" : "Trailer: x\r\n");
    memcpy(body + size, "next", 4);
    arrive_in_pieces(limits, body, size + 4, dice);
    FUZZ_MUST(pieces.verdict == PARSE_COMPLETE && pieces.used == size);
    FUZZ_MUST(pieces.len == len && memcmp(pieces.content, content, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct limits limits;
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    if (len > 2048) { /* as chunks of one byte it must still fit behind the page */
        return 0;
    }
    limits_init(&limits);
    check_body(&limits, (const char *)data, len, &dice);
    check_content(&limits, (const char *)data, len, &dice);
    limits.max_header_bytes_bytes = 128;
    limits.max_fields = 4;
    check_body(&limits, (const char *)data, len, &dice);
    return 0;
}
