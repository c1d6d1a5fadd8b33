/* http/slow_log.c: requests that take longer than log_slow, and what their time was spent on, on the fake kernel. */

#include "tests/lib/server_scene.h"

#include "http/slow_log.h"

#define SLOW_TIMES(reading, handler, waiting, sending)                                                                 \
    "(reading " reading ", handler " handler ", waiting " waiting ", sending " sending ")"

/* A handler that works for as many milliseconds as ctx has, and blocks everybody else. */
static void serve_work(struct exchange *exchange, void *ctx)
{
    fake_sys_spend_ns(*(const int64_t *)ctx * 1000000);
    response_send(exchange, 200, "text/plain", "done", 4);
}

static int64_t work_1000_ms = 1000, work_999_ms = 999;
static struct limits never;
static const struct handler works = {.serve = serve_work, .ctx = &work_1000_ms, .body_mode = BODY_WHOLE};
static const struct handler works_less = {.serve = serve_work, .ctx = &work_999_ms, .body_mode = BODY_WHOLE};
static const struct handler works_quietly = {.serve = serve_work,
                                             .ctx = &work_1000_ms,
                                             .body_mode = BODY_WHOLE,
                                             .limits = &never};

static void begin_slow(uint64_t log_slow_ms)
{
    set_limit("log_slow", log_slow_ms);
    limits_init(&never);
    add_route(METHOD_GET, "/works", &works);
    add_route(METHOD_POST, "/works", &works);
    add_route(METHOD_GET, "/less", &works_less);
    add_route(METHOD_GET, "/quiet", &works_quietly);
    scene.log.level = LOG_WARN;
    scene_begin();
    scene.log_text[0] = '\0';
}

/* What was logged since the last call. */
static const char *take_log(void)
{
    static char text[sizeof scene.log_text];
    memcpy(text, scene.log_text, sizeof text);
    scene.log_text[0] = '\0';
    return text;
}

static void assert_logged(const char *expected)
{
    const char *text = take_log();
    if (strstr(text, expected) == NULL) {
        fail_msg("expected \"%s\", logged \"%s\"", expected, text);
    }
}

static void nothing_is_timed_while_it_is_off(void **state)
{
    (void)state;
    begin_slow(0);
    assert_false(server_service(scene.server)->times_requests);
    struct fake_peer *peer = client();
    say(peer, GET("/works"));
    say(peer, GET("/hold"));
    pass_ms(5000);
    assert_false(held[0].exchange->is_clocked);
    reply_held(0, "late");
    assert_string_equal(take_log(), "");
    assert_closes_in_order(peer);
}

static void a_route_alone_may_have_it(void **state)
{
    (void)state;
    static struct limits own;
    limits_init(&own);
    own.log_slow_ms = 1;
    static const struct handler slow = {.serve = serve_work,
                                        .ctx = &work_1000_ms,
                                        .body_mode = BODY_UNWANTED,
                                        .limits = &own};
    add_route(METHOD_GET, "/own", &slow);
    begin_slow(0);
    struct fake_peer *peer = client();
    say(peer, GET("/works"));
    assert_string_equal(take_log(), "");
    say(peer, GET("/own"));
    assert_logged("slow: GET /own took 1.000 s");
}

static void a_request_that_takes_as_long_as_that_is_slow(void **state)
{
    (void)state;
    begin_slow(1000);
    struct fake_peer *peer = client();
    say(peer, GET("/less"));
    say(peer, GET("/quiet"));
    assert_string_equal(take_log(), "");
    say(peer, GET("/works"));
    assert_logged(
        "slow: GET /works took 1.000 s " SLOW_TIMES("0.000", "1.000", "0.000", "0.000") ", 200, route /works");
}

static void a_host_with_names_is_named(void **state)
{
    (void)state;
    static const struct handler slow = {.serve = serve_work, .ctx = &work_1000_ms, .body_mode = BODY_UNWANTED};
    struct vhost *vhost = NULL;
    char err[256];
    assert_int_equal(site_add_host(scene.site, "", &vhost), 0);
    assert_int_equal(vhosts_add_name(scene.site->hosts, vhost, "one.example", err, sizeof err), 0);
    assert_int_equal(vhosts_add_name(scene.site->hosts, vhost, "*.example", err, sizeof err), 0);
    assert_int_equal(router_add(vhost->router, METHOD_BIT(METHOD_GET), "/x", &slow, "", err, sizeof err), 0);
    assert_int_equal(vhost_set_limit(vhost, limits_find("log_slow"), 1000), 0);
    assert_int_equal(site_settle_hosts(scene.site, err, sizeof err), 0);
    begin_slow(0);
    struct fake_peer *peer = client();
    say(peer, GET("/works"));
    assert_string_equal(take_log(), "");
    say(peer, "GET /x HTTP/1.1\r\nHost: two.example\r\n\r\n");
    assert_logged("slow: GET /x took 1.000 s " SLOW_TIMES("0.000", "1.000", "0.000",
                                                          "0.000") ", 200, route /x, host one.example");
}

