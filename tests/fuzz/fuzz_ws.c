/* A WebSocket from its handshake to its end, on a server on the fake kernel. The first byte of the input chooses
 * options; the others are what happens, a letter each with what belongs to it:
 *
 *   f OPCODE LENGTH BYTES   the client sends a masked frame; above 15, the opcode has its other bits: FIN is clear, RSV1
 *   r LENGTH BYTES          the client sends bytes as they are
 *   i SIZE                  what the client sends arrives in pieces of so many bytes
 *   w ROOM, W               the socket takes so many bytes more; any
 *   e, x                    the client shuts its side; resets
 *   t TIME                  quarters of a second pass
 *   s LENGTH, p, c CODE     the user sends a text, or a binary; a ping; closes
 *   k, z, Z                 the user cuts the connection, pauses, resumes
 *   m COUNT                 an allocation fails, from 1
 *   y CALL                  a system call fails
 *   d                       the server stops
 *
 * The frames that come back are well-formed for a strict client; what the user sent is what comes, in order; the user
 * is told one end, the last of all; after all deadlines nothing is open; no memory and no fd is left. */

#include "core/inflater.h"
#include "http/ws/ws.h"
#include "http/ws/ws_accept.h"
#include "http/ws/ws_utf8.h"
#include "tests/lib/fuzz.h"
#include "tests/lib/server_scene.h"

enum { EXPECTED_MAX = 1 << 20, WS_INPUT_MAX = 2048 };

/* What the user did and heard. */
static struct {
    struct ws *ws; /* while it is open */
    int opens, closes;
    bool is_echo;
    bool closes_in_message; /* on_message() closes, or cuts */
    bool cuts_in_message;
    size_t len;              /* of sent */
    char sent[EXPECTED_MAX]; /* a letter for the kind, 4 bytes of length, the message */
} user;

static struct ws_options options;

static void note_sent(enum ws_kind kind, const void *data, size_t len)
{
    uint32_t size = (uint32_t)len;
    FUZZ_MUST(user.len + 5 + len <= sizeof user.sent);
    user.sent[user.len] = (char)kind;
    memcpy(user.sent + user.len + 1, &size, 4);
    memcpy(user.sent + user.len + 5, data, len);
    user.len += 5 + len;
}

static void send_message(struct ws *ws, enum ws_kind kind, const void *data, size_t len)
{
    bool was_open = ws_is_open(ws);
    int rv = ws_send(ws, kind, data, len);
    FUZZ_MUST(rv == 0 || rv == 1 || rv == -EPIPE || rv == -ENOMEM || rv == -ENOBUFS);
    FUZZ_MUST(was_open || rv == -EPIPE);
    if (rv >= 0) {
        note_sent(kind, data, len);
    }
}

static void hear_open(struct ws *ws, void *arg)
{
    FUZZ_MUST(arg == &user && user.opens == 0 && user.closes == 0);
    user.opens++;
    user.ws = ws;
}

static void hear_message(struct ws *ws, void *arg, enum ws_kind kind, const char *data, size_t len)
{
    FUZZ_MUST(arg == &user && user.ws == ws && user.closes == 0 && len <= options.max_message);
    if (kind == WS_TEXT) {
        struct ws_utf8 utf8 = {0};
        FUZZ_MUST(ws_utf8_check(&utf8, data, len) && ws_utf8_is_whole(&utf8));
    }
    if (user.is_echo) {
        send_message(ws, kind, data, len);
    }
    if (user.closes_in_message) {
        ws_close(ws, 4000, "enough", 6);
    } else if (user.cuts_in_message) {
        ws_cut(ws);
    }
}

static void hear_pong(struct ws *ws, void *arg, const char *data, size_t len)
{
    (void)data;
    FUZZ_MUST(arg == &user && user.ws == ws && user.closes == 0 && len <= WS_CONTROL_MAX);
}

