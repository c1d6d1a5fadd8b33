/* The bytes that a client sends, turned into messages and control frames.
 *
 *      +-- begin_frame <-- take_head <-----------------+
 *      v                                               |
 *   take_control --> WS_PING, WS_PONG, WS_CLOSE -------+
 *   take_data -----> WS_MESSAGE, or the next fragment -+
 *
 * Happy path: a head and its payload lie in the caller's block; the payload is unmasked, a text is checked, and the
 * event points into the block. Failure modes: whatever ws_frame_parse() rejects, a fragment without a beginning, a
 * message in another one, a text that is not UTF-8, a message longer than it may be (known from the head, before memory
 * is taken), bytes that cannot be inflated, a close without a proper code, and no memory. */

#include "http/ws/ws_reader.h"

#include "core/mem.h"
#include "http/ws/ws_mask.h"

#include <errno.h>
#include <string.h>

enum {
    WS_ROOM_LEAST = 256,       /* bytes of the first buffer of a message */
    WS_INFLATE_PIECE = 512,    /* compressed bytes that are inflated at once: deflate makes at most 1,032 of one */
    WS_DEFLATE_OVERHEAD = 1024 /* compressed bytes that a message may have beyond max_message and an eighth of it */
};

/* What had to be kept, since the caller's block goes away. */
struct ws_held {
    size_t len;      /* bytes of the message so far */
    size_t room;     /* for the message */
    uint64_t packed; /* compressed bytes that the heads of this message have announced */
    uint8_t head_len;
    uint8_t control_len;
    char head[WS_CLIENT_HEAD_MAX]; /* the beginning of one; head_len bytes */
    char control[WS_CONTROL_MAX];  /* of the payload of a control frame; control_len bytes */
    char message[];
};

/* One call of ws_reader_next(). */
struct ws_step {
    struct ws_reader *reader;
    const struct ws_rules *rules;
    char *at; /* len bytes are not used yet */
    size_t len;
    size_t inflated; /* bytes in this call */
    struct ws_happening *what;
};

/* What take_head() and the like return when there is no event yet: go on with the next frame. */
enum { WS_GO_ON = -1 };

void ws_reader_init(struct ws_reader *reader)
{
    *reader = (struct ws_reader){0};
}

void ws_reader_done(struct ws_reader *reader)
{
    mem_free(reader->held);
    reader->held = NULL;
}

bool ws_reader_is_between(const struct ws_reader *reader)
{
    return !reader->is_in_frame && reader->kind == 0 && (reader->held == NULL || reader->held->head_len == 0);
}

void ws_reader_settle(struct ws_reader *reader)
{
    if (reader->held != NULL && ws_reader_is_between(reader)) {
        ws_reader_done(reader);
    }
}

static int ws_fail(struct ws_step *step, enum ws_code code, const char *why)
{
    step->what->code = code;
    step->what->why = why;
    step->reader->is_over = true;
    ws_reader_done(step->reader);
    return WS_FAIL;
}

static int ws_fail_memory(struct ws_step *step)
{
    return ws_fail(step, WS_CODE_INTERNAL, "no memory");
}

static int ws_fail_size(struct ws_step *step)
{
    return ws_fail(step, WS_CODE_TOO_BIG, "message is longer than max_message");
}

static int ws_fail_text(struct ws_step *step)
{
    return ws_fail(step, WS_CODE_INVALID, "text is not UTF-8");
}

/* Make reader->held, with room for a message. Returns 0 or -ENOMEM. */
static int ws_hold(struct ws_reader *reader, size_t room)
{
    struct ws_held *held = reader->held;

    if (held != NULL && held->room >= room) {
        return 0;
    }
    if (room > SIZE_MAX - sizeof *held) {
        return -ENOMEM;
    }
    held = mem_resize(held, sizeof *held + room);
    if (held == NULL) {
        return -ENOMEM;
    }
    if (reader->held == NULL) {
        *held = (struct ws_held){0};
    }
    held->room = room;
    reader->held = held;
    return 0;
}

