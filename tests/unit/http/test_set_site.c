/* http/server.c and http/conn.c: a server goes on to another site while connections are at work. */

#include "tests/lib/server_scene.h"

static struct site *next_site;
static int unpinned; /* how often the first site was told that nobody uses it */
static char other_text[] = "other\n";
static const struct handler other = {.serve = serve_text, .ctx = other_text};

static void on_unpinned(void *arg)
{
    assert_ptr_equal(arg, scene.site);
    assert_int_equal(scene.site->pins, 0);
    unpinned++;
}

static int set_up(void **state)
{
    unpinned = 0;
    int rv = scene_set_up(state);
    return rv < 0 ? rv : site_create(&next_site, &scene.log);
}

static int tear_down(void **state)
{
    server_destroy(scene.server);
    scene.server = NULL;
    site_destroy(next_site);
    return scene_tear_down(state);
}

/* The other site has /hello, with another text, and no other route. */
static void go_on(void)
{
    char err[256] = "";
    assert_int_equal(router_add(next_site->default_host.router, 1U << METHOD_GET, "/hello", &other, "", err,
                                sizeof err),
                     0);
    server_set_site(scene.server, next_site);
    scene.site->on_unpinned = on_unpinned;
    scene.site->on_unpinned_arg = scene.site;
}

static void idle_connection_gets_the_new_site(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    assert_true(output_has(peer, "hello\n"));
    assert_int_equal(scene.site->pins, 0);
    go_on();
    say(peer, GET("/hello"));
    assert_true(output_has(peer, "other\n"));
    say(peer, GET("/hold"));
    assert_string_equal(statuses(peer), "200 200 404");
    assert_int_equal(unpinned, 0); /* it was not in use when it was left */
}

static void request_that_has_begun_finishes_on_the_old_site(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *at_work = client(), *half = client(), *later = client();
    say(at_work, GET("/hold") GET("/hello"));
    say(half, "GET /hello HTTP/1.1\r\nHo");
    assert_int_equal(scene.site->pins, 2);
    go_on();
    say(later, GET("/hello"));
    assert_true(output_has(later, "other\n"));
    assert_int_equal(scene.site->pins, 2);
    say(half, "st: a\r\n\r\n");
    assert_true(output_has(half, "hello\n"));
    assert_int_equal(scene.site->pins, 1);
    assert_int_equal(unpinned, 0);
    reply_held(0, "held\n");
    assert_true(output_has(at_work, "held\n"));
    assert_true(output_has(at_work, "other\n")); /* the one behind it began later */
    assert_int_equal(unpinned, 1);
    assert_int_equal(scene.site->pins, 0);
}

static void request_behind_one_in_flight_gets_the_new_limits(void **state)
{
    (void)state;
    static char request[32768];
    size_t len = (size_t)snprintf(request, sizeof request, "GET /hello HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 150; i++) {
        len += (size_t)snprintf(request + len, sizeof request - len, "X-%d: %d\r\n", i, i);
    }
    snprintf(request + len, sizeof request - len, "\r\n");
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    say(peer, request);
    next_site->limits.max_fields = 200;
    go_on();
    reply_held(0, "held\n");
    assert_string_equal(statuses(peer), "200 200");
    assert_true(output_has(peer, "other\n"));
    struct fake_peer *fresh = client();
    say(fresh, request);
    assert_string_equal(statuses(fresh), "200");
}

/* What the connection gets for the next request was that of one whose client was lost behind a full socket. */
static void request_behind_one_in_flight_is_sent_in_the_same_turn(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold") GET("/hello"));
    go_on();
    struct fake_peer *lost = client();
    fake_peer_set_room(lost, 0);
    say(lost, GET("/hello"));
    fake_peer_reset(lost, 0);
    settle();
    assert_true(is_closed(lost));
    answer_held(0, "held\n");
    run_once(); /* a handler that others have waited behind ends the turn */
    run_once();
    assert_true(output_has(peer, "other\n"));
}