static void hear_drain(struct ws *ws, void *arg)
{
    FUZZ_MUST(arg == &user && user.ws == ws && user.closes == 0);
}

static void hear_close(struct ws *ws, void *arg, unsigned code, const char *reason, size_t len)
{
    struct ws_utf8 utf8 = {0};
    (void)ws;
    FUZZ_MUST(arg == &user && user.closes == 0 && code >= 1000 && code <= 4999 && len <= WS_REASON_MAX);
    FUZZ_MUST(ws_utf8_check(&utf8, reason, len) && ws_utf8_is_whole(&utf8));
    user.closes++;
    user.ws = NULL;
}

static const struct ws_user fuzz_user = {.on_open = hear_open,
                                         .on_message = hear_message,
                                         .on_pong = hear_pong,
                                         .on_drain = hear_drain,
                                         .on_close = hear_close};

static void serve_fuzzed(struct exchange *exchange, void *ctx)
{
    static const struct ws_policy policy = {0};
    (void)ctx;
    FUZZ_MUST(ws_accept(exchange, &policy, &options, &user, NULL) == 0);
}

static const struct handler fuzz_handler = {.serve = serve_fuzzed, .body_mode = BODY_STREAM};

/* What a strict client makes of the output. */

/* Inflate a message as a client that keeps its context. Returns its length. */
static size_t read_deflated(struct inflater *inflater, const char *data, size_t len, char *out, size_t room)
{
    const char *tail = "\0\0\xff\xff";
    size_t tail_len = 4;
    ssize_t got = inflater_run(inflater, &data, &len, out, room);
    FUZZ_MUST(got >= 0 && len == 0);
    ssize_t more = inflater_run(inflater, &tail, &tail_len, out + got, room - (size_t)got);
    FUZZ_MUST(more >= 0 && tail_len == 0);
    return (size_t)(got + more);
}

/* Compare a message with the next one that the user sent. Returns where that ends in user.sent. */
static size_t check_message(size_t at, unsigned opcode, const char *data, size_t len)
{
    uint32_t size;
    FUZZ_MUST(at < user.len && (unsigned char)user.sent[at] == opcode);
    memcpy(&size, user.sent + at + 1, 4);
    FUZZ_MUST(size == len && memcmp(user.sent + at + 5, data, len) == 0);
    return at + 5 + size;
}

static void check_close(const unsigned char *payload, size_t len)
{
    struct ws_utf8 utf8 = {0};
    FUZZ_MUST(len != 1);
    if (len >= 2) {
        FUZZ_MUST(ws_code_is_valid((unsigned)payload[0] << 8 | payload[1]));
        FUZZ_MUST(ws_utf8_check(&utf8, (const char *)payload + 2, len - 2) && ws_utf8_is_whole(&utf8));
    }
}

/* The frames behind the 101. */
static void check_output(const char *output, size_t left)
{
    static char message[EXPECTED_MAX];
    struct inflater *inflater = NULL;
    const unsigned char *at = (const unsigned char *)output;
    size_t matched = 0;
    bool has_closed = false;
    if (options.compress_min > 0) {
        FUZZ_MUST(inflater_create(&inflater, 15) == 0);
    }
    while (left >= 2) {
        unsigned opcode = at[0] & 0xfU;
        bool is_deflated = (at[0] & 0x40) != 0;
        size_t len = at[1] & 0x7f, wide = len == 126 ? 2 : len == 127 ? 8 : 0;
        FUZZ_MUST(!has_closed && (at[0] & 0xb0) == 0x80 && (at[1] & 0x80) == 0);
        FUZZ_MUST(opcode == WS_OP_TEXT || opcode == WS_OP_BINARY || (opcode >= WS_OP_CLOSE && opcode <= WS_OP_PONG));
        FUZZ_MUST(!is_deflated || (options.compress_min > 0 && !ws_is_control(opcode)));
        FUZZ_MUST(!ws_is_control(opcode) || wide == 0);
        if (left < 2 + wide) {
            break;
        }
        len = wide == 0 ? len : 0;
        for (size_t i = 0; i < wide; i++) {
            len = len << 8 | at[2 + i];
        }
        FUZZ_MUST(wide == 0 || len > (wide == 2 ? 125U : 65535U));
        if (left < 2 + wide + len) {
            break;
        }
        const char *payload = (const char *)at + 2 + wide;
        if (is_deflated) {
            size_t whole = read_deflated(inflater, payload, len, message, sizeof message);
            matched = check_message(matched, opcode, message, whole);
        } else if (!ws_is_control(opcode)) {
            matched = check_message(matched, opcode, payload, len);
        } else if (opcode == WS_OP_CLOSE) {
            has_closed = true;
            check_close((const unsigned char *)payload, len);
        }
        at += 2 + wide + len;
        left -= 2 + wide + len;
    }
    inflater_destroy(inflater);
}

