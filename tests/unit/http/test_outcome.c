/* http/outcome.c: what is told of each request when it is over, on the fake kernel. */

#include "tests/lib/server_scene.h"

#include "http/outcome.h"

static char told[8192];     /* a line for each outcome */
static uint64_t told_bytes; /* of all of them */
static int64_t told_us;     /* of the last one */

static const char *name_of(enum outcome_end end)
{
    static const char *const names[] = {[OUTCOME_GONE] = "gone",
                                        [OUTCOME_COMPLETE] = "complete",
                                        [OUTCOME_TIMEOUT] = "timeout",
                                        [OUTCOME_ABORTED] = "aborted",
                                        [OUTCOME_STOPPED] = "stopped"};
    return names[end];
}

static void keep_outcome(void *arg, const struct outcome *outcome)
{
    (void)arg;
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s %s %d %s %s\n", outcome->method, outcome->target, outcome->status,
             outcome->route == NULL ? "-" : outcome->route, name_of(outcome->end));
    told_bytes += outcome->bytes;
    told_us = outcome->duration_us;
    assert_true(outcome->peer[0] != '\0');
}

static void watch_all(void)
{
    const struct server_hooks hooks = {.finished = keep_outcome};
    told[0] = '\0';
    told_bytes = 0;
    scene_begin();
    service_set_hooks(server_service(scene.server), &hooks);
}

/* What was told since the last call. */
static const char *take_told(void)
{
    static char text[sizeof told];
    memcpy(text, told, sizeof text);
    told[0] = '\0';
    return text;
}

static void every_answer_is_told_once_with_its_bytes(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "file.txt", "content");
    watch_all();
    struct fake_peer *peer = client();
    say(peer, GET("/hello?a=1"));
    assert_string_equal(take_told(), "GET /hello?a=1 200 /hello complete\n");
    say(peer, GET("/file.txt"));
    assert_string_equal(take_told(), "GET /file.txt 200 - complete\n");
    say(peer, HEAD("/file.txt") GET("/none") GET("/hello"));
    assert_string_equal(take_told(), "HEAD /file.txt 200 - complete\n"
                                     "GET /none 404 - complete\n"
                                     "GET /hello 200 /hello complete\n");
    say(peer, "PUT /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_string_equal(take_told(), "PUT /hello 405 - complete\n");
    say(peer, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(take_told(), "OPTIONS * 204 - complete\n");
    say(peer, GET("/%zz"));
    assert_string_equal(take_told(), "GET /%zz 400 - complete\n");
    assert_int_equal(told_bytes, output_len(peer));
    assert_closes_in_order(peer);
    assert_string_equal(take_told(), "");
}

static unsigned late_calls; /* of count_late() */

static void count_late(struct exchange *exchange)
{
    (void)exchange;
    late_calls++;
}

static void ask_late(void *arg, const struct outcome *outcome)
{
    (void)arg;
    late_calls = 0;
    outcome->exchange->on_over = count_late;
    outcome->exchange->dues.is_watched = true;
}

static void what_is_asked_for_at_the_end_of_a_request_comes_with_it(void **state)
{
    (void)state;
    const struct server_hooks hooks = {.finished = ask_late};
    scene_begin();
    service_set_hooks(server_service(scene.server), &hooks);
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    assert_int_equal(late_calls, 1);
    say(peer, GET("/hello"));
    assert_int_equal(late_calls, 1);
}

static void heads_that_are_refused_are_told_as_far_as_they_came(void **state)
{
    (void)state;
    static const struct {
        const char *request, *line;
    } cases[] = {
        {"GET /x HTTP/1.1\r\n\r\n", "GET /x 400 - complete\n"},
        {"\r\nGET /x HTTP/3.1\r\n\r\n", "GET /x 505 - complete\n"},
        {"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "BREW /pot 501 - complete\n"},
        {"GET /x\x01 HTTP/1.1\r\n\r\n", "GET  400 - complete\n"},
        {"G\x01T /x HTTP/1.1\r\n\r\n", "  400 - complete\n"},
        {"\x16\x03\x01\x02\x01", "  400 - complete\n"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "POST /echo 413 /echo complete\n"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
         "POST /echo 400 /echo complete\n"},
    };
    watch_all();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = client();
        say(peer, GET("/hello"));
        assert_string_equal(take_told(), "GET /hello 200 /hello complete\n");
        say(peer, cases[i].request);
        assert_string_equal(take_told(), cases[i].line);
        assert_closes_in_order(peer);
    }
    assert_string_equal(take_told(), "");
}

static void long_target_that_is_refused_is_not_told(void **state)
{
    (void)state;
    set_limit("max_request_line", 64);
    watch_all();
    struct fake_peer *peer = client();
    say(peer, "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_string_equal(take_told(), "GET  414 - complete\n");
}

static void connection_without_a_request_is_not_told(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *first = client(), *second = client(), *third = client();
    fake_peer_shutdown(first);
    fake_peer_send_text(second, "GET / HT");
    fake_peer_reset(second, ECONNRESET);
    settle();
    pass_ms(31000); /* idle_timeout */
    assert_true(is_closed(third));
    assert_string_equal(take_told(), "");
}

static void request_is_over_when_the_kernel_has_the_last_byte(void **state)
{
    (void)state;
    enum { SIZE = 300000, ROOM = 100000 };
    tree_add_filled(&scene.tree, "large", 'l', SIZE);
    watch_all();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, ROOM);
    say(peer, GET("/large?some=query"));
    fake_peer_add_room(peer, ROOM);
    settle();
    assert_string_equal(take_told(), "");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(take_told(), "GET /large?some=query 200 - complete\n");
    assert_int_equal(told_bytes, output_len(peer));
}

static void short_answer_at_a_full_socket_is_over_when_it_has_gone(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 10);
    say(peer, GET("/hello") GET("/hello?second"));
    assert_string_equal(take_told(), "");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(take_told(), "GET /hello 200 /hello complete\nGET /hello?second 200 /hello complete\n");
    assert_int_equal(told_bytes, output_len(peer));
    assert_string_equal(statuses(peer), "200 200");
}

