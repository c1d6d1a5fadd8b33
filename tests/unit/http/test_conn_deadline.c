/* How long a connection may wait for what, on the fake clock: each deadline from both sides, what starts it again, and
 * what does not. And the lingering close, which is the last of them. */

#include "http/conn_protocol.h"
#include "tests/lib/server_scene.h"

enum {
    IDLE_MS = 30000,
    HEADER_MS = 60000,
    BODY_MS = 30000,
    WRITE_MS = 30000,
    LINGER_MS = 2000,
    MANY = 700, /* connections: more than one batch of events */
};

static char filler[100000];

/* Not a moment before ms, but then. */
static void assert_closes_after(struct fake_peer *peer, int64_t ms)
{
    pass_ms(ms - 1);
    assert_false(fake_peer_saw_end(peer));
    pass_ms(1);
    assert_true(fake_peer_saw_end(peer));
}

/* Idle. */

static void silent_connection_closes_without_a_word(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    assert_closes_after(peer, IDLE_MS);
    assert_true(is_closed(peer));
    assert_int_equal(output_len(peer), 0);
    assert_int_equal(stats().timeouts, 1);
    assert_int_equal(stats().timeouts_by[TIMEOUT_IDLE], 1);
    assert_int_equal(stats().lost, 0);
}

static void idle_time_starts_again_with_each_request(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    for (int i = 0; i < 5; i++) {
        pass_ms(IDLE_MS - 1);
        say(peer, GET("/hello"));
    }
    assert_string_equal(statuses(peer), "200 200 200 200 200");
    assert_closes_after(peer, IDLE_MS);
    assert_string_equal(statuses(peer), "200 200 200 200 200");
}

static void activity_does_not_move_the_timer(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    uint64_t before = reactor_counts(scene.reactor).timers;
    for (int i = 0; i < 100; i++) {
        pass_ms(1000);
        say(peer, GET("/hello"));
    }
    assert_in_range(reactor_counts(scene.reactor).timers - before, 3, 4); /* it fired early, every 30 s */
}

/* R3: the loop was busy when the deadline passed, and data came meanwhile. */
static void request_that_arrived_together_with_the_deadline_is_answered(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_sys_advance_ms(IDLE_MS + 5000);
    fake_peer_send_text(peer, GET("/hello"));
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(stats().timeouts, 0);
    assert_closes_after(peer, IDLE_MS);
}

/* R3, when there is more to tell of than one wait fetches. */
static void requests_on_many_connections_that_arrived_together_with_the_deadline_are_answered(void **state)
{
    (void)state;
    static struct fake_peer *peers[MANY];
    scene_begin();
    for (int i = 0; i < MANY; i++) {
        peers[i] = client();
    }
    fake_sys_advance_ms(IDLE_MS);
    for (int i = 0; i < MANY; i++) {
        fake_peer_send_text(peers[i], GET("/hello"));
    }
    settle();
    for (int i = 0; i < MANY; i++) {
        assert_string_equal(statuses(peers[i]), "200");
        assert_false(is_closed(peers[i]));
    }
    assert_int_equal(stats().timeouts, 0);
}

static void empty_lines_are_no_request(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    pass_ms(IDLE_MS - 1);
    say(peer, "\r\n");
    assert_closes_after(peer, IDLE_MS);
    assert_int_equal(output_len(peer), 0); /* no 408 */
}

/* Heads. */

static void head_has_its_time_from_its_first_byte_on(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    pass_ms(IDLE_MS / 2);
    say(peer, "GET /hello HTTP/1.1\r\n");
    for (int i = 1; i <= 5; i++) {
        pass_ms(HEADER_MS / 6);
        say(peer, "X: y\r\n"); /* does not start it again */
    }
    assert_closes_after(peer, HEADER_MS - 5 * (HEADER_MS / 6));
    assert_string_equal(statuses(peer), "408");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_int_equal(stats().timeouts, 1);
}

