#include "tests/lib/ws_scene.h"

#include "tests/lib/server_scene.h"

struct ws_heard heard;
struct ws_options ws_scene_options;
struct ws_policy ws_scene_policy;

enum { TEXT_MOST = 100 };

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(heard.text + heard.len, sizeof heard.text - heard.len, format, args);
    va_end(args);
    assert_in_range(len, 0, sizeof heard.text - heard.len - 1);
    heard.len += (size_t)len;
}

static void on_open(struct ws *ws, void *arg)
{
    assert_ptr_equal(arg, &heard);
    assert_ptr_equal(ws_arg(ws), &heard);
    heard.ws = ws;
    note("open; ");
}

static void on_message(struct ws *ws, void *arg, enum ws_kind kind, const char *data, size_t len)
{
    assert_ptr_equal(arg, &heard);
    if (len > TEXT_MOST) {
        note("%s [%zu]; ", kind == WS_TEXT ? "text" : "binary", len);
    } else {
        note("%s %.*s; ", kind == WS_TEXT ? "text" : "binary", (int)len, data);
    }
    if (heard.is_echo) {
        heard.sent = ws_send(ws, kind, data, len);
    }
    if (heard.then != NULL) {
        heard.then(ws);
    }
}

static void on_pong(struct ws *ws, void *arg, const char *data, size_t len)
{
    (void)ws;
    (void)arg;
    note("pong %.*s; ", (int)len, data);
}

static void on_drain(struct ws *ws, void *arg)
{
    (void)ws;
    (void)arg;
    heard.drains++;
}

static void on_close(struct ws *ws, void *arg, unsigned code, const char *reason, size_t len)
{
    assert_ptr_equal(arg, &heard);
    bool was_open = strstr(heard.text, "open; ") != NULL;
    note("%s %u %.*s; ", was_open ? "close" : "never", code, (int)len, reason);
    assert_ptr_equal(ws_options_of(ws), &ws_scene_options);
    if (was_open) { /* nothing is of use any more, and nothing does harm */
        assert_int_equal(ws_send(ws, WS_TEXT, "x", 1), -EPIPE);
        assert_int_equal(ws_ping(ws, NULL, 0), -EPIPE);
        assert_int_equal(ws_close(ws, 0, NULL, 0), -EPIPE);
        ws_cut(ws);
        ws_pause(ws);
        ws_resume(ws);
        assert_false(ws_is_open(ws));
    }
    heard.ws = NULL;
}

static const struct ws_user scene_user = {
    .on_open = on_open, .on_message = on_message, .on_pong = on_pong, .on_drain = on_drain, .on_close = on_close};

static void serve_ws(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    heard.accepted = ws_accept(exchange, &ws_scene_policy, &ws_scene_options, &heard, &heard.agreed);
}

static const struct handler ws_handler = {.serve = serve_ws, .body_mode = BODY_STREAM};

int ws_set_up(void **state)
{
    int rv = scene_set_up(state);
    heard = (struct ws_heard){.is_echo = true};
    ws_scene_policy = (struct ws_policy){0};
    ws_options_init(&ws_scene_options, &scene.site->limits, &scene_user);
    add_route(METHOD_GET, "/ws", &ws_handler);
    add_route(METHOD_POST, "/ws", &ws_handler);
    add_usual_routes();
    scene_start();
    return rv;
}

int ws_tear_down(void **state)
{
    return scene_tear_down(state);
}

struct fake_peer *ws_client(void)
{
    struct fake_peer *peer = client();
    say(peer, WS_HELLO "\r\n");
    assert_int_equal(heard.accepted, 0);
    assert_true(output_has(peer, "HTTP/1.1 101 "));
    fake_peer_forget_output(peer);
    return peer;
}

char *ws_put_frame(char *at, unsigned opcode, bool is_final, const void *data, size_t len)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    const unsigned char *from = data;
    unsigned char *to = (unsigned char *)at;
    *to++ = (unsigned char)(opcode | (is_final ? 0x80U : 0U));
    if (len < 126) {
        *to++ = (unsigned char)(0x80U | len);
    } else if (len < 65536) {
        *to++ = 0x80 | 126;
        *to++ = (unsigned char)(len >> 8);
        *to++ = (unsigned char)len;
    } else {
        *to++ = 0x80 | 127;
        for (int i = 7; i >= 0; i--) {
            *to++ = (unsigned char)((uint64_t)len >> (8 * i));
        }
    }
    memcpy(to, mask, sizeof mask);
    to += sizeof mask;
    for (size_t i = 0; i < len; i++) {
        *to++ = (unsigned char)(from[i] ^ mask[i % 4]);
    }
    return (char *)to;
}

void ws_say(struct fake_peer *peer, unsigned opcode, const char *text)
{
    char frame[256];
    char *end = ws_put_frame(frame, opcode, true, text, strlen(text));
    fake_peer_send(peer, frame, (size_t)(end - frame));
    settle();
}

static const char *name_of(unsigned opcode)
{
    return opcode == WS_OP_TEXT     ? "text"
           : opcode == WS_OP_BINARY ? "binary"
           : opcode == WS_OP_CLOSE  ? "close"
           : opcode == WS_OP_PING   ? "ping"
           : opcode == WS_OP_PONG   ? "pong"
                                    : "?";
}

const char *ws_answers(struct fake_peer *peer)
{
    static char text[8192];
    char *to = text;
    size_t left;
    const unsigned char *at = (const unsigned char *)fake_peer_output(peer, &left);
    *to = '\0';
    while (left > 0) {
        assert_true(left >= 2 && (at[0] & 0xf0) == 0x80 && (at[1] & 0x80) == 0);
        unsigned opcode = at[0] & 0xfU;
        size_t len = at[1], head = 2;
        if (len >= 126) {
            size_t bytes = len == 126 ? 2 : 8;
            len = 0;
            for (size_t i = 0; i < bytes; i++) {
                len = len << 8 | at[2 + i];
            }
            head += bytes;
        }
        if (head + len > left) {
            to += sprintf(to, "(more to come)");
            return text;
        }
        const char *data = (const char *)at + head;
        size_t skip = opcode == WS_OP_CLOSE && len >= 2 ? 2 : 0;
        to += sprintf(to, "%s ", name_of(opcode));
        to += skip > 0 ? sprintf(to, "%u ", (unsigned)at[head] << 8 | at[head + 1]) : 0;
        to += len > TEXT_MOST ? sprintf(to, "[%zu]; ", len) : sprintf(to, "%.*s; ", (int)(len - skip), data + skip);
        at += head + len;
        left -= head + len;
    }
    fake_peer_forget_output(peer);
    return text;
}
