/* A route with limits of its own: they hold for its requests, and for nothing before or after them. */

#include "tests/lib/server_scene.h"

static struct limits own; /* of the route under test */
static char long_text[8192];

static const struct handler own_echo = {.serve = serve_echo, .body_mode = BODY_WHOLE, .limits = &own};
static const struct handler own_hold = {.serve = serve_held, .limits = &own};

/* The site as it is, and POST /own, GET /own/hold with one limit changed. Called last before the test's own. */
static void begin_with(const char *name, uint64_t value)
{
    char err[256] = "";
    own = scene.site->limits;
    if (limits_set(&own, limits_find(name), value, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    add_route(METHOD_POST, "/own", &own_echo);
    add_route(METHOD_GET, "/own/hold", &own_hold);
    scene_begin();
}

#define POST(path, len) "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: " #len "\r\n\r\n"

static void body_may_be_larger_on_the_route_only(void **state)
{
    (void)state;
    set_limit("max_body", 4);
    begin_with("max_body", 5);
    struct fake_peer *peer = client();
    say(peer, POST("/own", 5) "12345");
    say(peer, POST("/echo", 4) "1234");
    say(peer, POST("/own", 5) "12345" POST("/echo", 5) "12345");
    assert_string_equal(statuses(peer), "200 200 200 413");
    peer = client();
    say(peer, POST("/own", 6) "123456");
    assert_string_equal(statuses(peer), "413");
}

static void body_may_be_smaller_on_the_route_only(void **state)
{
    (void)state;
    begin_with("max_body", 0);
    struct fake_peer *peer = client();
    say(peer, POST("/echo", 1) "1" POST("/own", 0) POST("/own", 1) "1");
    assert_string_equal(statuses(peer), "200 200 413");
}

static void chunked_body_is_held_to_the_limit_of_the_route(void **state)
{
    (void)state;
    set_limit("max_body", 4);
    begin_with("max_body", 5);
    static const char head[] = "POST /own HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    struct fake_peer *peer = client();
    say(peer, head);
    say(peer, "5\r\n12345\r\n0\r\n\r\n");
    say(peer, head);
    say(peer, "5\r\n12345\r\n1\r\n6\r\n0\r\n\r\n");
    assert_string_equal(statuses(peer), "200 413");
}

static void body_of_the_route_has_its_own_time(void **state)
{
    (void)state;
    set_limit("min_body_rate", 0);
    begin_with("body_timeout", 500);
    struct fake_peer *slow = client();
    struct fake_peer *other = client();
    say(slow, POST("/own", 2) "1");
    say(other, POST("/echo", 2) "1");
    pass_ms(499);
    assert_string_equal(statuses(slow), "");
    pass_ms(1);
    assert_string_equal(statuses(slow), "408");
    assert_string_equal(statuses(other), "");
}

static void answer_of_the_route_has_its_own_time(void **state)
{
    (void)state;
    begin_with("write_timeout", 500);
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100);
    say(peer, GET("/own/hold"));
    struct exchange *exchange = held[0].exchange;
    response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    response_write(exchange, long_text, sizeof long_text);
    settle();
    pass_ms(499);
    assert_false(is_closed(peer));
    pass_ms(1);
    assert_true(is_closed(peer));
    assert_int_equal(held[0].gones, 1);
}

static void stream_of_the_route_has_its_own_mark(void **state)
{
    (void)state;
    begin_with("write_high_mark", 1024);
    struct fake_peer *peer = client();
    say(peer, GET("/own/hold") GET("/hold"));
    struct exchange *exchange = held[0].exchange;
    response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(exchange, long_text, 1100), 0);
    response_end(exchange);
    settle();
    exchange = held[1].exchange;
    response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(exchange, long_text, 1100), 1);
    response_end(exchange);
    settle();
    assert_string_equal(statuses(peer), "200 200");
}

static void stream_of_the_route_has_its_own_cap(void **state)
{
    (void)state;
    set_limit("write_high_mark", 4096);
    begin_with("write_cap", 4096);
    struct fake_peer *peer = client();
    say(peer, GET("/own/hold"));
    struct exchange *exchange = held[0].exchange;
    response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(exchange, long_text, 4097), -1);
    settle();
    assert_true(is_closed(peer));
}

/* Answers that wait for their client count against the queue of the connection: a route with a small cap would be cut
 * for what others wrote. */
static void answers_before_do_not_count_against_a_small_cap(void **state)
{
    (void)state;
    static const struct handler fill = {.serve = serve_text, .ctx = long_text};
    memset(long_text, 'x', sizeof long_text - 1);
    add_route(METHOD_GET, "/fill", &fill);
    begin_with("write_high_mark", 1024);
    own.write_cap_bytes = 4096;
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, GET("/fill") GET("/own/hold"));
    assert_int_equal(held_count, 0); /* not before there is room */
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(held_count, 1);
    struct exchange *exchange = held[0].exchange;
    response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    assert_true(response_write(exchange, long_text, 3000) >= 0);
    response_end(exchange);
    settle();
    assert_string_equal(statuses(peer), "200 200");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SCENE_TEST(body_may_be_larger_on_the_route_only),
        SCENE_TEST(body_may_be_smaller_on_the_route_only),
        SCENE_TEST(chunked_body_is_held_to_the_limit_of_the_route),
        SCENE_TEST(body_of_the_route_has_its_own_time),
        SCENE_TEST(answer_of_the_route_has_its_own_time),
        SCENE_TEST(stream_of_the_route_has_its_own_mark),
        SCENE_TEST(stream_of_the_route_has_its_own_cap),
        SCENE_TEST(answers_before_do_not_count_against_a_small_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
