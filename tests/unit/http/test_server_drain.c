/* Stopping, on the fake kernel: what has arrived, what arrives for a moment, and what the deadline cuts. */

#include "core/net.h"
#include "tests/lib/server_scene.h"

#include <unistd.h>

enum { GRACE_MS = 1000, IDLE_LINGER_MS = 200 };

static int drained_calls;
static unsigned drained_cut;

static void on_drained(void *arg, unsigned cut)
{
    assert_ptr_equal(arg, &scene);
    drained_calls++;
    drained_cut = cut;
}

static void drain(uint32_t ms)
{
    int before = drained_calls;
    server_drain(scene.server, ms, on_drained, &scene);
    assert_int_equal(drained_calls, before); /* never before it returns */
    settle();
}

static void assert_drained(unsigned cut)
{
    assert_int_equal(drained_calls, 1);
    assert_int_equal(drained_cut, cut);
    assert_int_equal(stats().connections, 0);
}

static int set_up(void **state)
{
    drained_calls = 0;
    drained_cut = 0;
    return scene_set_up(state);
}

#define DRAIN_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, scene_tear_down)

static void server_without_connections_is_drained_in_the_next_tick(void **state)
{
    (void)state;
    scene_begin();
    drain(1000);
    assert_drained(0);
    pass_ms(5000);
    assert_int_equal(drained_calls, 1);
}

static void idle_connections_may_send_a_request_for_a_moment(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *fresh = client(), *silent = client();
    struct fake_peer *kept = client(), *unused = client();
    say(kept, GET("/hello"));
    say(unused, GET("/hello") "\r\n");
    drain(10000);
    pass_ms(GRACE_MS - 1);
    assert_false(is_closed(fresh) || is_closed(silent) || is_closed(kept) || is_closed(unused));
    say(fresh, GET("/hello"));
    say(kept, GET("/hello"));
    assert_string_equal(statuses(fresh), "200");
    assert_string_equal(statuses(kept), "200 200");
    assert_int_equal(count_in_output(kept, "Connection: close\r\n"), 1);
    assert_true(output_has(fresh, "Connection: close\r\n"));
    assert_true(is_closed(fresh) && is_closed(kept));
    assert_int_equal(drained_calls, 0);
    pass_ms(1);
    assert_true(fake_peer_saw_end(silent) && fake_peer_saw_end(unused));
    fake_peer_close(silent);
    settle();
    assert_true(is_closed(silent));
    assert_false(is_closed(unused)); /* it has not seen its end yet */
    pass_ms(IDLE_LINGER_MS);
    assert_true(is_closed(unused));
    assert_drained(0);
    assert_int_equal(stats().lost + stats().timeouts, 1); /* who did not see it */
}

/* No reset: the client learns that nobody has seen the request, and sends it elsewhere. */
static void request_that_crosses_the_end_of_its_connection_meets_an_end(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    fake_peer_forget_output(peer);
    drain(10000);
    pass_ms(GRACE_MS);
    assert_true(fake_peer_saw_end(peer));
    say(peer, GET("/hello"));
    assert_int_equal(output_len(peer), 0);
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
    assert_drained(0);
}