/* What happens. */

struct play {
    const uint8_t *at;
    size_t left;
    struct fake_peer *peer;
    size_t piece; /* in which the client's bytes arrive; 0: as they are sent */
    bool is_done; /* the client sends no more */
};

static unsigned take_byte(struct play *play)
{
    if (play->left == 0) {
        return 0;
    }
    play->left--;
    return *play->at++;
}

static void client_sends(struct play *play, const void *bytes, size_t len)
{
    if (play->is_done || len == 0) {
        return;
    }
    if (play->piece == 0) {
        fake_peer_send(play->peer, bytes, len);
    } else {
        fake_peer_send_in_pieces(play->peer, bytes, len, play->piece);
    }
}

static size_t take_length(struct play *play)
{
    size_t len = take_byte(play);
    return len < play->left ? len : play->left;
}

static void send_frame(struct play *play)
{
    uint8_t frame[WS_CLIENT_HEAD_MAX + 256];
    unsigned first = take_byte(play);
    size_t len = take_length(play);
    size_t head = ws_frame_write((char *)frame, WS_OP_CONTINUATION, false, len);
    /* Most opcodes of an input shall be good ones. */
    frame[0] = (uint8_t)(first < 16 ? 0x80 | first : ((first & 16) != 0 ? 0 : 0x80) | (first & 32) << 1 | (first & 15));
    frame[1] |= 0x80;
    memcpy(frame + head, "\x37\xfa\x21\x3d", 4);
    for (size_t i = 0; i < len; i++) {
        frame[head + 4 + i] = play->at[i] ^ frame[head + i % 4];
    }
    client_sends(play, frame, head + 4 + len);
    play->at += len;
    play->left -= len;
}

static void user_acts(struct play *play, unsigned what)
{
    static const char text[] = "the quick brown fox jumps over the lazy dog, again and again and again and again";
    static char many[64 * sizeof text];
    unsigned byte = what == 's' || what == 'c' ? take_byte(play) : 0;
    if (user.ws == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof many; i++) {
        many[i] = text[i % (sizeof text - 1)];
    }
    if (what == 's') {
        send_message(user.ws, byte % 2 == 0 ? WS_TEXT : WS_BINARY, many, byte < 128 ? byte : byte * 20U);
    } else if (what == 'p') {
        ws_ping(user.ws, "ping", 4);
    } else if (what == 'c') {
        ws_close(user.ws, byte == 0 ? 0 : 999 + byte, "reason", byte == 0 ? 0 : 6);
    } else if (what == 'k') {
        ws_cut(user.ws);
    } else if (what == 'z') {
        ws_pause(user.ws);
    } else {
        ws_resume(user.ws);
    }
}

static void fail_call(unsigned byte)
{
    static const enum fake_op ops[] = {FAKE_RECV, FAKE_SEND, FAKE_SENDV, FAKE_EPOLL_MODIFY};
    static const int errors[] = {-ECONNRESET, -ENOMEM, -EPIPE, -EAGAIN};
    fake_sys_fail_op(ops[byte & 3], (int)(byte >> 4), 1, (byte & 3) == 3 ? -ENOMEM : errors[byte >> 2 & 3]);
}

