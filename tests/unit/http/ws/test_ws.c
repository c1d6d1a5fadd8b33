/* What users of WebSockets call: messages, pings, closing, pausing. */

#include "core/mem.h"
#include "http/peer.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/ws_scene.h"

static void messages_come_and_go(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    ws_say(peer, WS_OP_TEXT, "hello");
    ws_say(peer, WS_OP_BINARY, "\xff");
    ws_say(peer, WS_OP_PING, "a");
    ws_say(peer, WS_OP_PONG, "b");
    assert_string_equal(ws_answers(peer), "text hello; binary \xff; pong a; ");
    assert_int_equal(stats().websockets, 1);
    ws_say(peer, WS_OP_CLOSE,
           "\x03\xe8"
           "bye");
    assert_string_equal(ws_answers(peer), "close 1000 ; ");
    assert_true(is_closed(peer));
    assert_string_equal(heard.text, "open; text hello; binary \xff; pong b; close 1000 bye; ");
    assert_int_equal(stats().ws_received, 2);
    assert_int_equal(stats().ws_sent, 2);
    assert_int_equal(stats().websockets, 0);
}

/* A conversation of all kinds of frames, whole, byte by byte and split at each place. */
static void it_does_not_matter_how_bytes_arrive(void **state)
{
    (void)state;
    char bytes[512], *at = bytes + sprintf(bytes, "%s\r\n", WS_HELLO);
    at = ws_put_frame(at, WS_OP_TEXT, false, "he", 2);
    at = ws_put_frame(at, WS_OP_PING, true, "p", 1);
    at = ws_put_frame(at, WS_OP_CONTINUATION, true, "llo", 3);
    at = ws_put_frame(at, WS_OP_BINARY, true, "", 0);
    at = ws_put_frame(at, WS_OP_CLOSE, true, "", 0);
    size_t len = (size_t)(at - bytes);
    for (size_t split = 0; split <= len; split++) {
        heard.len = 0;
        struct fake_peer *peer = client();
        if (split == 0) {
            fake_peer_send_in_pieces(peer, bytes, len, 1);
        } else {
            fake_peer_send_split(peer, bytes, len, split);
        }
        settle();
        assert_string_equal(heard.text, "open; text hello; binary ; close 1005 ; ");
        size_t got;
        const char *frames = strstr(fake_peer_output(peer, &got), "\r\n\r\n") + 4;
        assert_memory_equal(frames, "\x8a\x01p\x81\x05hello\x82\x00\x88\x00", 14);
        assert_true(is_closed(peer));
    }
}

static void what_is_sent_in_a_tick_leaves_with_one_write(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    fake_sys_clear_trace();
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "a", 1), 1);
    assert_int_equal(ws_send(heard.ws, WS_BINARY, "\xff", 1), 1);
    assert_int_equal(ws_ping(heard.ws, "c", 1), 1);
    assert_int_equal(ws_queued(heard.ws), 9);
    settle();
    assert_int_equal(fake_sys_count(FAKE_SEND) + fake_sys_count(FAKE_SENDV), 1);
    assert_int_equal(count_epoll_changes(), 0);
    assert_string_equal(ws_answers(peer), "text a; binary \xff; ping c; ");
    assert_int_equal(ws_queued(heard.ws), 0);
    assert_ptr_equal(ws_service(heard.ws)->reactor, scene.reactor);
    assert_ptr_equal(ws_options_of(heard.ws), &ws_scene_options);
    assert_int_equal(ws_peer(heard.ws)->family, AF_INET);
}

static void a_long_message_is_not_copied_if_the_socket_takes_it(void **state)
{
    (void)state;
    enum { LEN = 100000 };
    static char data[LEN];
    struct fake_peer *peer = ws_client();
    uint64_t calls = fake_mem_calls();
    assert_int_equal(ws_send(heard.ws, WS_BINARY, data, LEN), 1);
    assert_int_equal(fake_mem_calls(), calls);
    assert_string_equal(ws_answers(peer), "binary [100000]; ");
    fake_peer_set_room(peer, 10);
    assert_int_equal(ws_send(heard.ws, WS_BINARY, data, LEN), 0);
    settle();
    assert_string_equal(ws_answers(peer), "(more to come)");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(ws_answers(peer), "binary [100000]; ");
}

