/* Listeners that come and go while the server runs, on the fake kernel. Listener 0 is the one of the scene. */

#include "http/response.h"
#include "http/server.h"
#include "tests/lib/server_scene.h"

enum { GRACE_MS = 1000, LOOK_AGAIN_MS = 10000, LINGER_MS_MAX = 2500 };

static const char other[] = "[::1]:8081";

/* Open other as listener 1, held. Returns its fd. */
static int open_other(void)
{
    char err[256];
    assert_int_equal(server_listen(scene.server, other, err, sizeof err), 1);
    server_hold_listeners(scene.server, 1);
    return fake_sys_listener_fd();
}

static void a_listener_is_found_by_its_text_while_it_is_open(void **state)
{
    (void)state;
    scene_begin();
    open_other();
    assert_int_equal(server_count_listeners(scene.server), 2);
    assert_int_equal(server_open_listeners(scene.server), 3);
    assert_int_equal(server_find_listener(scene.server, other, 0), 1);
    assert_int_equal(server_find_listener(scene.server, other, 2), SERVER_NO_LISTENER); /* it is taken */
    assert_int_equal(server_find_listener(scene.server, "127.0.0.1:0", 0), 0);
    assert_int_equal(server_find_listener(scene.server, "127.0.0.1", 0), SERVER_NO_LISTENER);
    assert_string_equal(server_listener_text(scene.server, 1), other);
    assert_null(server_listener_text(scene.server, 2));
    server_settle_listeners(scene.server, 2);
    assert_int_equal(server_find_listener(scene.server, other, 0), SERVER_NO_LISTENER);
    assert_int_equal(server_open_listeners(scene.server), 1);
    assert_int_equal(server_count_listeners(scene.server), 2); /* its number is not used again */
    assert_string_equal(server_listener_text(scene.server, 1), other);
}

static void a_held_listener_accepts_nobody_until_it_is_settled(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *early = fake_peer_connect(open_other());
    say(early, GET("/hello"));
    assert_int_equal(output_len(early), 0);
    server_settle_listeners(scene.server, 0);
    settle();
    assert_string_equal(statuses(early), "200");
}

static void a_dropped_listener_leaves_its_number_to_the_next(void **state)
{
    (void)state;
    scene_begin();
    char err[256];
    open_other();
    server_drop_listeners(scene.server, 1);
    assert_int_equal(server_count_listeners(scene.server), 1);
    assert_int_equal(server_listen(scene.server, "[::1]:8082", err, sizeof err), 1);
    assert_string_equal(server_listener_text(scene.server, 1), "[::1]:8082");
    assert_string_equal(statuses(client()), "");
}

/* What is queued is accepted; kept connections may send the request that is on its way; those of others go on. */
static void connections_of_a_closed_listener_get_one_more_response(void **state)
{
    (void)state;
    scene_begin();
    int fd = open_other();
    server_settle_listeners(scene.server, 0);
    struct fake_peer *stays = client(), *kept = fake_peer_connect(fd), *silent = fake_peer_connect(fd);
    say(stays, GET("/hello"));
    say(kept, GET("/hello"));
    say(silent, GET("/hello"));
    struct fake_peer *queued = fake_peer_connect(fd);
    fake_peer_send_text(queued, GET("/hello"));
    server_settle_listeners(scene.server, 2);
    settle();
    assert_true(output_has(queued, "Connection: close\r\n") && is_closed(queued));
    pass_ms(GRACE_MS - 1);
    assert_false(is_closed(kept) || fake_peer_saw_end(silent));
    say(kept, GET("/hello"));
    assert_string_equal(statuses(kept), "200 200");
    assert_int_equal(count_in_output(kept, "Connection: close\r\n"), 1);
    assert_true(is_closed(kept));
    pass_ms(1);
    assert_true(fake_peer_saw_end(silent));
    assert_string_equal(statuses(silent), "200");
    say(stays, GET("/hello"));
    assert_string_equal(statuses(stays), "200 200");
    assert_false(output_has(stays, "Connection: close\r\n") || is_closed(stays));
    fake_peer_close(silent);
    pass_ms(LINGER_MS_MAX);
    assert_int_equal(stats().connections, 1);
    fake_peer_close(stays);
    settle();
}