static void hear_drained(void *arg, unsigned cut)
{
    (void)arg;
    (void)cut;
}

static void act(struct play *play, unsigned what)
{
    char bytes[256];
    size_t len;
    switch (what) {
    case 'f':
        send_frame(play);
        break;
    case 'r':
        len = take_length(play);
        memcpy(bytes, play->at, len);
        client_sends(play, bytes, len);
        play->at += len;
        play->left -= len;
        break;
    case 'i':
        play->piece = take_byte(play);
        break;
    case 'w':
        fake_peer_set_room(play->peer, (int64_t)take_byte(play) * 4);
        break;
    case 'W':
        fake_peer_set_room(play->peer, FAKE_NO_LIMIT);
        break;
    case 'e':
    case 'x':
        if (!play->is_done) {
            (void)(what == 'e' ? fake_peer_shutdown(play->peer) : fake_peer_reset(play->peer, 0));
        }
        play->is_done = true;
        break;
    case 't':
        fake_sys_advance_ms((int64_t)take_byte(play) * 250);
        break;
    case 'm':
        fake_mem_fail_after(take_byte(play) % 16 + 1, false);
        break;
    case 'y':
        fail_call(take_byte(play));
        break;
    case 'd':
        server_announce_stop(scene.server);
        server_drain(scene.server, 10000, hear_drained, NULL);
        break;
    default:
        user_acts(play, what);
        break;
    }
    settle();
}

static void shake_hands(struct play *play)
{
    play->peer = client();
    say(play->peer, "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    FUZZ_MUST(user.opens == 1 && user.ws != NULL && output_has(play->peer, "HTTP/1.1 101 "));
    fake_peer_forget_output(play->peer);
}

/* All deadlines pass. */
static void finish(struct play *play)
{
    fake_mem_fail_after(0, false);
    fake_peer_set_room(play->peer, FAKE_NO_LIMIT);
    if (user.ws != NULL) {
        ws_resume(user.ws);
    }
    settle();
    for (int i = 0; i < 40 && user.ws != NULL; i++) {
        fake_sys_advance_ms(5000);
        settle();
    }
    FUZZ_MUST(user.closes == 1 && user.ws == NULL);
    size_t len;
    const char *output = fake_peer_output(play->peer, &len);
    check_output(output, len);
    fake_sys_advance_ms(60000); /* what lingers */
    settle();
    FUZZ_MUST(stats().websockets == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    void *state;
    struct play play = {.at = data + 1, .left = len - 1};
    fuzz_guarded(); /* assertions of the scene abort */
    if (len == 0 || len > WS_INPUT_MAX) {
        return 0;
    }
    FUZZ_MUST(scene_set_up(&state) == 0);
    memset(&user, 0, offsetof(__typeof__(user), sent));
    user.is_echo = (data[0] & 1) != 0;
    user.closes_in_message = (data[0] & 2) != 0 && (data[0] & 4) != 0;
    user.cuts_in_message = (data[0] & 2) != 0 && (data[0] & 8) != 0;
    ws_options_init(&options, &scene.site->limits, &fuzz_user);
    options.max_message = (data[0] & 16) != 0 ? 64 : 4096;
    options.compress_min = (data[0] & 32) != 0 ? 16 : 0;
    options.high_mark = (data[0] & 64) != 0 ? 256 : options.high_mark;
    options.write_cap = (data[0] & 64) != 0 ? 1024 : options.write_cap;
    options.idle_timeout_ms = (data[0] & 128) != 0 ? 20000 : 0;
    add_route(METHOD_GET, "/ws", &fuzz_handler);
    scene_start();
    shake_hands(&play);
    while (play.left > 0) {
        act(&play, take_byte(&play));
    }
    finish(&play);
    FUZZ_MUST(scene_tear_down(&state) == 0);
    return 0;
}
