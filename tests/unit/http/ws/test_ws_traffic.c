/* Frames that were made beforehand: sent at once or held, in order with those that are copied. */

#include "tests/lib/server_scene.h"
#include "tests/lib/ws_scene.h"

#include "core/transport.h"
#include "http/conn_protocol.h"
#include "http/ws/ws_state.h"
#include "http/ws/ws_traffic.h"

#include <errno.h>

static int holds, releases;

static void hold_made(void *arg)
{
    (void)arg;
    holds++;
}

static void release_made(void *arg)
{
    (void)arg;
    releases++;
}

static const struct ws_made made = {"\x81\x04made", 6, hold_made, release_made, NULL};

static int set_up(void **state)
{
    holds = releases = 0;
    return ws_set_up(state);
}

#define TRAFFIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, ws_tear_down)

/* This is what a publication to many costs for each of them. */
static void a_made_frame_is_one_system_call_and_nothing_else(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    uint64_t calls = fake_mem_calls();
    fake_sys_clear_trace();
    uint64_t before = fake_sys_total();
    assert_int_equal(ws_send_made(heard.ws, &made), 1);
    assert_int_equal(ws_send_made(heard.ws, &made), 1);
    assert_int_equal(fake_sys_total() - before, 2);
    assert_int_equal(fake_sys_count(FAKE_SEND), 2);
    assert_int_equal(fake_mem_calls(), calls);
    assert_int_equal(holds, 0);
    assert_string_equal(ws_answers(peer), "text made; text made; ");
    assert_int_equal(settle(), 0);
    assert_int_equal(stats().ws_sent, 2);
}

/* What a turn needs for its answers is lent, and comes back: only the first one of a server asks for memory. */
static void an_answer_allocates_nothing(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "first", 5), 1);
    settle();
    uint64_t calls = fake_mem_calls();
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "a", 1), 1);
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "b", 1), 1);
    settle();
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "c", 1), 1);
    settle();
    assert_int_equal(fake_mem_calls(), calls);
    assert_string_equal(ws_answers(peer), "text first; text a; text b; text c; ");
}

static void what_the_socket_does_not_take_is_held_in_order(void **state)
{
    (void)state;
    for (int64_t room = 0; room < 30; room++) {
        struct fake_peer *peer = ws_client();
        holds = releases = 0;
        fake_peer_set_room(peer, room);
        ws_send_made(heard.ws, &made);
        ws_send(heard.ws, WS_TEXT, "a", 1);
        ws_send_made(heard.ws, &made);
        ws_send_made(heard.ws, &made);
        ws_send(heard.ws, WS_TEXT, "b", 1);
        assert_int_equal(ws_queued(heard.ws), 24 - (room < 6 ? room : 6));
        settle();
        assert_int_equal(output_len(peer), room < 24 ? room : 24);
        fake_peer_set_window(peer, 1 + room);
        settle();
        assert_string_equal(ws_answers(peer), "text made; text a; text made; text made; text b; ");
        assert_int_equal(holds, room < 6 ? 3 : 2);
        assert_int_equal(releases, holds);
        fake_peer_close(peer);
        settle();
    }
}

static void many_held_frames_are_copied_instead(void **state)
{
    (void)state;
    char expected[100 * 11 + 1] = "";
    struct fake_peer *peer = ws_client();
    fake_peer_set_room(peer, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(ws_send_made(heard.ws, &made), 1);
        strcat(expected, "text made; ");
    }
    assert_int_equal(holds, WS_HELD_FRAMES_MAX);
    assert_int_equal(ws_queued(heard.ws), 600);
    settle();
    fake_peer_set_window(peer, 100);
    settle();
    assert_string_equal(ws_answers(peer), expected);
    assert_int_equal(releases, holds);
    fake_peer_set_window(peer, 0);
    fake_peer_set_room(peer, 0);
    for (int i = 0; i < 3; i++) { /* and again from the start */
        ws_send_made(heard.ws, &made);
    }
    assert_int_equal(holds, WS_HELD_FRAMES_MAX + 3);
    fake_peer_reset(peer, 0);
    settle();
    assert_int_equal(releases, holds);
}

