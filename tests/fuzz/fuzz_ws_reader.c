/* Frames of a WebSocket client (http/ws/ws_reader.c). The first byte of the input chooses limits and whether messages
 * may be compressed, the others are what the client sends. In random pieces, flush against a page that must not be
 * touched, the reader finds what a plain reading of all bytes finds: an implementation of RFC 6455 that knows no
 * pieces. Any bytes, framed as a message in random fragments, come back as they were. */

#include "http/ws/ws_mask.h"
#include "http/ws/ws_reader.h"
#include "tests/lib/fuzz.h"

#include <errno.h>

enum { TOLD_MAX = 1 << 20, FUZZ_MESSAGE_MAX = 1 << 16 };

/* What was found, as bytes. */
struct found {
    size_t len;
    uint8_t bytes[TOLD_MAX];
};

static struct found by_reader, by_model;

static void tell(struct found *found, char what, unsigned number, const void *bytes, size_t len)
{
    uint8_t head[4] = {(uint8_t)what, (uint8_t)(number >> 8), (uint8_t)number, ':'};
    FUZZ_MUST(found->len + sizeof head + len + 1 <= TOLD_MAX);
    memcpy(found->bytes + found->len, head, sizeof head);
    memcpy(found->bytes + found->len + sizeof head, bytes, len);
    found->len += sizeof head + len;
    found->bytes[found->len++] = '\n';
}

static void tell_failure(struct found *found, unsigned code, const char *why)
{
    tell(found, 'F', code, why, strlen(why));
}

/* A compression that nobody uses: a byte stands for itself, as often as its lowest three bits say. 0xee is none. The
 * end of a message is a "!". It knows of room, and of content that had none. */
struct toy {
    uint8_t byte;
    unsigned pending; /* times that it is still to be put */
};

static ssize_t toy_inflate(void *arg, const char **in, size_t *in_len, bool ends, char *out, size_t room)
{
    struct toy *toy = arg;
    size_t got = 0;
    FUZZ_MUST(room > 0);
    for (;;) {
        for (; toy->pending > 0 && got < room; toy->pending--) {
            out[got++] = (char)toy->byte;
        }
        if (got == room) {
            return (ssize_t)got;
        }
        if (*in_len == 0) {
            return (ssize_t)got;
        }
        if (ends) {
            FUZZ_MUST(*in_len == 4 && memcmp(*in, "\0\0\xff\xff", 4) == 0);
            toy->byte = '!';
            toy->pending = 1;
            *in += *in_len;
            *in_len = 0;
            continue;
        }
        toy->byte = (uint8_t) * *in;
        if (toy->byte == 0xee) {
            return got > 0 ? (ssize_t)got : -EPROTO; /* in the next call then */
        }
        toy->pending = toy->byte & 7;
        ++*in;
        --*in_len;
    }
}

/* Whether some text begins with these bytes: the last character may lack bytes. whole: it must not. */
static bool begins_text(const uint8_t *bytes, size_t len, bool whole)
{
    for (size_t at = 0; at < len;) {
        unsigned first = bytes[at];
        size_t want = first < 0x80 ? 1 : first >= 0xc0 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : 4;
        if (first >= 0x80 && (first < 0xc0 || first > 0xf7)) {
            return false;
        }
        uint32_t least = want == 1 ? first : want == 2 ? first & 0x1f : want == 3 ? first & 0x0f : first & 0x07;
        uint32_t most = least;
        for (size_t i = 1; i < want; i++) {
            bool is_there = at + i < len;
            if (is_there && (bytes[at + i] & 0xc0) != 0x80) {
                return false;
            }
            least = least << 6 | (is_there ? bytes[at + i] & 0x3fU : 0);
            most = most << 6 | (is_there ? bytes[at + i] & 0x3fU : 0x3f);
        }
        uint32_t bottom = want == 1 ? 0 : want == 2 ? 0x80 : want == 3 ? 0x800 : 0x10000;
        least = least < bottom ? bottom : least;
        most = most > 0x10ffff ? 0x10ffff : most;
        if (least >= 0xd800 && least <= 0xdfff) {
            least = 0xe000;
        }
        if (least > most || (whole && at + want > len)) {
            return false;
        }
        at += want;
    }
    return true;
}

/* The plain reading. */
struct model {
    const uint8_t *at;
    size_t left;
    const struct ws_rules *rules;
    size_t max;
    unsigned kind; /* 0: no message has begun */
    bool is_deflated;
    unsigned empty;
    uint64_t packed;
    size_t len;
    uint8_t message[FUZZ_MESSAGE_MAX];
};

