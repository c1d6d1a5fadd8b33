/* Clients that leave with an orderly end (FIN) while a handler works: when they are taken for gone, what they still
 * get, and whom the end of their side does not concern. */

#include "tests/lib/server_scene.h"

enum { BIG = 300000, QUEUED = 3000 };

static const struct handler hold_half_close = {.serve = serve_held, .half_close = true};
static const struct handler hold_stream = {.serve = serve_held, .body_mode = BODY_STREAM};
static char big[BIG];

/* Begin a stream, queue some of it, and hold it. */
static void serve_begun(struct exchange *exchange, void *ctx)
{
    response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    response_write(exchange, big, QUEUED);
    serve_held(exchange, ctx);
}

static const struct handler begun = {.serve = serve_begun};

static void begin(void)
{
    add_route(METHOD_GET, "/half-close", &hold_half_close);
    add_route(METHOD_POST, "/stream", &hold_stream);
    add_route(METHOD_GET, "/begun", &begun);
    scene_begin();
}

static void assert_gone(struct fake_peer *peer, int gones)
{
    assert_int_equal(held[held_count - 1].gones, gones);
    assert_int_equal(is_closed(peer), gones);
    assert_int_equal(settle(), 0); /* an end that is known does not wake the loop for ever */
}

static void client_that_shuts_its_side_while_a_handler_works_is_gone(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    assert_gone(peer, 0);
    fake_peer_shutdown(peer);
    settle();
    assert_gone(peer, 1);
    assert_int_equal(output_len(peer), 0);
    assert_int_equal(stats().lost, 1);
    assert_non_null(strstr(scene.log_text,
                           "connection lost: the client shut its side while a handler was at work [client 127.0.0.1:"));
}

static void end_that_comes_with_the_request_counts_when_the_handler_returns(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, GET("/hold"));
    fake_peer_shutdown(peer);
    settle();
    assert_int_equal(held_count, 1);
    assert_gone(peer, 1);
}

static void answers_given_at_once_reach_a_client_that_shut_its_side_behind_its_requests(void **state)
{
    (void)state;
    begin();
    tree_add_filled(&scene.tree, "big.bin", 'b', sizeof big);
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    fake_peer_send_text(peer, GET("/hello") GET("/big.bin") GET("/hello"));
    fake_peer_shutdown(peer);
    settle();
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(peer), "200 200 200");
    assert_int_equal(content_len(peer), BIG + 12);
    assert_true(is_closed(peer));
    assert_int_equal(stats().lost, 0);
}

static void answers_before_the_late_one_are_sent_and_those_behind_it_are_not(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, GET("/hello") GET("/hold") GET("/hello"));
    fake_peer_shutdown(peer);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_gone(peer, 1);
}

static void end_is_noticed_behind_pipelined_bytes_that_nobody_reads(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello") GET("/hold"));
    say(peer, GET("/hello") GET("/hello"));
    assert_gone(peer, 0);
    fake_peer_shutdown(peer);
    settle();
    assert_gone(peer, 1);
    assert_string_equal(statuses(peer), "200");
    assert_false(fake_peer_saw_reset(peer)); /* it could take the answer away */
}

static void end_before_the_whole_body_is_noticed_though_the_handler_does_not_read(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, "POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    say(peer, "def");
    assert_gone(peer, 0);
    fake_peer_shutdown(peer);
    settle();
    assert_gone(peer, 1);
}

static void route_for_clients_that_shut_their_side_answers_them_later(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/half-close"));
    say(peer, GET("/hello"));
    fake_peer_shutdown(peer);
    settle();
    assert_gone(peer, 0);
    reply_held(0, "later\n");
    assert_string_equal(statuses(peer), "200 200");
    assert_true(is_closed(peer));
    assert_int_equal(stats().lost, 0);
}

static void option_of_one_route_is_not_that_of_the_next_request(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, GET("/half-close") GET("/hold"));
    fake_peer_shutdown(peer);
    settle();
    assert_gone(peer, 0);
    reply_held(0, "later\n");
    assert_string_equal(statuses(peer), "200");
    assert_gone(peer, 1);
}

/* While bytes wait for the client it is the client that is waited for: one that has left resets them. */
static void stream_that_its_client_has_yet_to_take_goes_on_until_the_handler_is_waited_for(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100);
    say(peer, GET("/begun"));
    fake_peer_shutdown(peer);
    settle();
    assert_gone(peer, 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_gone(peer, 1);
    assert_true(output_len(peer) > QUEUED); /* what was queued has been sent */
}

static void stream_that_waits_for_nothing_but_its_client_is_sent_whole(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/begun"));
    struct exchange *exchange = held[0].exchange;
    fake_peer_shutdown(peer);
    size_t left = BIG - QUEUED;
    while (left > 0) {
        size_t len = left < 20000 ? left : 20000;
        left -= len;
        int verdict = response_write(exchange, big, len);
        int drains = held[0].drains;
        for (int i = 0; verdict == 0 && held[0].drains == drains; i++) {
            assert_true(i < 100);
            fake_peer_add_room(peer, 10000);
            settle();
        }
    }
    held[0].exchange = NULL;
    response_end(exchange);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(held[0].gones, 0);
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), BIG);
}

/* Whatever the handler says when it is told. */
static void on_gone_reply(struct exchange *exchange)
{
    on_held_gone(exchange);
    response_send(exchange, 200, NULL, "in vain\n", 8);
}

static void answer_of_a_handler_that_is_told_is_not_sent(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    held[0].exchange->on_gone = on_gone_reply;
    fake_peer_shutdown(peer);
    settle();
    assert_gone(peer, 1);
    assert_int_equal(output_len(peer), 0);
}

static void watching_for_the_end_costs_no_system_call(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    fake_sys_clear_trace();
    for (int i = 0; i < 3; i++) {
        say(peer, GET("/hello"));
        say(peer, GET("/hold"));
        reply_held(i, "later\n");
    }
    assert_int_equal(fake_sys_count(FAKE_EPOLL_ADD) + fake_sys_count(FAKE_EPOLL_MODIFY), 0);
}

static void clients_that_ask_and_leave_keep_nobody_out(void **state)
{
    (void)state;
    set_limit("max_connections", 4);
    begin();
    for (int i = 0; i < 8; i++) {
        struct fake_peer *peer = client();
        say(peer, GET("/hold"));
        fake_peer_close(peer);
        settle();
    }
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(stats().connections, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(client_that_shuts_its_side_while_a_handler_works_is_gone),
        SCENE_TEST(end_that_comes_with_the_request_counts_when_the_handler_returns),
        SCENE_TEST(answers_given_at_once_reach_a_client_that_shut_its_side_behind_its_requests),
        SCENE_TEST(answers_before_the_late_one_are_sent_and_those_behind_it_are_not),
        SCENE_TEST(end_is_noticed_behind_pipelined_bytes_that_nobody_reads),
        SCENE_TEST(end_before_the_whole_body_is_noticed_though_the_handler_does_not_read),
        SCENE_TEST(route_for_clients_that_shut_their_side_answers_them_later),
        SCENE_TEST(option_of_one_route_is_not_that_of_the_next_request),
        SCENE_TEST(stream_that_its_client_has_yet_to_take_goes_on_until_the_handler_is_waited_for),
        SCENE_TEST(stream_that_waits_for_nothing_but_its_client_is_sent_whole),
        SCENE_TEST(answer_of_a_handler_that_is_told_is_not_sent),
        SCENE_TEST(watching_for_the_end_costs_no_system_call),
        SCENE_TEST(clients_that_ask_and_leave_keep_nobody_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