/* The first byte of a request begins its time, not that of the connection. */
static void idle_time_does_not_count(void **state)
{
    (void)state;
    begin_slow(1000);
    struct fake_peer *peer = client();
    pass_ms(5000);
    say(peer, GET("/hello"));
    pass_ms(5000);
    say(peer, GET("/hello"));
    assert_string_equal(take_log(), "");
}

static void each_wait_is_counted_where_it_belongs(void **state)
{
    (void)state;
    begin_slow(1000);
    struct fake_peer *peer = client();
    say(peer, "POST /wo");
    pass_ms(300);
    say(peer, "rks HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na");
    pass_ms(200);
    say(peer, "b");
    assert_logged("slow: POST /works took 1.500 s " SLOW_TIMES("0.500", "1.000", "0.000", "0.000") ", 200");
    say(peer, GET("/hold"));
    pass_ms(1250);
    reply_held(0, "late");
    assert_logged("slow: GET /hold took 1.250 s " SLOW_TIMES("0.000", "0.000", "1.250", "0.000") ", 200, route /hold");
}

static void a_client_that_takes_its_time_is_sent_to(void **state)
{
    (void)state;
    begin_slow(1000);
    tree_add_file(&scene.tree, "file.txt", "content");
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 10);
    say(peer, GET("/file.txt"));
    pass_ms(2000);
    assert_string_equal(take_log(), "");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_logged("slow: GET /file.txt took 2.000 s " SLOW_TIMES("0.000", "0.000", "0.000", "2.000") ", 200 [client");
}

static void clients_that_leave_and_those_that_are_cut_are_named_as_such(void **state)
{
    (void)state;
    begin_slow(1000);
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    pass_ms(1500);
    fake_peer_reset(peer, -ECONNRESET);
    settle();
    assert_logged(
        "slow: GET /hold took 1.500 s " SLOW_TIMES("0.000", "0.000", "1.500",
                                                   "0.000") ", no response, the client has left, route /hold");
    set_limit("write_timeout", 2000);
    peer = client();
    fake_peer_set_room(peer, 10);
    say(peer, GET("/hello"));
    pass_ms(2500);
    assert_logged("slow: GET /hello took 2.");
    peer = client();
    say(peer, "GET /hel"); /* a head that never comes has no name */
    pass_ms(1000 + (int64_t)scene.site->limits.header_timeout_ms);
    assert_string_equal(take_log(), "");
}

/* A path is one line, whatever it has, and not longer than needed. */
static void long_and_strange_paths_are_shown_safely(void **state)
{
    (void)state;
    static char request[4096], expected[1200];
    static const struct handler any = {.serve = serve_work, .ctx = &work_1000_ms, .body_mode = BODY_UNWANTED};
    add_route(METHOD_GET, "/any/*rest", &any);
    begin_slow(1000);
    struct fake_peer *peer = client();
    say(peer, GET("/any/a%0Ab%20took%2099?secret=1"));
    assert_logged("slow: GET /any/a%0Ab%20took%2099 took 1.");
    static char name[2000];
    memset(name, 'x', sizeof name - 1);
    snprintf(request, sizeof request, GET("/any/%s"), name);
    say(peer, request);
    snprintf(expected, sizeof expected, "x... took 1.000 s");
    assert_logged(expected);
}

static void pipelined_requests_have_times_of_their_own(void **state)
{
    (void)state;
    begin_slow(1000);
    struct fake_peer *peer = client();
    say(peer, GET("/works") GET("/hello") GET("/less") GET("/works"));
    const char *text = take_log();
    assert_non_null(strstr(text, "GET /works took 1.000 s"));
    assert_null(strstr(text, "/hello"));
    assert_null(strstr(text, "/less"));
    assert_non_null(strstr(strstr(text, "/works took") + 1, "/works took 1.000 s"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(nothing_is_timed_while_it_is_off),
        SCENE_TEST(a_route_alone_may_have_it),
        SCENE_TEST(a_request_that_takes_as_long_as_that_is_slow),
        SCENE_TEST(a_host_with_names_is_named),
        SCENE_TEST(idle_time_does_not_count),
        SCENE_TEST(each_wait_is_counted_where_it_belongs),
        SCENE_TEST(a_client_that_takes_its_time_is_sent_to),
        SCENE_TEST(clients_that_leave_and_those_that_are_cut_are_named_as_such),
        SCENE_TEST(long_and_strange_paths_are_shown_safely),
        SCENE_TEST(pipelined_requests_have_times_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