/* Room for more bytes of the message, and in advance for as many again, but never for more than most in all. */
static int ws_hold_more(struct ws_reader *reader, size_t more, size_t most)
{
    size_t least = (reader->held == NULL ? 0 : reader->held->len) + more;
    size_t room = least > SIZE_MAX / 2 ? least : 2 * least;

    if (reader->held != NULL && reader->held->room >= least) {
        return 0;
    }
    room = room < WS_ROOM_LEAST ? WS_ROOM_LEAST : room;
    return ws_hold(reader, room < most ? room : most);
}

/* Take len bytes from the caller's block. */
static char *ws_take(struct ws_step *step, size_t len)
{
    char *taken = step->at;

    step->at += len;
    step->len -= len;
    return taken;
}

/* Read a head, which may have begun in an earlier call. */
static int ws_take_head(struct ws_step *step, struct ws_frame *frame)
{
    struct ws_reader *reader = step->reader;
    struct ws_held *held = reader->held;
    bool allows_rsv1 = step->rules->inflate != NULL;
    size_t had = held == NULL ? 0 : held->head_len;
    const char *why = NULL;
    int head_len;

    if (had == 0) {
        head_len = ws_frame_parse(frame, allows_rsv1, step->at, step->len, &why);
    } else {
        size_t more = sizeof held->head - had;
        more = more < step->len ? more : step->len;
        memcpy(held->head + had, step->at, more);
        head_len = ws_frame_parse(frame, allows_rsv1, held->head, had + more, &why);
    }
    if (head_len < 0) {
        return ws_fail(step, WS_CODE_PROTOCOL, why);
    }
    if (head_len > 0) {
        ws_take(step, (size_t)head_len - had);
        if (had > 0) {
            held->head_len = 0;
        }
        return WS_GO_ON;
    }
    if (step->len > 0) { /* fewer than a head has */
        if (ws_hold(reader, 0) < 0) {
            return ws_fail_memory(step);
        }
        held = reader->held;
        memcpy(held->head + had, step->at, step->len);
        held->head_len = (uint8_t)(had + step->len);
        ws_take(step, step->len);
    }
    return WS_NONE;
}

/* Whether a frame with len bytes of payload is too much for its message. A compressed one is measured when it is
 * inflated; here only so that it cannot go on for ever without content. */
static int ws_check_size(struct ws_step *step, uint64_t len)
{
    struct ws_reader *reader = step->reader;
    uint64_t most = step->rules->max_message;

    if (!reader->is_deflated) {
        return len > most - (reader->held == NULL ? 0 : reader->held->len) ? ws_fail_size(step) : WS_GO_ON;
    }
    if (ws_hold(reader, 0) < 0) {
        return ws_fail_memory(step);
    }
    if (len > most + most / 8 + WS_DEFLATE_OVERHEAD - reader->held->packed) {
        return ws_fail_size(step);
    }
    reader->held->packed += len;
    return WS_GO_ON;
}

/* A head is complete: whether such a frame may come now. */
static int ws_begin_frame(struct ws_step *step, const struct ws_frame *frame)
{
    struct ws_reader *reader = step->reader;

    reader->is_in_frame = true;
    reader->opcode = frame->opcode;
    reader->left = frame->len;
    memcpy(reader->mask, frame->mask, sizeof reader->mask);
    if (ws_is_control(frame->opcode)) {
        if (reader->held != NULL) {
            reader->held->control_len = 0;
        }
        return WS_GO_ON;
    }
    reader->is_final = frame->is_final;
    if (frame->opcode == WS_OP_CONTINUATION) {
        if (reader->kind == 0) {
            return ws_fail(step, WS_CODE_PROTOCOL, "continuation of no message");
        }
    } else {
        if (reader->kind != 0) {
            return ws_fail(step, WS_CODE_PROTOCOL, "message begins before the one before it has ended");
        }
        reader->kind = frame->opcode;
        reader->is_deflated = frame->is_deflated;
        reader->empty_frames = 0;
        reader->utf8 = (struct ws_utf8){0};
    }
    if (frame->len == 0 && !frame->is_final && ++reader->empty_frames > WS_EMPTY_FRAMES_MAX) {
        return ws_fail(step, WS_CODE_POLICY, "too many empty fragments in a message");
    }
    return ws_check_size(step, frame->len);
}

