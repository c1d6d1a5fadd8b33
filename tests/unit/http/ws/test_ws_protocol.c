/* WebSocket on a connection: turns, pings and other deadlines, clients that break the rules, stops. */

#include "core/sys.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/ws_scene.h"

static void a_silent_client_is_pinged_and_cut_if_it_does_not_answer(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    pass_ms(22400);
    assert_int_equal(output_len(peer), 0);
    pass_ms(7600);
    assert_string_equal(ws_answers(peer), "ping ; ");
    pass_ms(10000);
    ws_say(peer, WS_OP_PONG, "");
    pass_ms(22400);
    assert_int_equal(output_len(peer), 0);
    pass_ms(7600);
    assert_string_equal(ws_answers(peer), "ping ; ");
    pass_ms(15000); /* it was sent a while ago */
    assert_false(is_closed(peer));
    pass_ms(5000);
    assert_true(is_closed(peer));
    assert_string_equal(heard.text, "open; pong ; close 1006 ; ");
    assert_int_equal(stats().timeouts, 1);
    assert_int_equal(stats().timeouts_by[TIMEOUT_IDLE], 1);
    assert_non_null(strstr(scene.log_text, "timed out while a WebSocket was open [client "));
}

/* Its pong lies in the socket while nothing is read from it, since it is behind. */
static void a_client_that_is_behind_is_not_blamed_for_a_pong_that_nobody_reads(void **state)
{
    (void)state;
    static char data[5000];
    ws_scene_options.high_mark = 1000;
    struct fake_peer *peer = ws_client();
    pass_ms(30000);
    assert_string_equal(ws_answers(peer), "ping ; ");
    fake_peer_set_room(peer, 0);
    assert_int_equal(ws_send(heard.ws, WS_BINARY, data, sizeof data), 0);
    settle();
    ws_say(peer, WS_OP_PONG, "");
    for (int i = 0; i < 4; i++) {
        pass_ms(10000);
        fake_peer_set_room(peer, 1000);
        settle();
    }
    pass_ms(10000);
    assert_string_equal(heard.text, "open; ");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    pass_ms(1000);
    assert_string_equal(heard.text, "open; pong ; ");
    assert_false(is_closed(peer));
    assert_string_equal(ws_answers(peer), "binary [5000]; ");
}

/* On a slow line, megabytes may lie in the socket before our ping. */
static void a_client_that_still_takes_what_was_sent_has_time_to_answer(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    fake_peer_set_unsent(peer, 1000000);
    pass_ms(30000);
    assert_string_equal(ws_answers(peer), "ping ; ");
    for (int i = 1; i <= 5; i++) {
        fake_peer_set_unsent(peer, 1000000 - i * 100000);
        pass_ms(20000);
        assert_false(is_closed(peer));
    }
    ws_say(peer, WS_OP_PONG, "");
    assert_int_equal(ws_close(heard.ws, 1000, NULL, 0), 0);
    settle();
    for (int i = 1; i <= 5; i++) {
        fake_peer_set_unsent(peer, 500000 - i * 100000);
        pass_ms(10000);
        assert_false(is_closed(peer));
    }
    pass_ms(10000);
    assert_true(is_closed(peer));
    peer = ws_client(); /* and one that has vanished is not waited for */
    fake_peer_set_unsent(peer, 1000000);
    pass_ms(40000);
    assert_false(is_closed(peer));
    pass_ms(10000);
    assert_true(is_closed(peer));
    peer = ws_client(); /* nor one whose kernel has taken our ping */
    fake_peer_set_unsent(peer, 1024);
    pass_ms(30000);
    assert_string_equal(ws_answers(peer), "ping ; ");
    fake_peer_set_unsent(peer, 0);
    pass_ms(20000);
    assert_true(is_closed(peer));
}

static void whoever_sends_is_not_pinged(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    for (int i = 0; i < 20; i++) {
        pass_ms(10000);
        ws_say(peer, WS_OP_TEXT, "x");
        assert_string_equal(ws_answers(peer), "text x; ");
    }
    assert_int_equal(stats().timeouts, 0);
}

/* Each WebSocket has a moment of its own, the first time and later. */
static void those_that_open_together_are_not_pinged_together(void **state)
{
    (void)state;
    enum { COUNT = 60, WINDOW_MS = 500 };
    struct fake_peer *peers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        peers[i] = ws_client();
    }
    for (int round = 0; round < 3; round++) {
        int most = 0, sum = 0;
        for (int ms = 0; ms < 30000; ms += WINDOW_MS) {
            int pings = 0;
            pass_ms(WINDOW_MS);
            for (int i = 0; i < COUNT; i++) {
                pings += output_len(peers[i]) > 0;
                fake_peer_forget_output(peers[i]);
            }
            most = pings > most ? pings : most;
            sum += pings;
        }
        assert_in_range(sum, COUNT, COUNT + 2);
        assert_in_range(most, 1, COUNT / 4);
        for (int i = 0; i < COUNT; i++) { /* all are heard at the same moment */
            ws_say(peers[i], WS_OP_PONG, "");
        }
    }
}

