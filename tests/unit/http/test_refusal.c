/* Handlers for refusals: what they are called for, once at most, and that the connection goes on as if the server had
 * responded itself. */

#include "tests/lib/server_scene.h"

enum { SHORT_MS = 2000 };

static int refusals; /* calls of the handler below */

static void serve_refusal(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    char text[64];
    refusals++;
    int len = snprintf(text, sizeof text, "refused with %d\n", exchange->refusal);
    response_send(exchange, exchange->refusal, "text/plain", text, (size_t)len);
}

static const struct handler refuse_now = {.serve = serve_refusal, .body_mode = BODY_STREAM};
static const struct handler refuse_later = {.serve = serve_held, .body_mode = BODY_STREAM};
static const struct handler kept = {.serve = serve_held, .body_mode = BODY_STREAM, .refusals = &refuse_now};
static const struct handler kept_twice = {.serve = serve_held, .body_mode = BODY_STREAM, .refusals = &refuse_later};

static void begin(const struct handler *no_route)
{
    refusals = 0;
    scene.site->default_host.no_route = no_route;
    set_limit("handler_timeout", SHORT_MS);
    set_limit("max_body", 100);
    add_route(METHOD_POST, "/kept", &kept);
    add_route(METHOD_GET, "/kept-twice", &kept_twice);
    scene_begin();
}

static void no_route_and_wrong_methods_and_options_go_to_the_host(void **state)
{
    (void)state;
    begin(&refuse_now);
    struct fake_peer *peer = client();
    say(peer, GET("/none") GET("/kept") "OPTIONS /kept HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"));
    assert_string_equal(statuses(peer), "404 405 204 200");
    assert_true(output_has(peer, "refused with 405"));
    assert_int_equal(refusals, 3);
}

static void it_may_respond_later_and_the_body_is_out_of_the_way(void **state)
{
    (void)state;
    begin(&refuse_later);
    struct fake_peer *peer = client();
    say(peer, "PUT /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde" GET("/hello"));
    assert_string_equal(statuses(peer), "");
    assert_int_equal(held[0].exchange->refusal, 405);
    reply_held(0, "later\n");
    assert_string_equal(statuses(peer), "200 200");
}

static void an_announced_body_that_is_too_long(void **state)
{
    (void)state;
    begin(NULL);
    struct fake_peer *peer = client();
    say(peer, "POST /kept HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n");
    assert_string_equal(statuses(peer), "413");
    assert_int_equal(refusals, 1);
    assert_closes_in_order(peer);
    peer = client();
    say(peer, "POST /kept HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    assert_int_equal(held_count, 1);
    fake_peer_close(peer);
    settle();
    assert_int_equal(refusals, 1);
}

static void a_handler_that_is_late_and_one_that_is_late_again(void **state)
{
    (void)state;
    begin(NULL);
    struct fake_peer *peer = client();
    say(peer, "POST /kept HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    pass_ms(SHORT_MS);
    assert_int_equal(held[0].gones, 1);
    assert_string_equal(statuses(peer), "503");
    assert_true(output_has(peer, "refused with 503"));
    say(peer, GET("/kept-twice"));
    pass_ms(SHORT_MS);
    assert_int_equal(held_count, 3);
    assert_string_equal(statuses(peer), "503");
    pass_ms(SHORT_MS - 1);
    assert_int_equal(held[2].gones, 0);
    pass_ms(1);
    assert_int_equal(held[2].gones, 1);
    assert_string_equal(statuses(peer), "503 503");
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "503 503 200");
}

static void files_that_are_not_there(void **state)
{
    (void)state;
    begin(&refuse_now);
    struct fake_peer *peer = client();
    say(peer, GET("/none.txt") "DELETE /index.html HTTP/1.1\r\nHost: a\r\n\r\n"
                               "OPTIONS /index.html HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"));
    assert_string_equal(statuses(peer), "404 405 204 200");
    assert_int_equal(refusals, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(no_route_and_wrong_methods_and_options_go_to_the_host),
        SCENE_TEST(it_may_respond_later_and_the_body_is_out_of_the_way),
        SCENE_TEST(an_announced_body_that_is_too_long),
        SCENE_TEST(a_handler_that_is_late_and_one_that_is_late_again),
        SCENE_TEST(files_that_are_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
