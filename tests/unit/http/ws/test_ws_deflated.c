/* WebSockets that agreed on permessage-deflate: the handshake, messages both ways, the bomb, and memory. */

#include "core/deflater.h"
#include "core/inflater.h"
#include "http/service.h"
#include "http/ws/ws_deflate.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/ws_scene.h"

#include <stdio.h>
#include <string.h>

enum { RSV1 = 0x40, LONG = 100000 };

static char text[LONG + 1];

/* Texts that get shorter. */
static void fill_text(void)
{
    for (size_t at = 0, n = 0; at + 16 < sizeof text; n++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "{\"n\":%zu},", n * n % 977);
    }
}

static int set_up(void **state)
{
    int rv = ws_set_up(state);
    fill_text();
    ws_scene_options.compress_min = WS_COMPRESS_MIN_BYTES;
    return rv;
}

#define DEFLATE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, ws_tear_down)

/* A client that offers this; what the 101 says of it, NULL: nothing. */
static struct fake_peer *client_with(const char *offer, const char *agreed)
{
    char request[512], line[128];
    struct fake_peer *peer = client();
    snprintf(request, sizeof request, WS_HELLO "Sec-WebSocket-Extensions: %s\r\n\r\n", offer);
    say(peer, request);
    assert_true(output_has(peer, "HTTP/1.1 101 "));
    if (agreed == NULL) {
        assert_false(output_has(peer, "Sec-WebSocket-Extensions"));
    } else {
        snprintf(line, sizeof line, "Sec-WebSocket-Extensions: %s\r\n", agreed);
        assert_true(output_has(peer, line));
    }
    fake_peer_forget_output(peer);
    return peer;
}

/* A client's deflater or inflater of the largest window. */
static struct deflater *client_deflater(void)
{
    struct deflater *deflater;
    assert_int_equal(deflater_create(&deflater, 12), 0);
    return deflater;
}

static struct inflater *client_inflater(void)
{
    struct inflater *inflater;
    assert_int_equal(inflater_create(&inflater, 15), 0);
    return inflater;
}

/* Send a compressed message, or bytes that are no such thing, in one frame. */
static void say_packed(struct fake_peer *peer, unsigned opcode, const char *packed, size_t len)
{
    static char frame[LONG + 64];
    char *end = ws_put_frame(frame, opcode | RSV1, true, packed, len);
    fake_peer_send(peer, frame, (size_t)(end - frame));
    settle();
}

static void say_deflated(struct fake_peer *peer, struct deflater *deflater, const char *data, size_t len)
{
    static char packed[LONG + 64];
    ssize_t got = deflater_run(deflater, data, len, packed, sizeof packed);
    assert_true(got > DEFLATE_TAIL);
    say_packed(peer, WS_OP_TEXT, packed, (size_t)got - DEFLATE_TAIL);
}

/* The one frame that came: its first byte, and its payload, which lies in the output. */
static unsigned take_frame(struct fake_peer *peer, const char **payload, size_t *len)
{
    size_t left;
    const char *out = fake_peer_output(peer, &left);
    const unsigned char *at = (const unsigned char *)out;
    assert_true(left >= 2);
    size_t head = at[1] == 127 ? 10 : at[1] == 126 ? 4 : 2;
    *len = at[1];
    if (head > 2) {
        *len = 0;
        for (size_t i = 2; i < head; i++) {
            *len = *len << 8 | at[i];
        }
    }
    assert_int_equal(left, head + *len);
    *payload = out + head;
    return at[0];
}

static void assert_answer(struct fake_peer *peer, struct inflater *inflater, const char *data, size_t len)
{
    static char out[LONG + 1];
    const char *payload, *tail = "\0\0\xff\xff";
    size_t payload_len, tail_len = DEFLATE_TAIL;
    assert_int_equal(take_frame(peer, &payload, &payload_len), 0x80 | RSV1 | WS_OP_TEXT);
    assert_in_range(payload_len, 1, len - 1);
    ssize_t got = inflater_run(inflater, &payload, &payload_len, out, sizeof out);
    ssize_t rest = inflater_run(inflater, &tail, &tail_len, out + got, sizeof out - (size_t)got);
    assert_int_equal(got + rest, len);
    assert_memory_equal(out, data, len);
    fake_peer_forget_output(peer);
}

static void what_the_handshake_agrees_on(void **state)
{
    (void)state;
    client_with("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=12");
    client_with("x-other", NULL);
    client_with("permessage-deflate; unknown", NULL);
    ws_scene_options.compress_min = 0;
    client_with("permessage-deflate", NULL);
    struct fake_peer *peer = client();
    say(peer, WS_HELLO "Sec-WebSocket-Extensions: permessage-deflate;\r\n\r\n");
    assert_true(output_has(peer, "HTTP/1.1 400 "));
    assert_true(output_has(peer, "Sec-WebSocket-Extensions is no list"));
}