static void pings_can_be_turned_off(void **state)
{
    (void)state;
    ws_scene_options.ping_ms = 0;
    struct fake_peer *peer = ws_client();
    pass_ms(100000);
    assert_int_equal(output_len(peer), 0);
    assert_false(is_closed(peer));
}

static void a_websocket_without_messages_ends_after_idle_timeout(void **state)
{
    (void)state;
    ws_scene_options.idle_timeout_ms = 60000;
    struct fake_peer *peer = ws_client();
    pass_ms(40000);
    assert_string_equal(ws_answers(peer), "ping ; ");
    ws_say(peer, WS_OP_PONG, ""); /* counts for nothing here */
    pass_ms(10000);
    assert_int_equal(ws_send(heard.ws, WS_TEXT, "hello", 5), 1);
    settle();
    assert_string_equal(ws_answers(peer), "text hello; ");
    pass_ms(25000);
    ws_say(peer, WS_OP_PONG, "");
    fake_peer_forget_output(peer);
    pass_ms(34999);
    ws_say(peer, WS_OP_PONG, "");
    fake_peer_forget_output(peer);
    assert_true(ws_is_open(heard.ws));
    pass_ms(1);
    assert_string_equal(ws_answers(peer), "close 1001 no message for too long; ");
    ws_say(peer, WS_OP_CLOSE, "\x03\xe9");
    assert_true(is_closed(peer));
    assert_int_equal(stats().timeouts, 0);
}

static void a_client_that_breaks_the_rules_is_told_which(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    fake_peer_send(peer, "\x81\x01x", 3); /* not masked */
    fake_peer_send(peer, "more of it", 10);
    settle();
    const char *answer = ws_answers(peer);
    assert_memory_equal(answer, "close 1002 ", 11);
    assert_memory_equal(heard.text, "open; close 1002 ", 17);
    assert_true(fake_peer_saw_end(peer));
    assert_false(is_closed(peer)); /* it lingers, so that the client reads why */
    fake_peer_close(peer);
    settle();
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
    assert_non_null(strstr(scene.log_text, "WebSocket failed"));
}

static void a_message_beyond_the_limit_is_refused_by_its_head(void **state)
{
    (void)state;
    char frame[16], at_limit[1000];
    memset(at_limit, 'x', sizeof at_limit);
    ws_scene_options.max_message = 100;
    struct fake_peer *peer = ws_client();
    char *end = ws_put_frame(at_limit, WS_OP_TEXT, true, at_limit + 500, 100);
    fake_peer_send(peer, at_limit, (size_t)(end - at_limit));
    settle();
    assert_non_null(strstr(heard.text, "text xxx"));
    heard.len = 0;
    end = ws_put_frame(frame, WS_OP_BINARY, true, "", 0);
    frame[1] = (char)(0x80 | 101);
    fake_peer_send(peer, frame, (size_t)(end - frame));
    settle();
    assert_memory_equal(heard.text, "close 1009 ", 11);
    fake_peer_close(peer);
    settle();
}

static void a_client_that_reads_nothing_is_cut(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    fake_peer_set_room(peer, 0);
    fake_peer_set_unsent(peer, 100);
    ws_say(peer, WS_OP_TEXT, "hello");
    pass_ms(31000);
    assert_true(is_closed(peer));
    assert_int_equal(stats().timeouts_by[TIMEOUT_WRITE], 1);
    assert_string_equal(heard.text, "open; text hello; close 1006 ; ");
}

static void be_slow(struct ws *ws)
{
    (void)ws;
    fake_sys_spend_ns(200000);
}

/* R6: a client that sends much in one go does not hold the others up for longer than a turn. */
static void a_turn_ends_after_its_time(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static char frames[COUNT * 16];
    heard.then = be_slow;
    struct fake_peer *peer = ws_client(), *other = client();
    char *end = frames;
    for (int i = 0; i < COUNT; i++) {
        end = ws_put_frame(end, WS_OP_TEXT, true, "x", 1);
    }
    fake_peer_send(peer, frames, (size_t)(end - frames));
    fake_peer_send_text(other, GET("/hello"));
    int ticks = 0;
    while (!output_has(other, "hello")) {
        run_once();
        assert_true(++ticks < 4);
    }
    size_t len;
    fake_peer_output(peer, &len);
    assert_in_range(len, 3, COUNT * 3 / 2);
    settle();
    fake_peer_output(peer, &len);
    assert_int_equal(len, COUNT * 3);
    assert_int_equal(stats().ws_received, COUNT);
}

static void be_quick(struct ws *ws)
{
    (void)ws;
    heard.len = 0;
    fake_sys_spend_ns(5000);
}