static void duration_is_from_the_first_byte_to_the_last(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *peer = client();
    pass_ms(5000); /* does not count */
    say(peer, "GET /hold HTTP/1.1\r\n");
    pass_ms(1000);
    say(peer, "Host: a\r\n\r\n");
    pass_ms(2000);
    reply_held(0, "held");
    assert_string_equal(take_told(), "GET /hold 200 /hold complete\n");
    assert_in_range(told_us, 3000000, 3001000);
}

static void client_that_goes_before_its_answer_is_told(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_peer_reset(peer, ECONNRESET);
    settle();
    assert_string_equal(take_told(), "GET /hold 0 /hold gone\n");
    assert_int_equal(held[0].gones, 1);
}

static void client_that_shuts_its_side_while_its_request_waits_is_told_at_once(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *peer = client();
    say(peer, GET("/hold?x"));
    fake_peer_send_text(peer, "what nobody reads");
    fake_peer_shutdown(peer);
    settle();
    assert_string_equal(take_told(), "GET /hold?x 0 /hold gone\n");
    assert_int_equal(held[0].gones, 1);
    pass_ms(5000);
    assert_true(is_closed(peer));
    assert_string_equal(take_told(), "");
}

static void client_that_goes_in_the_middle_of_an_answer_is_told(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    watch_all();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    fake_peer_reset(peer, ECONNRESET);
    settle();
    assert_string_equal(take_told(), "GET /large 200 - gone\n");
    assert_int_equal(told_bytes, 100000);
}

static void client_that_takes_nothing_is_a_timeout(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    watch_all();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    pass_ms(60000);
    assert_string_equal(take_told(), "GET /large 200 - timeout\n");
}

