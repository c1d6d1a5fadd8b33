/* Responses of other servers (http/client/fetch_reply.c). The input is what a server sends: taken whole and in random
 * pieces, flush against a page that must not be touched, verdict, head, content and end are the same; it says no more
 * than came; and no memory is left. A response of the fuzzer's own making, around the input as content, comes back as
 * it was. */

#include "http/client/fetch.h"
#include "http/client/fetch_reply.h"
#include "tests/lib/fuzz.h"

#include <string.h>

enum { INPUT_MOST = 16384 };

struct outcome {
    enum fetch_reply_verdict verdict;
    const char *why;
    int status;
    uint32_t field_count;
    bool keeps;
    size_t used;
    size_t head_len; /* bytes of head, which are compared */
    char head[GUARDED_BYTES];
    size_t len;
    char content[GUARDED_BYTES];
};

static struct outcome whole, pieces;

static void note_head(struct outcome *out, const struct fetch_reply *reply)
{
    out->status = reply->head.status;
    out->field_count = reply->head.field_count;
    FUZZ_MUST(out->status >= 200 && out->status <= 999);
    FUZZ_MUST(reply->head.len <= reply->max_head);
    FUZZ_MUST(reply->head.field_count <= FETCH_RESPONSE_FIELDS_MAX);
    out->head_len = 0;
    for (uint32_t i = 0; i < reply->head.field_count; i++) {
        const struct fetch_field *field = &reply->fields[i];
        FUZZ_MUST(field->name_len > 0 && strlen(field->name) == field->name_len);
        FUZZ_MUST(strlen(field->value) == field->value_len);
        memcpy(out->head + out->head_len, field->name, field->name_len + 1);
        out->head_len += field->name_len + 1;
        memcpy(out->head + out->head_len, field->value, field->value_len + 1);
        out->head_len += field->value_len + 1;
    }
}

static bool arrive(struct outcome *out, struct fetch_reply *reply, const char *bytes, size_t len)
{
    const char *data = guarded_at_end(fuzz_guarded(), bytes, len);
    for (;;) {
        size_t used = SIZE_MAX;
        struct slice piece = {UINT32_MAX, UINT32_MAX};
        out->verdict = fetch_reply_take(reply, data, len, &used, &piece);
        FUZZ_MUST(used <= len);
        if (out->verdict == REPLY_CONTENT || out->verdict == REPLY_DONE) {
            FUZZ_MUST(piece.len == 0 || (piece.offset <= used && piece.len <= used - piece.offset));
            FUZZ_MUST(out->verdict == REPLY_DONE || piece.len > 0);
            memcpy(out->content + out->len, data + piece.offset, piece.len);
            out->len += piece.len;
        }
        FUZZ_MUST(out->verdict != REPLY_MORE || used == len);
        data += used;
        len -= used;
        out->used += used;
        if (out->verdict == REPLY_HEAD) {
            note_head(out, reply);
        } else if (out->verdict != REPLY_CONTENT) {
            return out->verdict == REPLY_MORE;
        }
    }
}

static void play(struct outcome *out, const char *bytes, size_t len, size_t max_head, bool is_to_head,
                 struct fuzz_dice *dice)
{
    struct fetch_reply reply;
    bool goes_on = true;

    out->status = 0;
    out->field_count = 0;
    out->used = out->len = out->head_len = 0;
    out->verdict = REPLY_MORE;
    fetch_reply_init(&reply, max_head, is_to_head);
    for (size_t at = 0; goes_on && at < len;) {
        size_t piece = dice == NULL ? len : fuzz_piece(dice, len - at);
        goes_on = arrive(out, &reply, bytes + at, piece);
        at += piece;
    }
    if (goes_on) {
        out->verdict = fetch_reply_end(&reply);
        FUZZ_MUST(out->verdict == REPLY_DONE || out->verdict == REPLY_CUT);
        FUZZ_MUST(!fetch_reply_keeps(&reply));
    }
    out->keeps = fetch_reply_keeps(&reply);
    out->why = reply.why;
    FUZZ_MUST((out->verdict == REPLY_DONE) == (out->why == NULL));
    FUZZ_MUST(out->verdict != REPLY_NO_MEMORY);
    fetch_reply_done(&reply);
    FUZZ_MUST(fake_mem_live() == 0);
}

static void check(const char *bytes, size_t len, size_t max_head, bool is_to_head, struct fuzz_dice *dice)
{
    play(&whole, bytes, len, max_head, is_to_head, NULL);
    play(&pieces, bytes, len, max_head, is_to_head, dice);
    FUZZ_MUST(whole.verdict == pieces.verdict && whole.why == pieces.why);
    FUZZ_MUST(whole.status == pieces.status && whole.field_count == pieces.field_count);
    FUZZ_MUST(whole.len == pieces.len && memcmp(whole.content, pieces.content, whole.len) == 0);
    FUZZ_MUST(whole.head_len == pieces.head_len && memcmp(whole.head, pieces.head, whole.head_len) == 0);
    FUZZ_MUST(!is_to_head || whole.len == 0);
    if (whole.verdict == REPLY_DONE) {
        FUZZ_MUST(whole.used == pieces.used);
        FUZZ_MUST(whole.used < len || whole.keeps == pieces.keeps); /* bytes behind it may come later */
    }
}

/* The input is content: by length, in chunks, or to the end. */
static void check_content(const char *content, size_t len, struct fuzz_dice *dice)
{
    static char bytes[GUARDED_BYTES];
    size_t way = fuzz_roll(dice, 3);
    size_t size = (size_t)snprintf(bytes, 64, "HTTP/1.1 200 OK\r\nA: b\r\n");

    if (len > 2048) {
        return;
    }
    if (way == 0) {
        size += (size_t)snprintf(bytes + size, 64, "Content-Length: %zu\r\n", len);
    } else if (way == 1) {
        size += (size_t)snprintf(bytes + size, 64, "Transfer-Encoding: chunked\r\n");
    }
    size += (size_t)snprintf(bytes + size, 64, "\r\n");
    for (size_t at = 0; at < len;) {
        size_t piece = way == 1 ? fuzz_piece(dice, len - at) : len;
        size += way == 1 ? (size_t)snprintf(bytes + size, 64, "%zx\r\n", piece) : 0;
        memcpy(bytes + size, content + at, piece);
        size += piece;
        size += way == 1 ? (size_t)snprintf(bytes + size, 64, "\r\n") : 0;
        at += piece;
    }
    size += way == 1 ? (size_t)snprintf(bytes + size, 64, "0\r\n\r\n") : 0;
    play(&pieces, bytes, size, FETCH_RESPONSE_HEAD_MAX, false, dice);
    FUZZ_MUST(pieces.verdict == REPLY_DONE && pieces.used == size && pieces.status == 200);
    FUZZ_MUST(pieces.keeps == (way != 2));
    FUZZ_MUST(pieces.len == len && memcmp(pieces.content, content, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    const char *bytes = (const char *)data;

    if (len > INPUT_MOST) {
        return 0;
    }
    check(bytes, len, FETCH_RESPONSE_HEAD_MAX, false, &dice);
    check(bytes, len, 100, false, &dice);
    check(bytes, len, FETCH_RESPONSE_HEAD_MAX, true, &dice);
    check_content(bytes, len, &dice);
    return 0;
}