/* R6: clients that flood have their turn in each tick, all of them as long a one, and so has everybody else. */
static void each_tick_serves_everybody(void **state)
{
    (void)state;
    enum { FLOODS = 4, COUNT = 5000, TICKS = 8, TURN_US = 500, EVENTS_US = 8 * 5, TURNS = 2 };
    static char frames[COUNT * 6];
    struct fake_peer *floods[FLOODS], *other = ws_client();
    char *end = frames;
    for (int i = 0; i < COUNT; i += 2) {
        end = ws_put_frame(end, WS_OP_TEXT, true, "", 0);
        end = ws_put_frame(end, WS_OP_PING, true, "", 0);
    }
    heard.then = be_quick;
    for (int i = 0; i < FLOODS; i++) {
        floods[i] = ws_client();
    }
    for (int i = 0; i < FLOODS; i++) {
        fake_peer_send(floods[i], frames, (size_t)(end - frames));
    }
    for (int tick = 0; tick < TICKS; tick++) {
        ws_answers(other);
        fake_peer_send(other, frames, (size_t)(ws_put_frame(frames, WS_OP_TEXT, true, "hello", 5) - frames));
        int64_t began_ns = sys_now_ns();
        run_once();
        assert_string_equal(ws_answers(other), "text hello; ");
        assert_in_range(sys_now_ns() - began_ns, 1, FLOODS * TURNS * (TURN_US + EVENTS_US) * 1000);
        size_t least = SIZE_MAX, most = 0;
        for (int i = 0; i < FLOODS; i++) {
            size_t len;
            fake_peer_output(floods[i], &len);
            least = len < least ? len : least;
            most = len > most ? len : most;
        }
        assert_true(least > 0 && most - least <= most / 4);
    }
}

static void a_stop_sends_1001_and_waits(void **state)
{
    (void)state;
    struct fake_peer *peer = ws_client();
    struct fake_peer *silent = ws_client();
    server_drain(scene.server, 15000, NULL, NULL);
    settle();
    assert_string_equal(ws_answers(peer), "close 1001 the server stops; ");
    ws_say(peer, WS_OP_CLOSE, "\x03\xe9");
    assert_true(is_closed(peer));
    pass_ms(14999); /* longer than close_timeout: the stop has its own */
    assert_false(is_closed(silent));
    pass_ms(1);
    assert_true(is_closed(silent));
    assert_string_equal(heard.text, "open; open; close 1001 ; close 1006 ; ");
}

/* Such as that of SIGQUIT: one client that does not answer must not hold it up forever. */
static void a_stop_without_a_deadline_waits_for_close_timeout(void **state)
{
    (void)state;
    struct fake_peer *silent = ws_client();
    server_drain(scene.server, SERVER_DRAIN_NEVER, NULL, NULL);
    settle();
    assert_string_equal(ws_answers(silent), "close 1001 the server stops; ");
    pass_ms(9999);
    assert_false(is_closed(silent));
    pass_ms(1);
    assert_true(is_closed(silent));
    assert_string_equal(heard.text, "open; close 1006 ; ");
}

/* The host has lost patience meanwhile. */
static void a_stop_may_get_a_deadline_later(void **state)
{
    (void)state;
    struct fake_peer *silent = ws_client();
    server_drain(scene.server, SERVER_DRAIN_NEVER, NULL, NULL);
    pass_ms(5000);
    server_drain(scene.server, 7000, NULL, NULL);
    pass_ms(6999);
    assert_false(is_closed(silent));
    pass_ms(1);
    assert_true(is_closed(silent));
}

static void a_websocket_that_opens_during_a_stop_closes(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    say(peer, "GET /ws");
    server_drain(scene.server, 5000, NULL, NULL);
    say(peer, strchr(WS_HELLO "\r\n", ' ') + 4);
    assert_true(output_has(peer, "HTTP/1.1 101 "));
    assert_string_equal(heard.text, "open; ");
    assert_false(ws_is_open(heard.ws));
    fake_peer_close(peer);
    settle();
    assert_string_equal(heard.text, "open; close 1006 ; ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(a_silent_client_is_pinged_and_cut_if_it_does_not_answer),
        WS_TEST(a_client_that_is_behind_is_not_blamed_for_a_pong_that_nobody_reads),
        WS_TEST(a_client_that_still_takes_what_was_sent_has_time_to_answer),
        WS_TEST(whoever_sends_is_not_pinged),
        WS_TEST(those_that_open_together_are_not_pinged_together),
        WS_TEST(pings_can_be_turned_off),
        WS_TEST(a_websocket_without_messages_ends_after_idle_timeout),
        WS_TEST(a_client_that_breaks_the_rules_is_told_which),
        WS_TEST(a_message_beyond_the_limit_is_refused_by_its_head),
        WS_TEST(a_client_that_reads_nothing_is_cut),
        WS_TEST(a_turn_ends_after_its_time),
        WS_TEST(each_tick_serves_everybody),
        WS_TEST(a_stop_sends_1001_and_waits),
        WS_TEST(a_stop_without_a_deadline_waits_for_close_timeout),
        WS_TEST(a_stop_may_get_a_deadline_later),
        WS_TEST(a_websocket_that_opens_during_a_stop_closes),
    };
    return cmocka_run_group_tests_name("ws_protocol", tests, NULL, NULL);
}