static void slow_requests_have_their_408(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *head = client(), *body = client();
    say(head, "GET /hello?x HTTP/1.1\r\nHost: a\r\n");
    say(body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    pass_ms(40000);
    assert_string_equal(take_told(), "POST /echo 408 /echo complete\n");
    pass_ms(60000);
    assert_string_equal(take_told(), "GET /hello?x 408 - complete\n");
}

static void late_handlers_have_their_503_and_silent_streams_are_timeouts(void **state)
{
    (void)state;
    set_limit("handler_timeout", 1000);
    set_limit("stream_timeout", 1000);
    watch_all();
    struct fake_peer *peer = client(), *stream = client();
    say(peer, GET("/hold"));
    say(stream, GET("/hold"));
    response_begin(held[1].exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    settle();
    pass_ms(1000);
    const char *lines = take_told();
    assert_non_null(strstr(lines, "GET /hold 503 /hold complete\n"));
    assert_non_null(strstr(lines, "GET /hold 200 /hold timeout\n"));
    say(peer, GET("/hold"));
    fake_peer_close(peer);
    settle();
    assert_string_equal(take_told(), "GET /hold 0 /hold gone\n"); /* the deadline before is not its end */
}

static void answer_that_is_given_up_is_aborted(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    response_begin(held[0].exchange, 200, NULL, 100);
    response_write(held[0].exchange, "abc", 3);
    response_abort(held[0].exchange);
    settle();
    assert_string_equal(take_told(), "GET /hold 200 /hold aborted\n");
    assert_int_equal(told_bytes, output_len(peer));
}

static void file_that_changes_while_it_is_sent_is_aborted(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', 300000);
    watch_all();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, GET("/large"));
    tree_add_filled(&scene.tree, "large", 'x', 150000);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    pass_ms(1000);
    assert_string_equal(take_told(), "GET /large 200 - aborted\n");
}

static void stop_that_waits_no_longer_is_told(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    server_drain(scene.server, 1000, NULL, NULL);
    pass_ms(1100);
    assert_true(is_closed(peer));
    assert_string_equal(take_told(), "GET /hold 0 /hold stopped\n");
}

static void client_that_is_turned_away_is_told(void **state)
{
    (void)state;
    set_limit("max_connections", 1);
    watch_all();
    say(client(), GET("/hold"));
    struct fake_peer *second = fake_peer_connect(scene.listener_fd);
    fake_peer_send_text(second, GET("/hello"));
    settle();
    assert_string_equal(take_told(), "GET /hello 503 - complete\n");
    assert_int_equal(told_bytes, output_len(second));
}

static void body_that_nobody_wants_does_not_hold_the_outcome_up(void **state)
{
    (void)state;
    watch_all();
    struct fake_peer *peer = client();
    say(peer, "PUT /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    assert_string_equal(take_told(), "PUT /hello 405 - complete\n");
    fake_peer_reset(peer, ECONNRESET);
    settle();
    assert_string_equal(take_told(), "");
}

static void without_a_hook_pipelined_answers_go_out_together(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_sys_clear_trace();
    say(peer, GET("/hello") GET("/hello") GET("/hello"));
    assert_int_equal(fake_sys_count(FAKE_SEND), 1);
}

/* on_over: of one exchange. */

static int overs;

static void count_over(struct exchange *exchange)
{
    (void)exchange;
    overs++;
}

static void serve_watched(struct exchange *exchange, void *ctx)
{
    exchange->dues.is_watched = true;
    exchange->on_over = count_over;
    serve_text(exchange, ctx);
}

static const struct handler watched = {.serve = serve_watched, .ctx = hello_text};

static void one_exchange_may_be_watched(void **state)
{
    (void)state;
    add_route(METHOD_GET, "/watched", &watched);
    scene_begin();
    overs = 0;
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 10);
    say(peer, GET("/watched") GET("/hello"));
    assert_int_equal(overs, 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(overs, 1);
    assert_string_equal(statuses(peer), "200 200");
    fake_peer_set_room(peer, 10);
    say(peer, GET("/watched"));
    fake_peer_reset(peer, ECONNRESET);
    settle();
    assert_int_equal(overs, 2);
}

static void memory_that_fails_loses_no_end(void **state)
{
    (void)state;
    add_route(METHOD_GET, "/watched", &watched);
    scene_begin();
    for (uint64_t n = 1; n < 20; n++) {
        overs = 0;
        struct fake_peer *peer = client();
        fake_peer_set_room(peer, 10);
        fake_mem_fail_after(n, true);
        say(peer, GET("/watched"));
        fake_mem_fail_after(0, false);
        fake_peer_set_room(peer, FAKE_NO_LIMIT);
        settle();
        assert_true(overs == 1 || output_len(peer) == 0);
        fake_peer_reset(peer, ECONNRESET);
        settle();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(every_answer_is_told_once_with_its_bytes),
        SCENE_TEST(what_is_asked_for_at_the_end_of_a_request_comes_with_it),
        SCENE_TEST(heads_that_are_refused_are_told_as_far_as_they_came),
        SCENE_TEST(long_target_that_is_refused_is_not_told),
        SCENE_TEST(connection_without_a_request_is_not_told),
        SCENE_TEST(request_is_over_when_the_kernel_has_the_last_byte),
        SCENE_TEST(short_answer_at_a_full_socket_is_over_when_it_has_gone),
        SCENE_TEST(duration_is_from_the_first_byte_to_the_last),
        SCENE_TEST(client_that_goes_before_its_answer_is_told),
        SCENE_TEST(client_that_shuts_its_side_while_its_request_waits_is_told_at_once),
        SCENE_TEST(client_that_goes_in_the_middle_of_an_answer_is_told),
        SCENE_TEST(client_that_takes_nothing_is_a_timeout),
        SCENE_TEST(slow_requests_have_their_408),
        SCENE_TEST(late_handlers_have_their_503_and_silent_streams_are_timeouts),
        SCENE_TEST(answer_that_is_given_up_is_aborted),
        SCENE_TEST(file_that_changes_while_it_is_sent_is_aborted),
        SCENE_TEST(stop_that_waits_no_longer_is_told),
        SCENE_TEST(client_that_is_turned_away_is_told),
        SCENE_TEST(body_that_nobody_wants_does_not_hold_the_outcome_up),
        SCENE_TEST(without_a_hook_pipelined_answers_go_out_together),
        SCENE_TEST(one_exchange_may_be_watched),
        SCENE_TEST(memory_that_fails_loses_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