static void what_may_not_be_sent_is_not(void **state)
{
    (void)state;
    char text[WS_CONTROL_MAX + 1] = {0};
    struct fake_peer *peer = ws_client();
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "\xc3", 1), -EILSEQ);
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "\xff", 1), -EILSEQ);
    assert_int_equal(ws_send(heard.ws, WS_BINARY, text, (size_t)WS_SEND_MAX_BYTES + 1), -EMSGSIZE);
    assert_int_equal(ws_ping(heard.ws, text, WS_CONTROL_MAX + 1), -EMSGSIZE);
    assert_int_equal(ws_close(heard.ws, 1005, NULL, 0), -EINVAL);
    assert_int_equal(ws_close(heard.ws, 0, "why", 3), -EINVAL);
    assert_int_equal(ws_close(heard.ws, 1000, "\xff", 1), -EINVAL);
    assert_int_equal(ws_close(heard.ws, 1000, text, WS_REASON_MAX + 1), -EINVAL);
    settle();
    assert_int_equal(output_len(peer), 0);
    assert_int_equal(ws_ping(heard.ws, text, WS_CONTROL_MAX), 1);
    assert_int_equal(ws_close(heard.ws, 1000, text, WS_REASON_MAX), 0);
    settle();
    assert_string_equal(ws_answers(peer), "ping [125]; close 1000 [125]; ");
}

static void the_client_is_asked_to_close(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    ws_pause(heard.ws); /* that does not hold the close up */
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "last", 4), 1);
    assert_int_equal(ws_close(heard.ws, 4000, "bye", 3), 0);
    assert_false(ws_is_open(heard.ws));
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "x", 1), -EPIPE);
    assert_int_equal(ws_close(heard.ws, 1000, NULL, 0), -EPIPE);
    settle();
    assert_string_equal(ws_answers(peer), "text last; close 4000 bye; ");
    ws_say(peer, WS_OP_TEXT, "late"); /* and a ping is no reason to say anything either */
    ws_say(peer, WS_OP_PING, "late");
    assert_string_equal(heard.text, "open; ");
    ws_say(peer, WS_OP_CLOSE, "\x0f\xa1");
    assert_int_equal(output_len(peer), 0);
    assert_string_equal(heard.text, "open; close 4001 ; ");
    assert_true(is_closed(peer));
}

static void the_client_does_not_close(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    pass_ms(1000);
    assert_int_equal(ws_close(heard.ws, 1000, NULL, 0), 0);
    settle();
    for (int i = 0; i < 9; i++) { /* what it says meanwhile gives it no further time */
        pass_ms(1000);
        ws_say(peer, WS_OP_TEXT, "I stay");
    }
    pass_ms(999);
    assert_false(is_closed(peer));
    pass_ms(1);
    assert_true(is_closed(peer));
    assert_string_equal(heard.text, "open; close 1006 ; ");
}

/* Its time to close begins when it has got what was sent before, and our close frame. */
static void a_slow_client_gets_its_time_to_close(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    fake_peer_set_room(peer, 0);
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "long", 4), 1);
    assert_int_equal(ws_close(heard.ws, 1000, NULL, 0), 0);
    for (int i = 0; i < 5; i++) { /* 10 bytes in all */
        pass_ms(6000);
        fake_peer_set_room(peer, 2);
        settle();
        assert_false(is_closed(peer));
    }
    assert_string_equal(ws_answers(peer), "text long; close 1000 ; ");
    pass_ms(9999);
    assert_false(is_closed(peer));
    ws_say(peer, WS_OP_CLOSE, "\x03\xe8");
    assert_string_equal(heard.text, "open; close 1000 ; ");
    assert_true(is_closed(peer));
}

static void close_from_a_callback(struct ws *ws)
{
    ws_close(ws, 1000, NULL, 0);
}

static void a_callback_closes(void **state)
{
    (void)state;
    char frames[64], *end;
    heard.then = close_from_a_callback;
    struct fake_peer *peer = ws_client();
    end = ws_put_frame(frames, WS_OP_TEXT, true, "one", 3);
    end = ws_put_frame(end, WS_OP_TEXT, true, "two", 3);
    end = ws_put_frame(end, WS_OP_CLOSE, true, "", 0);
    fake_peer_send(peer, frames, (size_t)(end - frames));
    settle();
    assert_string_equal(ws_answers(peer), "text one; close 1000 ; ");
    assert_string_equal(heard.text, "open; text one; close 1005 ; ");
    assert_true(is_closed(peer));
}

static void a_cut_is_an_end_without_a_close(void **state)
{
    (void)state;
    heard.then = ws_cut;
    struct fake_peer *peer = ws_client();
    ws_say(peer, WS_OP_TEXT, "hello");
    assert_true(is_closed(peer));
    assert_int_equal(output_len(peer), 0);
    assert_string_equal(heard.text, "open; text hello; close 1006 ; ");
    peer = ws_client();
    ws_cut(heard.ws);
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "x", 1), -EPIPE);
    settle();
    assert_true(is_closed(peer));
}