/* Take at most most bytes of the present frame's payload and unmask them. */
static char *ws_take_payload(struct ws_step *step, size_t most, size_t *len)
{
    struct ws_reader *reader = step->reader;

    *len = step->len < most ? step->len : most;
    *len = reader->left < *len ? (size_t)reader->left : *len;
    char *piece = ws_take(step, *len);
    if (*len > 0) {
        ws_unmask(piece, *len, reader->mask);
        reader->left -= *len;
    }
    return piece;
}

static int ws_read_close(struct ws_step *step, const char *payload, size_t len)
{
    struct ws_happening *what = step->what;
    struct ws_utf8 utf8 = {0};

    what->code = WS_CODE_NONE;
    what->data = "";
    what->len = 0;
    if (len == 1) {
        return ws_fail(step, WS_CODE_PROTOCOL, "close frame with half a code");
    }
    if (len > 0) {
        what->code = (unsigned)(unsigned char)payload[0] << 8 | (unsigned char)payload[1];
        what->data = payload + 2;
        what->len = len - 2;
        if (!ws_code_is_valid(what->code)) {
            return ws_fail(step, WS_CODE_PROTOCOL, "close code that must not be sent");
        }
        if (!ws_utf8_check(&utf8, what->data, what->len) || !ws_utf8_is_whole(&utf8)) {
            return ws_fail(step, WS_CODE_INVALID, "reason of a close is not UTF-8");
        }
    }
    step->reader->is_over = true;
    step->reader->kind = 0; /* a message that was under way is lost */
    return WS_CLOSE;
}

static int ws_take_control(struct ws_step *step)
{
    struct ws_reader *reader = step->reader;
    size_t len;
    const char *payload = ws_take_payload(step, SIZE_MAX, &len);
    size_t had = reader->held == NULL ? 0 : reader->held->control_len;

    if (reader->left > 0 || had > 0) {
        if (ws_hold(reader, 0) < 0) {
            return ws_fail_memory(step);
        }
        if (len > 0) {
            memcpy(reader->held->control + had, payload, len);
        }
        len += had;
        reader->held->control_len = (uint8_t)len;
        payload = reader->held->control;
        if (reader->left > 0) {
            return WS_NONE;
        }
    }
    reader->is_in_frame = false;
    if (reader->opcode == WS_OP_CLOSE) {
        return ws_read_close(step, payload, len);
    }
    step->what->data = len > 0 ? payload : "";
    step->what->len = len;
    return reader->opcode == WS_OP_PING ? WS_PING : WS_PONG;
}

/* The message is complete. */
static int ws_hand_over(struct ws_step *step, const char *data, size_t len)
{
    struct ws_reader *reader = step->reader;

    if (reader->kind == WS_TEXT && !ws_utf8_is_whole(&reader->utf8)) {
        return ws_fail_text(step);
    }
    step->what->kind = (enum ws_kind)reader->kind;
    step->what->data = len > 0 ? data : "";
    step->what->len = len;
    reader->kind = 0;
    return WS_MESSAGE;
}

/* Inflate bytes of a message into the buffer. */
static int ws_inflate_piece(struct ws_step *step, const char *piece, size_t len, bool ends)
{
    struct ws_reader *reader = step->reader;
    const struct ws_rules *rules = step->rules;
    size_t most = rules->max_message < SIZE_MAX ? rules->max_message + 1 : SIZE_MAX; /* one shows that it is too long */
    bool is_full = false;

    while (len > 0 || is_full) {
        if (ws_hold_more(reader, 1, most) < 0) {
            return ws_fail_memory(step);
        }
        struct ws_held *held = reader->held;
        size_t room = held->room - held->len;
        size_t had = len;
        ssize_t got = rules->inflate(rules->inflate_arg, &piece, &len, ends, held->message + held->len, room);
        if (got == -ENOMEM) {
            return ws_fail_memory(step);
        }
        if (got < 0 || (size_t)got > room || (got == 0 && len > 0 && len >= had)) {
            return ws_fail(step, WS_CODE_INVALID, "compressed message cannot be inflated");
        }
        is_full = (size_t)got == room;
        if (reader->kind == WS_TEXT && !ws_utf8_check(&reader->utf8, held->message + held->len, (size_t)got)) {
            return ws_fail_text(step);
        }
        held->len += (size_t)got;
        step->inflated += (size_t)got;
        if (held->len > rules->max_message) {
            return ws_fail_size(step);
        }
    }
    return WS_GO_ON;
}