/* A byte of the message. Returns false after a failure. */
static bool model_byte(struct model *model, uint8_t byte)
{
    FUZZ_MUST(model->len < FUZZ_MESSAGE_MAX);
    model->message[model->len++] = byte;
    /* Only the last character can have become wrong. */
    size_t back = model->len < 4 ? model->len : 4;
    while (back > 1 && (model->message[model->len - back] & 0xc0) == 0x80) {
        back--;
    }
    if (model->kind == WS_TEXT && !begins_text(model->message + model->len - back, back, false)) {
        tell_failure(&by_model, 1007, "text is not UTF-8");
        return false;
    }
    if (model->len > model->max) {
        tell_failure(&by_model, 1009, "message is longer than max_message");
        return false;
    }
    return true;
}

static bool model_content(struct model *model, const uint8_t *payload, size_t len, bool ends)
{
    for (size_t i = 0; i < len; i++) {
        if (model->is_deflated && payload[i] == 0xee) {
            tell_failure(&by_model, 1007, "compressed message cannot be inflated");
            return false;
        }
        for (unsigned n = model->is_deflated ? payload[i] & 7 : 1; n > 0; n--) {
            if (!model_byte(model, payload[i])) {
                return false;
            }
        }
    }
    if (!ends) {
        return true;
    }
    if (model->is_deflated && !model_byte(model, '!')) {
        return false;
    }
    if (model->kind == WS_TEXT && !begins_text(model->message, model->len, true)) {
        tell_failure(&by_model, 1007, "text is not UTF-8");
        return false;
    }
    tell(&by_model, 'M', model->kind, model->message, model->len);
    model->kind = 0;
    return true;
}

static bool model_data(struct model *model, const struct ws_frame *frame, const uint8_t *payload, size_t len)
{
    if ((frame->opcode == 0) != (model->kind != 0)) {
        tell_failure(&by_model, 1002,
                     model->kind == 0 ? "continuation of no message"
                                      : "message begins before the one before it has ended");
        return false;
    }
    if (frame->opcode != 0) {
        model->kind = frame->opcode;
        model->is_deflated = frame->is_deflated;
        model->len = model->empty = 0;
        model->packed = 0;
    }
    if (frame->len == 0 && !frame->is_final && ++model->empty > WS_EMPTY_FRAMES_MAX) {
        tell_failure(&by_model, 1008, "too many empty fragments in a message");
        return false;
    }
    model->packed += frame->len;
    if (model->packed > (model->is_deflated ? model->max + model->max / 8 + 1024 : model->max)) {
        tell_failure(&by_model, 1009, "message is longer than max_message");
        return false;
    }
    return model_content(model, payload, len, frame->is_final && frame->len == len);
}

static bool model_control(const struct ws_frame *frame, const uint8_t *payload)
{
    size_t len = (size_t)frame->len;
    if (frame->opcode != WS_OP_CLOSE) {
        tell(&by_model, frame->opcode == WS_OP_PING ? 'p' : 'q', 0, payload, len);
        return true;
    }
    unsigned code = len < 2 ? 1005 : (unsigned)payload[0] << 8 | payload[1];
    if (len == 1) {
        tell_failure(&by_model, 1002, "close frame with half a code");
    } else if (len > 1 && !ws_code_is_valid(code)) {
        tell_failure(&by_model, 1002, "close code that must not be sent");
    } else if (len > 1 && !begins_text(payload + 2, len - 2, true)) {
        tell_failure(&by_model, 1007, "reason of a close is not UTF-8");
    } else {
        tell(&by_model, 'C', code, payload + (len > 1 ? 2 : 0), len > 1 ? len - 2 : 0);
    }
    return false;
}

/* One frame, or what there is of one. Returns whether another one may follow. */
static bool model_frame(struct model *model)
{
    static uint8_t payload[GUARDED_BYTES];
    struct ws_frame frame;
    const char *why;
    int head = ws_frame_parse(&frame, model->rules->inflate != NULL, (const char *)model->at, model->left, &why);
    if (head <= 0) {
        if (head < 0) {
            tell_failure(&by_model, 1002, why);
        }
        return false;
    }
    size_t len = model->left - (size_t)head;
    len = frame.len < len ? (size_t)frame.len : len;
    for (size_t i = 0; i < len; i++) {
        payload[i] = model->at[(size_t)head + i] ^ frame.mask[i % 4];
    }
    model->at += (size_t)head + len;
    model->left -= (size_t)head + len;
    if (!ws_is_control(frame.opcode)) {
        return model_data(model, &frame, payload, len);
    }
    return len == frame.len && model_control(&frame, payload);
}