static void without_memory_for_the_new_site_the_connection_is_lost(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold") GET("/hello"));
    go_on();
    answer_held(0, "held\n");
    fake_mem_fail_after(1, true);
    settle();
    fake_mem_fail_after(0, false);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(scene.site->pins, 0);
    struct fake_peer *after = client();
    say(after, GET("/hello"));
    assert_string_equal(statuses(after), "200");
}

static void server_may_end_while_the_old_site_is_in_use(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    go_on();
    server_destroy(scene.server);
    scene.server = NULL;
    assert_int_equal(held[0].gones, 1);
    assert_int_equal(unpinned, 1);
}

static void max_connections_is_that_of_the_new_site(void **state)
{
    (void)state;
    set_limit("max_connections", 1);
    scene_begin();
    struct fake_peer *first = client();
    say(first, GET("/hold"));
    assert_string_equal(statuses(client()), "503");
    next_site->limits.max_connections = 2;
    go_on();
    say(client(), GET("/hello"));
    assert_string_equal(statuses(client()), "");
    assert_int_equal(stats().connections, 2);
    assert_false(is_closed(first));
}

/* Who came before addresses were counted is not counted, and is not missed when it goes. */
static void addresses_are_counted_from_the_site_on_that_asks_for_it(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *before = client();
    next_site->limits.max_connections_per_address = 1;
    go_on();
    struct fake_peer *first = client();
    struct fake_peer *second = client();
    assert_true(is_closed(first)); /* idle: it made room */
    assert_false(is_closed(before));
    fake_peer_close(before);
    fake_peer_close(second);
    settle();
    assert_int_equal(stats().connections, 0);
    assert_int_equal(output_len(client()), 0);
}

static void static_files_are_those_of_the_site(void **state)
{
    (void)state;
    char err[256];
    tree_add_file(&scene.tree, "a.txt", "content");
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, GET("/a.txt"));
    go_on();
    say(peer, GET("/a.txt"));
    assert_int_equal(static_mounts_add(next_site->default_host.mounts, "/", scene.tree.path, NULL, err, sizeof err), 0);
    say(peer, GET("/a.txt"));
    assert_string_equal(statuses(peer), "200 404 200");
}

/* The exchange that a connection gets of the new site was another connection's before. */
static void answer_of_an_earlier_connection_does_not_say_how_this_one_ends(void **state)
{
    (void)state;
    char err[256];
    scene_begin();
    struct fake_peer *peer = client(), *earlier = client();
    say(peer, GET("/hold") GET("/held"));
    go_on();
    assert_int_equal(router_add(next_site->default_host.router, 1U << METHOD_GET, "/held", &hold, "", err, sizeof err),
                     0);
    say(earlier, "GET /held HTTP/1.0\r\n\r\n");
    response_begin(held[1].exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN); /* ended by the close */
    response_end(held[1].exchange);
    settle();
    assert_true(is_closed(earlier));
    reply_held(0, "held\n");
    response_begin(held[2].exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN); /* in chunks */
    response_write(held[2].exchange, "x", 1);
    settle();
    response_abort(held[2].exchange);
    settle();
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer)); /* the missing last chunk tells enough */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(idle_connection_gets_the_new_site),
        TEST(request_that_has_begun_finishes_on_the_old_site),
        TEST(request_behind_one_in_flight_gets_the_new_limits),
        TEST(request_behind_one_in_flight_is_sent_in_the_same_turn),
        TEST(without_memory_for_the_new_site_the_connection_is_lost),
        TEST(server_may_end_while_the_old_site_is_in_use),
        TEST(max_connections_is_that_of_the_new_site),
        TEST(addresses_are_counted_from_the_site_on_that_asks_for_it),
        TEST(static_files_are_those_of_the_site),
        TEST(answer_of_an_earlier_connection_does_not_say_how_this_one_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