static void the_client_is_lost(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    fake_peer_close(peer);
    settle();
    assert_true(is_closed(peer));
    peer = ws_client();
    fake_peer_reset(peer, 0);
    settle();
    assert_true(is_closed(peer));
    assert_string_equal(heard.text, "open; close 1006 ; open; close 1006 ; ");
}

static void a_client_that_does_not_read_is_waited_for_and_cut_at_the_cap(void **state)
{
    (void)state;
    char data[1000] = {0};
    ws_scene_options.high_mark = 5000;
    ws_scene_options.write_cap = 10000;
    struct fake_peer *peer = ws_client();
    fake_peer_set_room(peer, 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ws_send(heard.ws, WS_BINARY, data, sizeof data), 1);
    }
    assert_int_equal(ws_send(heard.ws, WS_BINARY, data, sizeof data), 0); /* 5,020 bytes */
    settle();
    fake_peer_set_room(peer, 2000);
    settle();
    assert_int_equal(heard.drains, 0);
    fake_peer_set_room(peer, 1000); /* half of the high mark is left */
    settle();
    assert_int_equal(heard.drains, 1);
    ws_say(peer, WS_OP_TEXT, "goes on");
    assert_non_null(strstr(heard.text, "goes on"));
    while (ws_queued(heard.ws) <= 10000) {
        assert_in_range(ws_send(heard.ws, WS_BINARY, data, sizeof data), 0, 1);
    }
    assert_int_equal(ws_send(heard.ws, WS_BINARY, data, 1), -ENOBUFS);
    assert_int_equal(ws_send(heard.ws, WS_BINARY, data, 1), -EPIPE);
    settle();
    assert_true(is_closed(peer));
    assert_string_equal(heard.text, "open; text goes on; close 1006 ; ");
    assert_int_equal(heard.drains, 1);
}

static void one_message_may_be_longer_than_the_cap(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    size_t frame_len = LEN + WS_CLIENT_HEAD_MAX;
    char *data = mem_zalloc(LEN), *frame = mem_alloc(frame_len);
    assert_ptr_equal(ws_put_frame(frame, WS_OP_BINARY, true, data, LEN), frame + frame_len);
    struct fake_peer *peer = ws_client();
    fake_peer_set_window(peer, 50000);
    fake_peer_send_in_pieces(peer, frame, frame_len, 60000);
    fake_peer_send_in_pieces(peer, frame, frame_len, 60000);
    settle();
    mem_free(frame);
    mem_free(data);
    assert_string_equal(heard.text, "open; binary [1048576]; binary [1048576]; ");
    assert_string_equal(ws_answers(peer), "binary [1048576]; binary [1048576]; ");
}

static void a_paused_websocket_reads_nothing(void **state)
{
    (void)state;
    char frames[64], *end;
    heard.then = ws_pause;
    struct fake_peer *peer = ws_client();
    end = ws_put_frame(frames, WS_OP_TEXT, true, "one", 3);
    end = ws_put_frame(end, WS_OP_TEXT, true, "two", 3);
    fake_peer_send(peer, frames, (size_t)(end - frames));
    settle();
    ws_say(peer, WS_OP_TEXT, "three");
    assert_string_equal(heard.text, "open; text one; ");
    assert_int_equal(fake_peer_unread(peer), 11);
    assert_string_equal(ws_answers(peer), "text one; ");
    pass_ms(100000); /* no ping comes that the client could not answer */
    assert_int_equal(output_len(peer), 0);
    ws_resume(heard.ws);
    settle();
    assert_string_equal(heard.text, "open; text one; text two; ");
    ws_resume(heard.ws);
    settle();
    assert_string_equal(heard.text, "open; text one; text two; text three; ");
    heard.then = NULL;
    ws_resume(heard.ws);
    ws_resume(heard.ws);
    ws_say(peer, WS_OP_TEXT, "four");
    assert_non_null(strstr(heard.text, "text four; "));
    fake_peer_forget_output(peer);
    pass_ms(30000);
    assert_string_equal(ws_answers(peer), "ping ; ");
    ws_pause(heard.ws); /* what the client says now is not heard, and it is not blamed for that */
    ws_say(peer, WS_OP_PONG, "");
    pass_ms(100000);
    ws_resume(heard.ws);
    settle();
    pass_ms(25000);
    assert_string_equal(heard.text + strlen(heard.text) - 7, "pong ; ");
    assert_false(is_closed(peer));
    fake_peer_close(peer);
    settle();
    assert_true(is_closed(peer));
}