static void messages_of_both_sides_refer_to_earlier_ones(void **state)
{
    struct deflater *deflater = client_deflater();
    struct inflater *inflater = client_inflater();
    (void)state;
    struct fake_peer *peer = client_with("permessage-deflate", "permessage-deflate");
    for (int i = 0; i < 3; i++) {
        say_deflated(peer, deflater, text, 3000);
        assert_answer(peer, inflater, text, 3000);
    }
    say_deflated(peer, deflater, text, LONG - 1000);
    assert_answer(peer, inflater, text, LONG - 1000);
    assert_string_equal(heard.text, "open; text [3000]; text [3000]; text [3000]; text [99000]; ");
    deflater_destroy(deflater);
    inflater_destroy(inflater);
}

static void a_short_message_is_not_compressed_and_the_shortest_is_set(void **state)
{
    const char *payload;
    size_t len;
    (void)state;
    struct fake_peer *peer = client_with("permessage-deflate", "permessage-deflate");
    for (size_t size = 255; size <= 256; size++) {
        assert_int_equal(ws_send(heard.ws, WS_TEXT, text, size), 1);
        settle();
        assert_int_equal(take_frame(peer, &payload, &len), size == 256 ? 0xc1 : 0x81);
        fake_peer_forget_output(peer);
    }
    ws_scene_options.compress_min = 20;
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "aaaaaaaaaaaaaaaaaaaa", 20), 1);
    settle();
    assert_int_equal(take_frame(peer, &payload, &len), 0xc1);
}

static void without_an_agreement_a_compressed_message_is_malformed(void **state)
{
    (void)state;
    struct fake_peer *peer = client_with("x-other", NULL);
    say_packed(peer, WS_OP_TEXT, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    assert_non_null(strstr(ws_answers(peer), "close 1002 "));
}

static void what_cannot_be_inflated_is_invalid(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {{"\x06", 1}, {"\xf2\x48\xcd\xc9", 4}, {"\xf2\x00\x11\x00\x00", 5}};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct fake_peer *peer = client_with("permessage-deflate", "permessage-deflate");
        say_packed(peer, WS_OP_TEXT, wrong[i].bytes, wrong[i].len);
        assert_string_equal(ws_answers(peer), "close 1007 compressed message cannot be inflated; ");
    }
    struct fake_peer *peer = client_with("permessage-deflate", "permessage-deflate");
    say_packed(peer, WS_OP_TEXT, "\x00\x01\x00\xfe\xff\xff\x00", 7); /* a stored byte that no UTF-8 has */
    assert_string_equal(ws_answers(peer), "close 1007 text is not UTF-8; ");
}

static void max_message_counts_inflated_bytes_and_a_bomb_takes_no_more(void **state)
{
    static char zeros[LONG], bomb[2048];
    (void)state;
    memset(zeros, 'x', sizeof zeros);
    ws_scene_options.max_message = LONG - 1;
    struct deflater *deflater = client_deflater();
    ssize_t len = deflater_run(deflater, zeros, sizeof zeros - 1, bomb, sizeof bomb);
    assert_in_range(len, 1, sizeof bomb);
    struct fake_peer *peer = client_with("permessage-deflate", "permessage-deflate");
    say_packed(peer, WS_OP_TEXT, bomb, (size_t)len - DEFLATE_TAIL);
    assert_string_equal(heard.text, "open; text [99999]; ");
    fake_peer_forget_output(peer);
    deflater_reset(deflater);
    len = deflater_run(deflater, zeros, sizeof zeros, bomb, sizeof bomb);
    peer = client_with("permessage-deflate", "permessage-deflate");
    say_packed(peer, WS_OP_TEXT, bomb, (size_t)len - DEFLATE_TAIL);
    assert_string_equal(ws_answers(peer), "close 1009 message is longer than max_message; ");
    deflater_destroy(deflater);
}

static void take_a_millisecond(struct ws *ws)
{
    (void)ws;
    fake_sys_spend_ns(1000000);
}

/* R6: many long messages fit into one read, so the clock is looked at after each of them. */
static void long_messages_of_one_read_do_not_make_a_long_turn(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    static char frames[LONG], packed[LONG], zeros[20000];
    heard.then = take_a_millisecond;
    heard.is_echo = false;
    struct fake_peer *peer = client_with("permessage-deflate; client_no_context_takeover",
                                         "permessage-deflate; client_no_context_takeover");
    struct deflater *deflater = client_deflater();
    ssize_t len = deflater_run(deflater, zeros, sizeof zeros, packed, sizeof packed);
    deflater_destroy(deflater);
    char *end = frames;
    for (int i = 0; i < COUNT; i++) {
        end = ws_put_frame(end, WS_OP_BINARY | RSV1, true, packed, (size_t)len - DEFLATE_TAIL);
    }
    fake_peer_send(peer, frames, (size_t)(end - frames));
    for (uint64_t had = 0; had < COUNT; had = stats().ws_received) {
        run_once();
        assert_in_range(stats().ws_received - had, 1, 5); /* a tick has at most two turns, each with two of them */
    }
}

