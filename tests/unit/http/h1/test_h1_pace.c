/* http/h1/h1_pace.c: rate_limit, on the fake clock: how fast files, borrowed memory, copied content and streams leave,
 * and that nobody is cut, or waits for the next request, because of it. */

#include "tests/lib/server_scene.h"

enum { RATE = 100000, QUANTUM = RATE / 10, TENTH_MS = 100, FILE_BYTES = 400000, HEAD_MAX = 400 };

static char content[FILE_BYTES];

static void serve_content(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 200, "text/plain", content, 50000);
}

static void serve_own_rate(struct exchange *exchange, void *ctx)
{
    response_set_rate(exchange, *(const uint64_t *)ctx);
    response_send(exchange, 200, "text/plain", content, 50000);
}

static const struct handler copied = {.serve = serve_content};

static void begin_paced(uint64_t rate)
{
    tree_add_filled(&scene.tree, "large", 'l', FILE_BYTES);
    set_limit("rate_limit", rate);
    memset(content, 'c', sizeof content);
    add_route(METHOD_GET, "/copied", &copied);
    scene_begin();
}

/* So many bytes have come, one way or the other: what is due, or a millisecond's worth less. */
static void assert_near(const struct fake_peer *peer, size_t expected, size_t rate)
{
    size_t len = output_len(peer);
    if (len > expected || len + rate / 1000 + 1 < expected) {
        fail_msg("%zu bytes came, and not %zu", len, expected);
    }
}

static void a_response_is_sent_no_faster_than_its_rate(void **state)
{
    static const char *const requests[] = {GET("/large"), GET("/copied")};
    (void)state;
    begin_paced(RATE);
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct fake_peer *peer = client();
        say(peer, requests[i]);
        assert_near(peer, QUANTUM, RATE); /* at once */
        for (size_t tenth = 1; tenth <= 4; tenth++) {
            pass_ms(TENTH_MS - 2);
            assert_near(peer, tenth * QUANTUM, RATE);
            pass_ms(2);
            assert_near(peer, (tenth + 1) * QUANTUM, RATE);
        }
        pass_ms(5000);
        assert_string_equal(statuses(peer), "200");
        assert_false(is_closed(peer));
    }
}

static void the_whole_takes_the_time_that_the_rate_says(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client();
    say(peer, GET("/large"));
    int64_t took_ms = 0;
    while (content_len(peer) < FILE_BYTES && took_ms < 100000) {
        pass_ms(1);
        took_ms++;
    }
    assert_in_range(took_ms, FILE_BYTES * 1000 / RATE - TENTH_MS, FILE_BYTES * 1000 / RATE + TENTH_MS);
}

static void a_timer_that_comes_late_does_not_make_it_slower(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client();
    say(peer, GET("/large"));
    for (int i = 0; i < 10; i++) {
        fake_sys_advance_ms(TENTH_MS * 3 / 2);
        settle();
        settle();
    }
    assert_near(peer, 15 * QUANTUM + QUANTUM, 50 * RATE);
}

static void what_a_stalled_loop_has_missed_is_not_made_up_for(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client();
    say(peer, GET("/large"));
    fake_sys_advance_ms(60000);
    settle();
    assert_true(output_len(peer) <= 4 * QUANTUM);
}

static void a_client_that_takes_its_time_is_cut_as_ever_and_another_one_is_not(void **state)
{
    (void)state;
    set_limit("write_timeout", 1000);
    begin_paced(1000); /* 1,000 bytes a second */
    struct fake_peer *slow = client(), *willing = client();
    fake_peer_set_room(slow, 10);
    say(slow, GET("/large"));
    say(willing, GET("/large"));
    pass_ms(2500);
    assert_true(is_closed(slow));
    pass_ms(30000);
    assert_false(is_closed(willing));
    assert_near(willing, 33000 / 1000 * 1000, 1000 * 1000);
}

static void a_slow_client_and_a_rate_get_along(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 15000);
    say(peer, GET("/large"));
    pass_ms(1000);
    assert_int_equal(output_len(peer), 15000);
    for (int i = 0; i < 200 && content_len(peer) < FILE_BYTES; i++) {
        fake_peer_add_room(peer, 3000);
        pass_ms(TENTH_MS);
    }
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), FILE_BYTES);
}

static void the_next_request_waits_for_the_end_of_the_response(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client();
    say(peer, GET("/copied") GET("/hello") GET_CLOSE("/copied"));
    pass_ms(300);
    assert_false(output_has(peer, "hello"));
    pass_ms(200);
    assert_true(output_has(peer, "hello"));
    pass_ms(1000);
    assert_string_equal(statuses(peer), "200 200 200");
    assert_closes_in_order(peer);
}

static void a_held_response_costs_nothing_between_its_quanta(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client();
    say(peer, GET("/large"));
    for (int i = 1; i < TENTH_MS; i++) {
        fake_sys_advance_ms(1);
        if (i < TENTH_MS - 2) {
            assert_int_equal(settle(), 0);
        }
    }
}

static void streams_are_paced(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    struct exchange *exchange = held[0].exchange;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(exchange, content, 30000), 1);
    settle();
    assert_near(peer, QUANTUM, RATE);
    pass_ms(TENTH_MS);
    assert_near(peer, 2 * QUANTUM, RATE);
    pass_ms(10000); /* the stream has nothing to send for a while, which gives it no more than a little */
    assert_true(output_len(peer) > 30000);
    size_t before = output_len(peer);
    assert_int_equal(response_write(exchange, content, 60000), 1);
    settle();
    assert_true(output_len(peer) - before <= 2 * QUANTUM);
    response_end(exchange);
    held[0].exchange = NULL;
    pass_ms(1000);
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(content_len(peer), 90000);
}