static void a_paused_websocket_keeps_no_message_that_was_handed_over(void **state)
{
    (void)state;
    enum { LEN = 10000 };
    static char frames[3 * LEN], data[LEN];
    heard.then = ws_pause;
    struct fake_peer *peer = ws_client();
    size_t bytes = fake_mem_live_bytes();
    char *end = ws_put_frame(frames, WS_OP_BINARY, false, data, LEN);
    end = ws_put_frame(end, WS_OP_CONTINUATION, true, data, LEN);
    fake_peer_send(peer, frames, (size_t)(end - frames));
    settle();
    assert_string_equal(heard.text, "open; binary [20000]; ");
    assert_in_range(fake_mem_live_bytes(), bytes, bytes + 500);
}

static void an_idle_websocket_takes_little_memory(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    ws_client();
    size_t before = fake_mem_live_bytes(), blocks = fake_mem_live();
    for (int i = 1; i < COUNT; i++) { /* all are in one slab of connections */
        struct fake_peer *peer = ws_client();
        ws_say(peer, WS_OP_TEXT, "hello");
    }
    assert_in_range((fake_mem_live_bytes() - before) / (COUNT - 1), 1,
                    160);                            /* with timers and watches of the reactor */
    assert_in_range(fake_mem_live() - blocks, 1, 8); /* they lie close together (core/slabs.h) */
}

static void converse(void)
{
    struct fake_peer *peer = client();
    char first[512] = WS_HELLO "\r\n";
    char *end = ws_put_frame(first + strlen(first), WS_OP_TEXT, true, "early", 5);
    fake_peer_send(peer, first, (size_t)(end - first));
    settle();
    ws_say(peer, WS_OP_TEXT, "hello");
    ws_say(peer, WS_OP_PING, "x");
    if (heard.ws != NULL) {
        ws_send(heard.ws, WS_TEXT, "text", 4);
        settle();
    }
    if (heard.ws != NULL) {
        ws_close(heard.ws, 1000, NULL, 0);
        settle();
    }
    ws_say(peer, WS_OP_CLOSE, "");
    fake_peer_close(peer);
    settle();
    pass_ms(61000);
    assert_null(heard.ws);
}

static void each_allocation_may_fail(void **state)
{
    uint64_t n = 0;
    bool has_failed = true;
    while (has_failed) {
        assert_int_equal(ws_tear_down(state), 0); /* a server keeps memory for the next ones */
        assert_int_equal(ws_set_up(state), 0);
        fake_mem_fail_after(++n, false);
        converse();
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(heard.len == 0 || strstr(heard.text, "close") != NULL || strstr(heard.text, "never") != NULL);
    }
    assert_in_range(n, 6, 100);
}

static void each_read_and_write_may_fail(void **state)
{
    (void)state;
    static const enum fake_op ops[] = {FAKE_RECV, FAKE_SEND, FAKE_SENDV, FAKE_EPOLL_ADD, FAKE_EPOLL_MODIFY};
    for (size_t i = 0; i < 5 * sizeof ops / sizeof ops[0]; i++) {
        heard.len = 0;
        heard.text[0] = '\0';
        fake_sys_fail_op(ops[i % 5], (int)(i / 5), 1, -ECONNRESET);
        converse();
        fake_sys_fail_op(ops[i % 5], 0, 0, 0);
        assert_true(heard.len == 0 || strstr(heard.text, "close") != NULL || strstr(heard.text, "never") != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(messages_come_and_go),
        WS_TEST(it_does_not_matter_how_bytes_arrive),
        WS_TEST(what_is_sent_in_a_tick_leaves_with_one_write),
        WS_TEST(a_long_message_is_not_copied_if_the_socket_takes_it),
        WS_TEST(what_may_not_be_sent_is_not),
        WS_TEST(the_client_is_asked_to_close),
        WS_TEST(the_client_does_not_close),
        WS_TEST(a_slow_client_gets_its_time_to_close),
        WS_TEST(a_callback_closes),
        WS_TEST(a_cut_is_an_end_without_a_close),
        WS_TEST(the_client_is_lost),
        WS_TEST(a_client_that_does_not_read_is_waited_for_and_cut_at_the_cap),
        WS_TEST(one_message_may_be_longer_than_the_cap),
        WS_TEST(a_paused_websocket_reads_nothing),
        WS_TEST(a_paused_websocket_keeps_no_message_that_was_handed_over),
        WS_TEST(an_idle_websocket_takes_little_memory),
        WS_TEST(each_allocation_may_fail),
        WS_TEST(each_read_and_write_may_fail),
    };
    return cmocka_run_group_tests_name("ws", tests, NULL, NULL);
}