/* The timer has fired when the byte comes: the deadline stays. */
static void byte_of_a_head_in_the_tick_of_its_deadline_gives_it_no_more_time(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "GET /hello HTTP/1.1\r\n");
    fake_sys_advance_ms(HEADER_MS);
    fake_peer_send_text(peer, "X");
    settle();
    assert_string_equal(statuses(peer), "408");
}

static void head_that_is_complete_in_the_tick_of_its_deadline_is_answered(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "GET /hello HTTP/1.1\r\n");
    fake_sys_advance_ms(HEADER_MS);
    fake_peer_send_text(peer, "Host: a\r\n\r\n");
    settle();
    assert_string_equal(statuses(peer), "200");
}

static void each_head_has_its_own_time(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "GET /hello HT");
    for (int i = 0; i < 5; i++) {
        pass_ms(HEADER_MS - 10000);
        say(peer, "TP/1.1\r\nHost: a\r\n\r\nGET /hello HT"); /* the end of one and the beginning of the next */
    }
    assert_string_equal(statuses(peer), "200 200 200 200 200");
    assert_closes_after(peer, HEADER_MS);
    assert_string_equal(statuses(peer), "200 200 200 200 200 408");
}

/* Bodies. */

static void body_has_its_time_from_its_last_bytes_on(void **state)
{
    (void)state;
    set_limit("min_body_rate", 0);
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        pass_ms(BODY_MS - 1);
        say(peer, "x");
    }
    assert_closes_after(peer, BODY_MS);
    assert_string_equal(statuses(peer), "408");
}

static void chunked_body_has_its_time_from_its_last_bytes_on(void **state)
{
    (void)state;
    set_limit("min_body_rate", 0);
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        pass_ms(BODY_MS - 1);
        say(peer, "1\r\nx\r\n");
    }
    assert_closes_after(peer, BODY_MS);
    assert_string_equal(statuses(peer), "408");
}

static void body_that_nobody_wants_has_its_time_too(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    reply_held(0, "done\n");
    assert_closes_after(peer, BODY_MS);
    assert_string_equal(statuses(peer), "200"); /* answered already: no 408 behind it */
}

/* Handlers. */

static void handler_without_a_deadline_may_take_as_long_as_it_likes(void **state)
{
    (void)state;
    set_limit("handler_timeout", 0);
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    pass_ms(600000);
    assert_int_equal(held[0].gones, 0);
    reply_held(0, "at last\n");
    assert_string_equal(statuses(peer), "200");
    assert_closes_after(peer, IDLE_MS);
}

static void stream_that_has_nothing_to_say_is_not_timed_out(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    response_begin(held[0].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    response_write(held[0].exchange, "first", 5);
    pass_ms(600000);
    response_write(held[0].exchange, "last", 4);
    response_end(held[0].exchange);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), 9);
}

/* Writing. */

static void client_that_takes_nothing_is_cut(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', sizeof filler);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, GET("/large"));
    assert_closes_after(peer, WRITE_MS);
    assert_true(fake_peer_saw_reset(peer)); /* the kernel keeps nothing for it either */
    assert_true(is_closed(peer));
    assert_int_equal(stats().timeouts, 1);
}

static void client_that_takes_a_little_now_and_then_is_not_cut(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', sizeof filler);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, GET("/large"));
    for (int i = 0; i < 10; i++) {
        pass_ms(WRITE_MS - 1);
        fake_peer_add_room(peer, 1);
        settle();
    }
    assert_closes_after(peer, WRITE_MS);
}

/* It goes on asking but takes no answer. */
static void requests_do_not_keep_a_client_that_takes_nothing(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/hello"));
    pass_ms(WRITE_MS / 2);
    say(peer, GET("/hello"));
    assert_closes_after(peer, WRITE_MS - WRITE_MS / 2);
}

static void stream_whose_client_takes_nothing_is_cut_and_told(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/hold"));
    response_begin(held[0].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    response_write(held[0].exchange, "text", 4);
    settle();
    assert_closes_after(peer, WRITE_MS);
    assert_int_equal(held[0].gones, 1);
}

/* Lingering. */

static void lingering_close_ends_with_the_clients_end(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "BAD\r\n\r\n and more");
    assert_string_equal(statuses(peer), "400");
    assert_true(fake_peer_saw_end(peer)); /* our side is shut, but */
    assert_false(is_closed(peer));
    assert_closes_in_order(peer);
}