static void those_that_do_not_read_are_cut_at_the_cap(void **state)
{
    (void)state;
    ws_scene_options.high_mark = 12;
    ws_scene_options.write_cap = 18;
    struct fake_peer *peer = ws_client();
    fake_peer_set_room(peer, 0);
    assert_int_equal(ws_send_made(heard.ws, &made), 1);
    assert_int_equal(ws_send_made(heard.ws, &made), 1);
    assert_int_equal(ws_send_made(heard.ws, &made), 0);
    assert_int_equal(ws_send_made(heard.ws, &made), 0);
    assert_int_equal(ws_send_made(heard.ws, &made), -ENOBUFS);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(releases, holds);
    assert_string_equal(heard.text, "open; close 1006 ; ");
}

static void a_client_that_is_lost_is_noticed_while_sending(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    fake_sys_fail_op(FAKE_SEND, 0, 1, -EPIPE);
    assert_int_equal(ws_send_made(heard.ws, &made), -EPIPE);
    assert_string_equal(heard.text, "open; "); /* not during the call */
    settle();
    assert_string_equal(heard.text, "open; close 1006 ; ");
    assert_true(is_closed(peer));
}

/* A transport that makes records of what it gets, and cannot send them. */
static ssize_t hold_back(struct transport *transport, const void *data, size_t len, bool more)
{
    (void)data;
    (void)len;
    (void)more;
    transport->is_full = transport->holds_output = true;
    return -EAGAIN;
}

static const struct transport_ops holding_ops = {.send = hold_back, .interest = transport_socket_interest};

/* One more client, which does not read and so keeps what the pool lends. */
static void keep_what_is_lent(void)
{
    fake_peer_set_room(ws_client(), 0);
    ws_send(heard.ws, WS_TEXT, "x", 1);
}

static void without_memory_nothing_is_queued(void **state)
{
    (void)state;
    keep_what_is_lent();
    struct fake_peer *peer = ws_client();
    struct ws *ws = heard.ws;
    fake_peer_set_room(peer, 0);
    for (uint64_t n = 1; n < 4; n++) {
        fake_mem_fail_after(n, true);
        int rv = ws_send_made(ws, &made);
        fake_mem_fail_after(0, false);
        assert_true(rv == -ENOMEM || rv == 1);
    }
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(releases, holds);
    assert_non_null(strstr(ws_answers(peer), "text made; "));
    keep_what_is_lent();
    fake_peer_set_room(peer, 3); /* half of a frame is sent, and no memory for the rest of it: there is no way back */
    fake_mem_fail_after(1, true);
    assert_int_equal(ws_send_made(ws, &made), -EPIPE);
    fake_mem_fail_after(0, false);
    settle();
    assert_true(is_closed(peer));
}

/* Records of TLS cannot be taken back: the client would read a part of this frame and then another one. */
static void without_memory_for_what_the_transport_holds_the_client_is_lost(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    struct transport *transport = &heard.ws->conn->transport;
    const struct transport_ops *plain = transport->ops;
    transport->ops = &holding_ops;
    fake_mem_fail_after(1, true);
    int rv = ws_send_made(heard.ws, &made);
    fake_mem_fail_after(0, false);
    transport->ops = plain;
    transport->holds_output = false;
    assert_int_equal(rv, -EPIPE);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(releases, holds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRAFFIC_TEST(a_made_frame_is_one_system_call_and_nothing_else),
        TRAFFIC_TEST(an_answer_allocates_nothing),
        TRAFFIC_TEST(what_the_socket_does_not_take_is_held_in_order),
        TRAFFIC_TEST(many_held_frames_are_copied_instead),
        TRAFFIC_TEST(those_that_do_not_read_are_cut_at_the_cap),
        TRAFFIC_TEST(a_client_that_is_lost_is_noticed_while_sending),
        TRAFFIC_TEST(without_memory_nothing_is_queued),
        TRAFFIC_TEST(without_memory_for_what_the_transport_holds_the_client_is_lost),
    };
    return cmocka_run_group_tests_name("ws_traffic", tests, NULL, NULL);
}