/* Payload of a compressed message. */
static int ws_take_deflated(struct ws_step *step)
{
    static const char left_out[] = {0, 0, '\xff', '\xff'}; /* what the sender leaves out at the end of a message */
    struct ws_reader *reader = step->reader;

    while (reader->left > 0) {
        if (step->len == 0) {
            return WS_NONE;
        }
        if (step->inflated >= WS_INFLATE_STEP_BYTES) {
            return WS_GOES_ON;
        }
        size_t len;
        const char *piece = ws_take_payload(step, WS_INFLATE_PIECE, &len);
        int rv = ws_inflate_piece(step, piece, len, false);
        if (rv != WS_GO_ON) {
            return rv;
        }
    }
    reader->is_in_frame = false;
    if (!reader->is_final) {
        return WS_GO_ON;
    }
    int rv = ws_inflate_piece(step, left_out, sizeof left_out, true);
    return rv != WS_GO_ON ? rv : ws_hand_over(step, reader->held->message, reader->held->len);
}

/* Payload of a message. */
static int ws_take_data(struct ws_step *step)
{
    struct ws_reader *reader = step->reader;
    size_t len;

    if (reader->is_deflated) {
        return ws_take_deflated(step);
    }
    const char *piece = ws_take_payload(step, SIZE_MAX, &len);
    if (reader->kind == WS_TEXT && !ws_utf8_check(&reader->utf8, piece, len)) {
        return ws_fail_text(step);
    }
    struct ws_held *held = reader->held;
    if (reader->left == 0 && reader->is_final && (held == NULL || held->len == 0)) {
        reader->is_in_frame = false;
        return ws_hand_over(step, piece, len);
    }
    if (len > 0) {
        size_t had = held == NULL ? 0 : held->len;
        size_t most = reader->is_final ? had + len + (size_t)reader->left : step->rules->max_message;
        if (ws_hold_more(reader, len, most) < 0) {
            return ws_fail_memory(step);
        }
        held = reader->held;
        memcpy(held->message + held->len, piece, len);
        held->len += len;
    }
    if (reader->left > 0) {
        return WS_NONE;
    }
    reader->is_in_frame = false;
    return reader->is_final ? ws_hand_over(step, held->message, held->len) : WS_GO_ON;
}

static int ws_look_on(struct ws_step *step)
{
    struct ws_reader *reader = step->reader;

    for (;;) {
        if (!reader->is_in_frame) {
            struct ws_frame frame;
            int rv = ws_take_head(step, &frame);
            if (rv == WS_GO_ON) {
                rv = ws_begin_frame(step, &frame);
            }
            if (rv != WS_GO_ON) {
                return rv;
            }
        }
        int rv = ws_is_control(reader->opcode) ? ws_take_control(step) : ws_take_data(step);
        if (rv != WS_GO_ON) {
            return rv;
        }
    }
}

enum ws_event ws_reader_next(struct ws_reader *reader, const struct ws_rules *rules, char **at, size_t *len,
                             struct ws_happening *what)
{
    struct ws_step step = {.reader = reader, .rules = rules, .at = *at, .len = *len, .what = what};
    int event = WS_NONE;

    ws_reader_settle(reader);
    if (reader->is_over) {
        ws_take(&step, step.len);
    } else {
        event = ws_look_on(&step);
    }
    *at = step.at;
    *len = step.len;
    return (enum ws_event)event;
}