static void lingering_close_lasts_two_seconds(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "BAD\r\n\r\n");
    pass_ms(LINGER_MS - 1);
    assert_false(is_closed(peer));
    pass_ms(1);
    assert_true(is_closed(peer));
}

/* It sends in every tick, in that of the deadline too. */
static void lingering_close_is_not_drawn_out_by_a_client_that_goes_on_sending(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "BAD\r\n\r\n");
    for (int ms = 0; ms < LINGER_MS; ms++) {
        assert_false(is_closed(peer));
        fake_sys_advance_ms(1);
        fake_peer_send(peer, filler, 1000);
        settle();
    }
    assert_true(is_closed(peer));
}

/* Now as much as a read takes, now less: how the socket is watched changes once. */
static void lingering_close_costs_no_system_call_for_each_read_but_the_read(void **state)
{
    (void)state;
    static char block[65536];
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "BAD\r\n\r\n");
    fake_sys_clear_trace();
    for (int i = 0; i < 20; i++) {
        fake_peer_send(peer, block, i % 2 == 0 ? sizeof block : 1000);
        settle();
    }
    assert_int_equal(fake_peer_unread(peer), 0);
    assert_in_range(count_epoll_changes(), 0, 1);
}

static void connection_that_nobody_can_watch_the_clock_for_is_closed(void **state)
{
    (void)state;
    scene_begin();
    bool was_refused = false;
    for (uint64_t n = 1; n < 50; n++) {
        fake_mem_fail_after(n, false);
        struct fake_peer *peer = client();
        bool failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        was_refused = was_refused || is_closed(peer);
        assert_true(failed || !is_closed(peer));
        pass_ms(IDLE_MS);
        assert_true(is_closed(peer));
        if (!failed) {
            assert_true(was_refused);
            return;
        }
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(silent_connection_closes_without_a_word),
        SCENE_TEST(idle_time_starts_again_with_each_request),
        SCENE_TEST(activity_does_not_move_the_timer),
        SCENE_TEST(request_that_arrived_together_with_the_deadline_is_answered),
        SCENE_TEST(requests_on_many_connections_that_arrived_together_with_the_deadline_are_answered),
        SCENE_TEST(empty_lines_are_no_request),
        SCENE_TEST(head_has_its_time_from_its_first_byte_on),
        SCENE_TEST(byte_of_a_head_in_the_tick_of_its_deadline_gives_it_no_more_time),
        SCENE_TEST(head_that_is_complete_in_the_tick_of_its_deadline_is_answered),
        SCENE_TEST(each_head_has_its_own_time),
        SCENE_TEST(body_has_its_time_from_its_last_bytes_on),
        SCENE_TEST(chunked_body_has_its_time_from_its_last_bytes_on),
        SCENE_TEST(body_that_nobody_wants_has_its_time_too),
        SCENE_TEST(handler_without_a_deadline_may_take_as_long_as_it_likes),
        SCENE_TEST(stream_that_has_nothing_to_say_is_not_timed_out),
        SCENE_TEST(client_that_takes_nothing_is_cut),
        SCENE_TEST(client_that_takes_a_little_now_and_then_is_not_cut),
        SCENE_TEST(requests_do_not_keep_a_client_that_takes_nothing),
        SCENE_TEST(stream_whose_client_takes_nothing_is_cut_and_told),
        SCENE_TEST(lingering_close_ends_with_the_clients_end),
        SCENE_TEST(lingering_close_lasts_two_seconds),
        SCENE_TEST(lingering_close_is_not_drawn_out_by_a_client_that_goes_on_sending),
        SCENE_TEST(lingering_close_costs_no_system_call_for_each_read_but_the_read),
        SCENE_TEST(connection_that_nobody_can_watch_the_clock_for_is_closed),
    };
    return cmocka_run_group_tests_name("conn_deadline", tests, NULL, NULL);
}