static void contexts_have_a_limit_and_are_given_back(void **state)
{
    static const char forgets[] = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    struct deflater *deflater = client_deflater();
    struct inflater *inflater = client_inflater();
    struct service *service = NULL;
    (void)state;
    scene.site->limits.ws_deflate_memory_bytes = deflater_memory(12) + inflater_memory(15);
    struct fake_peer *one = client_with("permessage-deflate", "permessage-deflate");
    service = ws_service(heard.ws);
    assert_int_equal(ws_codecs_reserved(service->ws_codecs), scene.site->limits.ws_deflate_memory_bytes);
    struct fake_peer *other = client_with("permessage-deflate", forgets);
    say_deflated(other, deflater, text, 3000);
    assert_answer(other, inflater, text, 3000);
    fake_peer_close(one);
    settle();
    assert_int_equal(ws_codecs_reserved(service->ws_codecs), 0);
    fake_peer_close(other);
    settle();
    assert_null(service->ws_codecs);
    client_with("permessage-deflate", "permessage-deflate");
    deflater_destroy(deflater);
    inflater_destroy(inflater);
}

static void a_message_that_is_not_sent_is_not_referred_to(void **state)
{
    struct deflater *deflater = client_deflater();
    struct inflater *inflater = client_inflater();
    (void)state;
    struct fake_peer *peer = client_with("permessage-deflate", "permessage-deflate");
    say_deflated(peer, deflater, text, 3000);
    assert_answer(peer, inflater, text, 3000);
    struct ws *ws = heard.ws;
    fake_peer_set_room(ws_client(), 0); /* one that does not read keeps what the pool lends */
    ws_send(heard.ws, WS_TEXT, "x", 1);
    int rv = 1;
    for (uint64_t n = 1; rv != -ENOMEM; n++) { /* the last allocation that fails is that of the queue */
        fake_mem_fail_after(n, true);
        rv = ws_send(ws, WS_TEXT, text + 10, 3000);
        fake_mem_fail_after(0, false);
        if (rv != -ENOMEM) {
            settle();
            fake_peer_forget_output(peer);
            skip();
        }
    }
    settle();
    assert_int_equal(ws_send(ws, WS_TEXT, text + 10, 3000), 1);
    settle();
    assert_answer(peer, inflater, text + 10, 3000);
    deflater_destroy(deflater);
    inflater_destroy(inflater);
}

static void a_handshake_without_memory_goes_without_compression_or_fails(void **state)
{
    uint64_t n = 0;
    unsigned plain = 0, failed = 0;
    (void)state;
    fake_peer_close(client_with("permessage-deflate", "permessage-deflate")); /* the pools have what it needed */
    settle();
    do {
        struct fake_peer *peer = client();
        fake_mem_fail_after(++n, false);
        say(peer, WS_HELLO "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
        bool is_short = fake_mem_failed();
        fake_mem_fail_after(0, false);
        bool is_open = output_has(peer, "HTTP/1.1 101 ");
        bool is_agreed = output_has(peer, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
        assert_true(is_short || is_agreed);
        plain += is_open && !is_agreed;
        failed += !is_open;
        fake_peer_close(peer);
        settle();
        assert_null(server_service(scene.server)->ws_codecs);
        if (!is_short) {
            break;
        }
    } while (n < 100);
    assert_in_range(n, 3, 99);
    assert_true(plain == 2 && failed > 0); /* for what the thread shares, and for the connection's own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEFLATE_TEST(what_the_handshake_agrees_on),
        DEFLATE_TEST(messages_of_both_sides_refer_to_earlier_ones),
        DEFLATE_TEST(a_short_message_is_not_compressed_and_the_shortest_is_set),
        DEFLATE_TEST(without_an_agreement_a_compressed_message_is_malformed),
        DEFLATE_TEST(what_cannot_be_inflated_is_invalid),
        DEFLATE_TEST(max_message_counts_inflated_bytes_and_a_bomb_takes_no_more),
        DEFLATE_TEST(long_messages_of_one_read_do_not_make_a_long_turn),
        DEFLATE_TEST(contexts_have_a_limit_and_are_given_back),
        DEFLATE_TEST(a_message_that_is_not_sent_is_not_referred_to),
        DEFLATE_TEST(a_handshake_without_memory_goes_without_compression_or_fails),
    };
    if (!ws_deflate_is_there()) {
        print_message("skipped: zlib is not installed (Debian: zlib1g)\n");
        return 0;
    }
    return cmocka_run_group_tests_name("ws_deflated", tests, NULL, NULL);
}