/* A piece has come. */
static void arrive(struct ws_reader *reader, const struct ws_rules *rules, const uint8_t *bytes, size_t len)
{
    char *at = guarded_at_end(fuzz_guarded(), (const char *)bytes, len);
    for (;;) {
        struct ws_happening what;
        memset(&what, 0xa5, sizeof what);
        switch (ws_reader_next(reader, rules, &at, &len, &what)) {
        case WS_NONE:
            FUZZ_MUST(len == 0);
            FUZZ_MUST(!ws_reader_is_between(reader) || fake_mem_live() == 0);
            return;
        case WS_GOES_ON:
            FUZZ_MUST(!ws_reader_is_between(reader));
            break;
        case WS_MESSAGE:
            tell(&by_reader, 'M', what.kind, what.data, what.len);
            break;
        case WS_PING:
            tell(&by_reader, 'p', 0, what.data, what.len);
            break;
        case WS_PONG:
            tell(&by_reader, 'q', 0, what.data, what.len);
            break;
        case WS_CLOSE:
            tell(&by_reader, 'C', what.code, what.data, what.len);
            break;
        case WS_FAIL:
            FUZZ_MUST(strlen(what.why) <= WS_REASON_MAX);
            tell_failure(&by_reader, what.code, what.why);
            break;
        }
    }
}

static void arrive_in_pieces(const struct ws_rules *rules, const uint8_t *data, size_t len, struct fuzz_dice *dice)
{
    struct ws_reader reader;
    by_reader.len = 0;
    ws_reader_init(&reader);
    for (size_t at = 0; at < len;) {
        size_t piece = fuzz_piece(dice, len - at);
        arrive(&reader, rules, data + at, piece);
        at += piece;
    }
    ws_reader_done(&reader);
    FUZZ_MUST(fake_mem_live() == 0);
}

static void check_frames(const struct ws_rules *rules, const uint8_t *data, size_t len, struct fuzz_dice *dice)
{
    static struct model model;
    by_model.len = 0;
    model = (struct model){.at = data, .left = len, .rules = rules, .max = rules->max_message};
    while (model_frame(&model)) {
    }
    arrive_in_pieces(rules, data, len, dice);
    FUZZ_MUST(by_reader.len == by_model.len && memcmp(by_reader.bytes, by_model.bytes, by_model.len) == 0);
}

/* The bytes as a binary message in random fragments. */
static void check_content(const uint8_t *content, size_t len, struct fuzz_dice *dice)
{
    static uint8_t sent[GUARDED_BYTES];
    const struct ws_rules rules = {.max_message = len};
    size_t size = 0;
    by_model.len = 0;
    tell(&by_model, 'M', WS_BINARY, content, len);
    for (size_t at = 0; at < len || at == 0;) {
        size_t piece = len == 0 ? 0 : fuzz_piece(dice, len - at);
        bool is_last = at + piece == len;
        size_t head = ws_frame_write((char *)sent + size, at == 0 ? WS_OP_BINARY : WS_OP_CONTINUATION, false, piece);
        uint8_t mask[4];
        for (size_t i = 0; i < 4; i++) {
            mask[i] = (uint8_t)fuzz_roll(dice, 256);
        }
        sent[size] &= is_last ? 0xff : 0x7f;
        sent[size + 1] |= 0x80;
        size += head;
        memcpy(sent + size, mask, 4);
        memcpy(sent + size + 4, content + at, piece);
        ws_unmask((char *)sent + size + 4, piece, mask); /* which masks just as well */
        size += 4 + piece;
        at += piece;
        if (is_last) {
            break;
        }
    }
    arrive_in_pieces(&rules, sent, size, dice);
    FUZZ_MUST(by_reader.len == by_model.len && memcmp(by_reader.bytes, by_model.bytes, by_model.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t maxima[] = {0, 5, 125, 300, 2000, 4096, 8192, 16384};
    struct fuzz_dice dice = fuzz_dice_of(data, len);
    struct toy toy = {0};
    struct ws_rules rules = {0};
    if (len == 0 || len > 4096) {
        return 0;
    }
    rules.max_message = maxima[data[0] & 7];
    if ((data[0] & 8) != 0) {
        rules.inflate = toy_inflate;
        rules.inflate_arg = &toy;
    }
    check_frames(&rules, data + 1, len - 1, &dice);
    check_content(data + 1, len - 1, &dice);
    return 0;
}