static void a_stream_hears_when_there_is_room(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    struct exchange *exchange = held[0].exchange;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(exchange, content, 100000), 0);
    settle();
    assert_int_equal(held[0].drains, 0);
    pass_ms(1000);
    assert_int_equal(held[0].drains, 1);
    response_end(exchange);
    held[0].exchange = NULL;
    pass_ms(1000);
    assert_int_equal(content_len(peer), 100000);
}

static void a_route_has_a_rate_of_its_own(void **state)
{
    (void)state;
    struct limits fast, slow;
    limits_init(&fast);
    limits_init(&slow);
    slow.rate_limit_bytes = RATE / 2;
    const struct handler at_once = {.serve = serve_content, .limits = &fast};
    const struct handler slowly = {.serve = serve_content, .limits = &slow};
    add_route(METHOD_GET, "/at-once", &at_once);
    add_route(METHOD_GET, "/slowly", &slowly);
    begin_paced(RATE);
    struct fake_peer *peer = client(), *other = client();
    say(peer, GET("/at-once"));
    assert_int_equal(content_len(peer), 50000);
    say(other, GET("/slowly"));
    assert_near(other, QUANTUM / 2, RATE / 2);
    pass_ms(1000);
    assert_int_equal(content_len(other), 50000);
}

static void a_handler_sets_the_rate_of_its_response(void **state)
{
    (void)state;
    uint64_t none = 0, some = RATE / 2;
    const struct handler at_once = {.serve = serve_own_rate, .ctx = &none};
    const struct handler slowly = {.serve = serve_own_rate, .ctx = &some};
    add_route(METHOD_GET, "/at-once", &at_once);
    add_route(METHOD_GET, "/slowly", &slowly);
    begin_paced(RATE);
    struct fake_peer *peer = client(), *other = client();
    say(peer, GET("/at-once") GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
    say(other, GET("/slowly"));
    assert_near(other, QUANTUM / 2, RATE / 2);
    pass_ms(1000);
    assert_int_equal(content_len(other), 50000);
}

static void the_least_and_the_greatest_rate_work(void **state)
{
    (void)state;
    struct limits least, greatest;
    limits_init(&least);
    limits_init(&greatest);
    least.rate_limit_bytes = 1;
    greatest.rate_limit_bytes = 1 << 30;
    const struct handler slowly = {.serve = serve_content, .limits = &least};
    const struct handler quickly = {.serve = serve_content, .limits = &greatest};
    add_route(METHOD_GET, "/slowly", &slowly);
    add_route(METHOD_GET, "/quickly", &quickly);
    begin_paced(1 << 30);
    struct fake_peer *peer = client(), *other = client(), *third = client();
    say(peer, GET("/quickly"));
    assert_int_equal(content_len(peer), 50000);
    say(third, GET("/large"));
    pass_ms(2);
    assert_int_equal(content_len(third), FILE_BYTES);
    say(other, GET("/slowly"));
    assert_int_equal(output_len(other), 1);
    pass_ms(60000);
    assert_in_range(output_len(other), 60, 61);
    assert_false(is_closed(other));
}

static void a_client_that_leaves_while_its_response_is_held_is_noticed(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client(), *other = client();
    say(peer, GET("/large"));
    say(other, GET("/large"));
    fake_peer_reset(peer, ECONNRESET);
    fake_peer_close(other);
    settle();
    assert_true(is_closed(peer));
    pass_ms(2 * TENTH_MS);
    assert_int_equal(stats().connections, 0);
}

static void a_stop_waits_for_a_held_response_and_no_longer_than_it_may(void **state)
{
    (void)state;
    begin_paced(RATE);
    struct fake_peer *peer = client(), *other = client();
    say(peer, GET("/copied"));
    say(other, GET("/large"));
    server_drain(scene.server, 1000, NULL, NULL);
    settle();
    pass_ms(900);
    assert_string_equal(statuses(peer), "200");
    pass_ms(200);
    assert_true(is_closed(other));
    assert_true(output_len(other) < FILE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(a_response_is_sent_no_faster_than_its_rate),
        SCENE_TEST(the_whole_takes_the_time_that_the_rate_says),
        SCENE_TEST(a_timer_that_comes_late_does_not_make_it_slower),
        SCENE_TEST(what_a_stalled_loop_has_missed_is_not_made_up_for),
        SCENE_TEST(a_client_that_takes_its_time_is_cut_as_ever_and_another_one_is_not),
        SCENE_TEST(a_slow_client_and_a_rate_get_along),
        SCENE_TEST(the_next_request_waits_for_the_end_of_the_response),
        SCENE_TEST(a_held_response_costs_nothing_between_its_quanta),
        SCENE_TEST(streams_are_paced),
        SCENE_TEST(a_stream_hears_when_there_is_room),
        SCENE_TEST(a_route_has_a_rate_of_its_own),
        SCENE_TEST(a_handler_sets_the_rate_of_its_response),
        SCENE_TEST(the_least_and_the_greatest_rate_work),
        SCENE_TEST(a_client_that_leaves_while_its_response_is_held_is_noticed),
        SCENE_TEST(a_stop_waits_for_a_held_response_and_no_longer_than_it_may),
    };
    return cmocka_run_group_tests_name("h1_pace", tests, NULL, NULL);
}