/* It arrives while the loop is busy, and no event has told of it. */
static void request_that_arrives_with_the_end_of_the_grace_is_answered(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    drain(10000);
    fake_sys_advance_ms(GRACE_MS);
    fake_peer_send_text(peer, GET("/hello"));
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void head_that_has_begun_outlasts_the_grace(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    drain(10000);
    pass_ms(GRACE_MS - 1);
    say(peer, "GET /hello HT");
    pass_ms(5000);
    say(peer, "TP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(statuses(peer), "200");
    assert_drained(0);
}

static void grace_is_not_longer_than_the_time_for_stopping(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    drain(300);
    pass_ms(299);
    assert_false(fake_peer_saw_end(peer));
    pass_ms(1);
    assert_true(fake_peer_saw_end(peer));
    pass_ms(IDLE_LINGER_MS);
    assert_true(is_closed(peer));
    assert_drained(0); /* it had asked for nothing */
}

static void without_a_grace_idle_connections_end_at_once(void **state)
{
    (void)state;
    set_limit("drain_grace", 0);
    scene_begin();
    struct fake_peer *peer = client();
    drain(10000);
    assert_true(fake_peer_saw_end(peer));
    fake_peer_close(peer);
    settle();
    assert_drained(0);
}

static void client_that_connects_before_the_stop_and_sends_after_it_is_answered(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static struct fake_peer *peers[COUNT];
    scene_begin();
    for (int i = 0; i < COUNT; i++) {
        peers[i] = fake_peer_connect(scene.listener_fd); /* in the queue */
    }
    drain(10000);
    for (int i = 0; i < COUNT; i++) {
        pass_ms(1);
        fake_peer_send_text(peers[i], GET("/hello"));
    }
    settle();
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(statuses(peers[i]), "200");
        assert_true(is_closed(peers[i]));
        assert_false(fake_peer_saw_reset(peers[i]));
    }
    assert_drained(0);
}

static void socket_adopted_before_the_stop_is_served(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = fake_peer_create(-1);
    assert_int_equal(server_adopt(scene.server, fake_peer_fd(peer)), 0);
    drain(10000);
    assert_int_equal(drained_calls, 0);
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200");
    assert_drained(0);
}

static void announced_stop_changes_only_what_responses_say(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *kept = client(), *idle = client();
    say(kept, GET("/hello"));
    server_announce_stop(scene.server);
    say(kept, GET("/hello"));
    assert_int_equal(count_in_output(kept, "Connection: close\r\n"), 1);
    assert_true(is_closed(kept));
    pass_ms(5000);
    assert_false(is_closed(idle));
    struct fake_peer *late = client();
    say(late, GET("/hello"));
    assert_string_equal(statuses(late), "200");
    assert_true(output_has(late, "Connection: close\r\n"));
}

static void stop_without_a_deadline_waits_for_the_last_request(void **state)
{
    (void)state;
    set_limit("handler_timeout", 0);
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(SERVER_DRAIN_NEVER);
    pass_ms(86400000);
    assert_false(is_closed(peer));
    reply_held(0, "at last\n");
    assert_string_equal(statuses(peer), "200");
    assert_drained(0);
}

static void log_says_what_the_deadline_cuts(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    scene_begin();
    for (int i = 0; i < 2; i++) {
        struct fake_peer *peer = client();
        fake_peer_set_room(peer, 1000);
        say(peer, GET("/large"));
    }
    say(client(), GET("/hold"));
    client();
    drain(5000);
    pass_ms(5000);
    assert_non_null(strstr(scene.log_text, "connections are cut: "));
    assert_non_null(strstr(scene.log_text, "2 while sending the response"));
    assert_non_null(strstr(scene.log_text, "1 while a handler was at work"));
    assert_non_null(strstr(scene.log_text, "route /hold (): cut, since the server stops [client "));
    assert_null(strstr(scene.log_text, "idle"));
    assert_drained(3);
}

static void listeners_are_closed_at_once(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(1000);
    assert_int_equal(fcntl(scene.listener_fd, F_GETFD), -1);
    assert_false(is_closed(peer));
}

static void request_in_flight_is_finished_and_told_to_be_the_last(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(1000);
    pass_ms(999);
    assert_int_equal(drained_calls, 0);
    reply_held(0, "finished\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void answer_that_is_being_sent_is_sent_to_its_end(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, GET("/large"));
    drain(10000);
    for (int i = 0; i < 100; i++) {
        fake_peer_add_room(peer, 5000);
        pass_ms(10);
    }
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), 300000);
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void body_that_is_being_uploaded_is_read_to_its_end(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    drain(1000);
    assert_false(is_closed(peer));
    pass_ms(500);
    say(peer, "67890");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void unwanted_body_that_is_being_discarded_does_no_harm(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    reply_held(0, "answered\n");
    fake_peer_set_room(peer, 0);
    drain(1000);
    say(peer, "67890 and more");
    assert_string_equal(statuses(peer), "200");
    assert_false(fake_peer_saw_reset(peer));
    fake_peer_shutdown(peer);
    settle();
    assert_drained(0);
}

static void head_that_is_half_there_may_be_completed(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "GET /hello HTTP/1.1\r\n");
    drain(1000);
    assert_false(is_closed(peer));
    say(peer, "Host: a\r\n\r\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_drained(0);
}

/* No event has told of it when the drain begins. */
static void request_that_was_sent_before_the_drain_is_answered(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, GET("/hello"));
    drain(1000);
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
    assert_drained(0);
}

static void empty_line_sent_before_the_drain_is_no_request(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    fake_peer_send_text(peer, "\r\n");
    drain(1000);
    assert_string_equal(statuses(peer), "200");
    pass_ms(GRACE_MS);
    fake_peer_close(peer);
    settle();
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void request_behind_an_answer_that_is_being_sent_is_not_answered_by_a_reset(void **state)
{
    (void)state;
    static char text[2000];
    static const struct handler much = {.serve = serve_text, .ctx = text};
    memset(text, 't', sizeof text - 1);
    add_route(METHOD_GET, "/much", &much);
    set_limit("write_high_mark", 1024);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/much")); /* above the high mark: the next one is not read */
    say(peer, GET("/hello"));
    assert_true(fake_peer_unread(peer) > 0);
    drain(1000);
    assert_false(is_closed(peer));
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_false(fake_peer_saw_reset(peer));
    fake_peer_shutdown(peer);
    settle();
    assert_false(fake_peer_saw_reset(peer));
    assert_drained(0);
}

static void connections_that_wait_in_the_accept_queue_are_served(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static struct fake_peer *peers[COUNT];
    scene_begin();
    for (int i = 0; i < COUNT; i++) {
        peers[i] = fake_peer_connect(scene.listener_fd);
        fake_peer_send_text(peers[i], GET("/hello"));
    }
    drain(1000);
    for (int i = 0; i < COUNT; i++) {
        assert_string_equal(statuses(peers[i]), "200");
        assert_true(is_closed(peers[i]));
        assert_false(fake_peer_saw_reset(peers[i]));
    }
    assert_drained(0);
}

static void pipelined_requests_behind_the_last_one_are_not_answered_by_a_reset(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold") GET("/hello") GET("/hello"));
    drain(1000);
    reply_held(0, "last\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_false(fake_peer_saw_reset(peer));
    fake_peer_shutdown(peer);
    settle();
    assert_drained(0);
}

static void deadline_cuts_what_is_left_and_counts_it(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *held_peers[3];
    for (int i = 0; i < 3; i++) {
        held_peers[i] = client();
        say(held_peers[i], GET("/hold"));
    }
    struct fake_peer *half = client();
    say(half, "GET /hello HTTP/1.1\r\n");
    client(); /* idle */
    drain(1000);
    answer_held(1, "in time\n");
    pass_ms(999);
    assert_int_equal(drained_calls, 0);
    assert_false(is_closed(held_peers[0]));
    pass_ms(1);
    assert_true(is_closed(held_peers[0]) && is_closed(held_peers[2]) && is_closed(half));
    assert_int_equal(held[0].gones, 1);
    assert_int_equal(held[1].gones, 0);
    assert_string_equal(statuses(held_peers[1]), "200");
    assert_drained(3);
}

static void connection_that_has_its_answer_and_lingers_is_not_counted_as_cut(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "BAD\r\n\r\n");
    assert_false(is_closed(peer));
    drain(500);
    pass_ms(500);
    assert_true(is_closed(peer));
    assert_drained(0);
}

static void drain_of_no_time_cuts_in_the_next_tick(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(0);
    assert_true(is_closed(peer));
    assert_drained(1);
}

static void second_drain_sets_a_new_deadline(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(10000);
    pass_ms(100);
    assert_false(is_closed(peer));
    drain(0);
    assert_true(is_closed(peer));
    assert_drained(1);
    pass_ms(20000);
    assert_int_equal(drained_calls, 1);
}

/* Handlers may take as long as they like: somebody has to end it. */
static void server_may_be_destroyed_while_it_drains(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    drain(1000);
    server_destroy(scene.server);
    scene.server = NULL;
    assert_true(is_closed(peer));
    assert_int_equal(held[0].gones, 1);
    pass_ms(2000); /* no deadline is left behind */
    assert_int_equal(drained_calls, 0);
}

static void drain_that_gets_no_timer_cuts_at_once(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_mem_fail_after(1, true);
    while (reactor_set_timeout(scene.reactor, 1 << 30, NULL, NULL) != 0) {
    }
    server_drain(scene.server, 1000, on_drained, &scene);
    fake_mem_fail_after(0, false);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(held[0].gones, 1);
    assert_drained(1);
}

static void server_is_destroyed_with_everything_going_on(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    scene_begin();
    client();
    say(client(), GET("/hold"));
    say(client(), "GET /hel");
    say(client(), "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    say(client(), "BAD\r\n\r\n");
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 10);
    say(peer, GET("/large"));
    server_destroy(scene.server);
    scene.server = NULL;
    assert_int_equal(held[0].gones, 1);
    assert_true(is_closed(peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRAIN_TEST(server_without_connections_is_drained_in_the_next_tick),
        DRAIN_TEST(idle_connections_may_send_a_request_for_a_moment),
        DRAIN_TEST(request_that_crosses_the_end_of_its_connection_meets_an_end),
        DRAIN_TEST(request_that_arrives_with_the_end_of_the_grace_is_answered),
        DRAIN_TEST(head_that_has_begun_outlasts_the_grace),
        DRAIN_TEST(grace_is_not_longer_than_the_time_for_stopping),
        DRAIN_TEST(without_a_grace_idle_connections_end_at_once),
        DRAIN_TEST(client_that_connects_before_the_stop_and_sends_after_it_is_answered),
        DRAIN_TEST(socket_adopted_before_the_stop_is_served),
        DRAIN_TEST(announced_stop_changes_only_what_responses_say),
        DRAIN_TEST(stop_without_a_deadline_waits_for_the_last_request),
        DRAIN_TEST(log_says_what_the_deadline_cuts),
        DRAIN_TEST(listeners_are_closed_at_once),
        DRAIN_TEST(request_in_flight_is_finished_and_told_to_be_the_last),
        DRAIN_TEST(answer_that_is_being_sent_is_sent_to_its_end),
        DRAIN_TEST(body_that_is_being_uploaded_is_read_to_its_end),
        DRAIN_TEST(unwanted_body_that_is_being_discarded_does_no_harm),
        DRAIN_TEST(head_that_is_half_there_may_be_completed),
        DRAIN_TEST(request_that_was_sent_before_the_drain_is_answered),
        DRAIN_TEST(empty_line_sent_before_the_drain_is_no_request),
        DRAIN_TEST(request_behind_an_answer_that_is_being_sent_is_not_answered_by_a_reset),
        DRAIN_TEST(connections_that_wait_in_the_accept_queue_are_served),
        DRAIN_TEST(pipelined_requests_behind_the_last_one_are_not_answered_by_a_reset),
        DRAIN_TEST(deadline_cuts_what_is_left_and_counts_it),
        DRAIN_TEST(connection_that_has_its_answer_and_lingers_is_not_counted_as_cut),
        DRAIN_TEST(drain_of_no_time_cuts_in_the_next_tick),
        DRAIN_TEST(second_drain_sets_a_new_deadline),
        DRAIN_TEST(server_may_be_destroyed_while_it_drains),
        DRAIN_TEST(drain_that_gets_no_timer_cuts_at_once),
        DRAIN_TEST(server_is_destroyed_with_everything_going_on),
    };
    return cmocka_run_group_tests_name("server_drain", tests, NULL, NULL);
}