static void a_request_under_way_is_finished_first(void **state)
{
    (void)state;
    scene_begin();
    int fd = open_other();
    server_settle_listeners(scene.server, 0);
    struct fake_peer *waits = fake_peer_connect(fd);
    say(waits, GET("/hold"));
    server_settle_listeners(scene.server, 2);
    pass_ms(GRACE_MS);
    assert_false(is_closed(waits));
    reply_held(0, "late");
    assert_string_equal(statuses(waits), "200");
    assert_true(output_has(waits, "Connection: close\r\n") && is_closed(waits));
}

/* Its head has said already that the connection goes on. */
static void a_response_under_way_is_finished_first(void **state)
{
    (void)state;
    scene_begin();
    int fd = open_other();
    server_settle_listeners(scene.server, 0);
    struct fake_peer *reads = fake_peer_connect(fd);
    say(reads, GET("/hold"));
    response_begin(held[0].exchange, 200, "text/plain", 10);
    assert_true(response_write(held[0].exchange, "12345", 5) >= 0);
    settle();
    server_settle_listeners(scene.server, 2);
    pass_ms(GRACE_MS);
    assert_true(response_write(held[0].exchange, "67890", 5) >= 0);
    response_end(held[0].exchange);
    settle();
    assert_string_equal(statuses(reads), "200");
    assert_false(output_has(reads, "Connection: close\r\n") || is_closed(reads) || fake_peer_saw_end(reads));
    pass_ms(LOOK_AGAIN_MS);
    assert_true(fake_peer_saw_end(reads));
}

/* A listener was closed shortly before a stop: connections of others, and its own, have the whole grace of the stop. */
static void a_stop_takes_the_place_of_the_timer(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *idle = client(), *closed = fake_peer_connect(open_other());
    server_settle_listeners(scene.server, 0);
    server_settle_listeners(scene.server, 2);
    pass_ms(GRACE_MS - 1);
    server_drain(scene.server, 10000, NULL, NULL);
    pass_ms(1);
    pass_ms(GRACE_MS - 2);
    assert_false(fake_peer_saw_end(idle) || fake_peer_saw_end(closed));
    say(idle, GET("/hello"));
    assert_string_equal(statuses(idle), "200");
    pass_ms(1);
    assert_true(fake_peer_saw_end(closed));
}

/* Until then, drain_delay for example keeps the connections of open listeners. */
static void a_stop_that_is_announced_ends_no_connection_of_an_open_listener(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *idle = client(), *closed = fake_peer_connect(open_other());
    server_settle_listeners(scene.server, 0);
    server_settle_listeners(scene.server, 2);
    server_announce_stop(scene.server);
    pass_ms(GRACE_MS);
    assert_true(fake_peer_saw_end(closed));
    assert_false(fake_peer_saw_end(idle));
    say(idle, GET("/hello"));
    assert_string_equal(statuses(idle), "200");
}

static void without_a_grace_idle_connections_end_at_once(void **state)
{
    (void)state;
    set_limit("drain_grace", 0);
    scene_begin();
    struct fake_peer *idle = client();
    server_settle_listeners(scene.server, 1);
    settle();
    assert_true(fake_peer_saw_end(idle));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(a_listener_is_found_by_its_text_while_it_is_open),
        SCENE_TEST(a_held_listener_accepts_nobody_until_it_is_settled),
        SCENE_TEST(a_dropped_listener_leaves_its_number_to_the_next),
        SCENE_TEST(connections_of_a_closed_listener_get_one_more_response),
        SCENE_TEST(a_request_under_way_is_finished_first),
        SCENE_TEST(a_response_under_way_is_finished_first),
        SCENE_TEST(a_stop_takes_the_place_of_the_timer),
        SCENE_TEST(a_stop_that_is_announced_ends_no_connection_of_an_open_listener),
        SCENE_TEST(without_a_grace_idle_connections_end_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
