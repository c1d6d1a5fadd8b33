/* How long a handler may keep its client waiting, on the fake clock: until its response begins, and between the bytes
 * of one that has begun. What the client reads, what the handler is told, and what does not count. */

#include "tests/lib/server_scene.h"

enum { HANDLER_MS = 300000, SHORT_MS = 2000, STREAM_MS = 3000 };

static const struct handler hold_stream = {.serve = serve_held, .body_mode = BODY_STREAM};
static struct limits own;
static const struct handler hold_own = {.serve = serve_held, .limits = &own};
static char filler[100000];

static void begin(void)
{
    add_route(METHOD_POST, "/stream", &hold_stream);
    add_route(METHOD_GET, "/own", &hold_own);
    scene_begin();
}

/* Nothing happens a moment before ms, and then the handler is told. */
static void assert_gone_after(int n, int64_t ms)
{
    pass_ms(ms - 1);
    assert_int_equal(held[n].gones, 0);
    pass_ms(1);
    assert_int_equal(held[n].gones, 1);
}

static void handler_that_does_not_answer_is_503_after_the_default(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    assert_gone_after(0, HANDLER_MS);
    assert_string_equal(statuses(peer), "503");
    assert_int_equal(stats().timeouts, 1);
    assert_non_null(strstr(scene.log_text, "route /hold (): 503, since its handler did not answer within 300000 ms "
                                           "(handler_timeout) [client 127.0.0.1:"));
}

/* The request is complete, so there is no doubt about what follows it. */
static void connection_goes_on_after_the_503(void **state)
{
    (void)state;
    set_limit("handler_timeout", SHORT_MS);
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold") GET("/hello") GET("/hold"));
    assert_gone_after(0, SHORT_MS);
    assert_string_equal(statuses(peer), "503 200");
    assert_false(is_closed(peer));
    assert_gone_after(1, SHORT_MS);
    assert_string_equal(statuses(peer), "503 200 503");
}

static void zero_waits_for_ever(void **state)
{
    (void)state;
    set_limit("handler_timeout", 0);
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_sys_advance_ms(86400000LL * 100);
    settle();
    assert_int_equal(held[0].gones, 0);
    reply_held(0, "late\n");
    assert_string_equal(statuses(peer), "200");
}

static void limit_of_a_route_is_its_own(void **state)
{
    (void)state;
    limits_init(&own);
    own.handler_timeout_ms = SHORT_MS;
    begin();
    struct fake_peer *peer = client();
    struct fake_peer *other = client();
    say(peer, GET("/own"));
    say(other, GET("/hold"));
    assert_gone_after(0, SHORT_MS);
    assert_int_equal(held[1].gones, 0);
    reply_held(1, "in time\n");
    assert_string_equal(statuses(other), "200");
}

static void answer_in_the_tick_of_the_deadline_is_sent(void **state)
{
    (void)state;
    set_limit("handler_timeout", SHORT_MS);
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_sys_advance_ms(SHORT_MS);
    answer_held(0, "just in time\n");
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(held[0].gones, 0);
    assert_int_equal(stats().timeouts, 0);
}

static void time_in_which_the_handler_waits_for_the_body_does_not_count(void **state)
{
    (void)state;
    const char *data;
    size_t len;
    set_limit("handler_timeout", SHORT_MS);
    begin();
    struct fake_peer *peer = client();
    say(peer, "POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
    struct exchange *exchange = held[0].exchange;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(exchange_read_body(exchange, &data, &len), BODY_WAIT);
        settle();
        pass_ms(5L * SHORT_MS);
        say(peer, "x");
        assert_int_equal(exchange_read_body(exchange, &data, &len), BODY_DATA);
    }
    settle();
    assert_gone_after(0, SHORT_MS);
    assert_string_equal(statuses(peer), "503");
}

static void response_that_has_begun_has_no_deadline_by_default(void **state)
{
    (void)state;
    set_limit("handler_timeout", SHORT_MS);
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    pass_ms(SHORT_MS - 1);
    response_begin(held[0].exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    settle();
    fake_sys_advance_ms(86400000LL * 100);
    settle();
    assert_int_equal(held[0].gones, 0);
    assert_false(is_closed(peer));
    response_end(held[0].exchange);
    settle();
    assert_string_equal(statuses(peer), "200");
}

static void stream_timeout_counts_from_the_last_byte(void **state)
{
    (void)state;
    set_limit("stream_timeout", STREAM_MS);
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    pass_ms(10L * STREAM_MS);
    response_begin(held[0].exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    settle();
    for (int i = 0; i < 5; i++) {
        pass_ms(STREAM_MS - 1);
        assert_int_equal(response_write(held[0].exchange, "x", 1), 1);
        settle();
    }
    assert_gone_after(0, STREAM_MS);
    assert_true(is_closed(peer));
    assert_int_equal(count_in_output(peer, "1\r\nx\r\n"), 5);
    assert_int_equal(count_in_output(peer, "0\r\n\r\n"), 0); /* the client can tell */
    assert_non_null(strstr(scene.log_text, "route /hold (): cut, since its stream wrote nothing for 3000 ms "
                                           "(stream_timeout) [client 127.0.0.1:"));
}

static void time_in_which_the_client_takes_what_was_written_does_not_count(void **state)
{
    (void)state;
    set_limit("stream_timeout", STREAM_MS);
    begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/hold"));
    response_begin(held[0].exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    response_write(held[0].exchange, filler, 20000);
    settle();
    for (int i = 0; i < 30; i++) {
        pass_ms(STREAM_MS / 3);
        fake_peer_add_room(peer, 500);
        settle();
    }
    assert_int_equal(held[0].gones, 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_gone_after(0, STREAM_MS);
}

/* A handler that has not heard of it uses its request while it is told. */
static void on_gone_answer(struct exchange *exchange)
{
    on_held_gone(exchange);
    response_abort(exchange);
}

static void what_the_handler_says_when_it_is_told_changes_nothing(void **state)
{
    (void)state;
    set_limit("handler_timeout", SHORT_MS);
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    held[0].exchange->on_gone = on_gone_answer;
    assert_gone_after(0, SHORT_MS);
    assert_string_equal(statuses(peer), "503");
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "503 200");
}

static void client_that_leaves_in_the_tick_of_the_deadline_is_told_of_once(void **state)
{
    (void)state;
    set_limit("handler_timeout", SHORT_MS);
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_sys_advance_ms(SHORT_MS);
    fake_peer_close(peer);
    settle();
    assert_int_equal(held[0].gones, 1);
    assert_int_equal(stats().connections, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(handler_that_does_not_answer_is_503_after_the_default),
        SCENE_TEST(connection_goes_on_after_the_503),
        SCENE_TEST(zero_waits_for_ever),
        SCENE_TEST(limit_of_a_route_is_its_own),
        SCENE_TEST(answer_in_the_tick_of_the_deadline_is_sent),
        SCENE_TEST(time_in_which_the_handler_waits_for_the_body_does_not_count),
        SCENE_TEST(response_that_has_begun_has_no_deadline_by_default),
        SCENE_TEST(stream_timeout_counts_from_the_last_byte),
        SCENE_TEST(time_in_which_the_client_takes_what_was_written_does_not_count),
        SCENE_TEST(what_the_handler_says_when_it_is_told_changes_nothing),
        SCENE_TEST(client_that_leaves_in_the_tick_of_the_deadline_is_told_of_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
