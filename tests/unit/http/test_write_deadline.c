/* Whether a client takes its response: what it sends does not count, and what the kernel has got rid of does, though
 * the socket has no room yet. On the fake clock and the fake kernel, whose sockets say what the test wants of their
 * queue. */

#include "tests/lib/server_scene.h"

enum { WRITE_MS = 30000, BODY_MS = 30000, FIRST_LOOK_MS = WRITE_MS / 8, LARGE_BYTES = 100000 };

/* A client whose socket is full, with so many bytes in it. */
static struct fake_peer *stuck_client(int unsent)
{
    tree_add_filled(&scene.tree, "large", 'l', LARGE_BYTES);
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    fake_peer_set_unsent(peer, unsent);
    say(peer, GET("/large"));
    assert_false(is_closed(peer));
    return peer;
}

static void assert_cut_after(struct fake_peer *peer, int64_t ms)
{
    pass_ms(ms - 1);
    assert_false(is_closed(peer));
    pass_ms(1);
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_reset(peer));
}

static void client_that_empties_its_socket_slowly_is_not_cut(void **state)
{
    (void)state;
    struct fake_peer *peer = stuck_client(256 << 10);
    for (int taken = 0; taken < 10; taken++) {
        pass_ms(WRITE_MS - 1);
        fake_peer_set_unsent(peer, (256 << 10) - 1 - taken); /* a byte more */
    }
    pass_ms(1);
    assert_false(is_closed(peer));
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(peer), "200");
}

static void client_that_takes_nothing_out_of_its_socket_is_cut(void **state)
{
    (void)state;
    assert_cut_after(stuck_client(256 << 10), WRITE_MS);
}

static void client_that_takes_no_more_is_cut_a_write_timeout_after_it_was_seen_to(void **state)
{
    (void)state;
    struct fake_peer *peer = stuck_client(1000);
    pass_ms(FIRST_LOOK_MS + 1);
    fake_peer_set_unsent(peer, 999);
    pass_ms(WRITE_MS - FIRST_LOOK_MS - 1);
    assert_false(is_closed(peer));
    assert_cut_after(peer, WRITE_MS);
}

/* The loop was in a handler, say, from before the first look until past the deadline, or just before it. */
static void client_is_not_cut_unseen_after_the_loop_was_blocked(void **state)
{
    static const int blocked_ms[] = {WRITE_MS + 5, WRITE_MS - 1};
    (void)state;
    struct fake_peer *peer = stuck_client(256 << 10);
    for (int i = 0; i < 10; i++) {
        fake_sys_advance_ms(blocked_ms[i % 2]);
        settle();
        assert_false(is_closed(peer));
        fake_peer_set_unsent(peer, (256 << 10) - 1 - i); /* a byte more */
        pass_ms(FIRST_LOOK_MS + 1);
        assert_false(is_closed(peer));
        fake_peer_set_room(peer, 1); /* so that the next look is a first one */
        settle();
        fake_peer_set_room(peer, 0);
    }
}

static void client_that_takes_nothing_is_cut_an_eighth_later_after_the_loop_was_blocked(void **state)
{
    (void)state;
    struct fake_peer *peer = stuck_client(256 << 10);
    fake_sys_advance_ms(WRITE_MS + 5);
    settle();
    assert_cut_after(peer, FIRST_LOOK_MS + 1);
}

static void kernel_that_does_not_say_does_not_keep_a_client(void **state)
{
    (void)state;
    fake_sys_fail_op(FAKE_UNSENT_BYTES, 0, FAKE_FOREVER, -ENOTTY);
    assert_cut_after(stuck_client(1000), WRITE_MS);
}

static void client_that_is_willing_costs_no_look_into_its_socket(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "large", 'l', LARGE_BYTES);
    scene_begin();
    struct fake_peer *peer = client();
    for (int i = 0; i < 10; i++) {
        fake_peer_set_room(peer, 1000);
        say(peer, GET("/large"));
        pass_ms(FIRST_LOOK_MS - 100);
        fake_peer_set_room(peer, FAKE_NO_LIMIT);
        settle();
    }
    assert_int_equal(fake_sys_count(FAKE_UNSENT_BYTES), 0);
}

/* Ones that look alike: bytes of another direction are no progress. */

static void body_that_trickles_in_does_not_keep_a_client_that_takes_nothing(void **state)
{
    (void)state;
    scene_begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 10);
    say(peer, GET("/hello") "POST /hold HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    reply_held(0, "done\n"); /* without the body, which is discarded */
    for (int i = 0; i < WRITE_MS / 1000 - 1; i++) {
        pass_ms(1000);
        say(peer, "1\r\nx\r\n");
        assert_false(is_closed(peer));
    }
    pass_ms(1000);
    assert_true(is_closed(peer));
}

/* Wants its body, and writes all the time. */

static struct exchange *streaming;

static void on_streaming_gone(struct exchange *exchange)
{
    (void)exchange;
    streaming = NULL;
}

static void serve_both_ways(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    streaming = exchange;
    exchange->on_gone = on_streaming_gone;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    const char *data;
    size_t len;
    assert_int_equal(exchange_read_body(exchange, &data, &len), BODY_WAIT);
}

static const struct handler both_ways = {.serve = serve_both_ways, .body_mode = BODY_STREAM};

static void response_that_is_taken_does_not_keep_a_body_that_does_not_come(void **state)
{
    (void)state;
    set_limit("min_body_rate", 0);
    add_route(METHOD_POST, "/both", &both_ways);
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, "POST /both HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    for (int i = 0; i < BODY_MS / 1000 - 1; i++) {
        pass_ms(1000);
        assert_non_null(streaming);
        response_write(streaming, "tick", 4);
        settle();
    }
    assert_non_null(streaming);
    pass_ms(1000);
    assert_null(streaming);
    assert_true(is_closed(peer)); /* it is too late for 408 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(client_that_empties_its_socket_slowly_is_not_cut),
        SCENE_TEST(client_that_takes_nothing_out_of_its_socket_is_cut),
        SCENE_TEST(client_that_takes_no_more_is_cut_a_write_timeout_after_it_was_seen_to),
        SCENE_TEST(client_is_not_cut_unseen_after_the_loop_was_blocked),
        SCENE_TEST(client_that_takes_nothing_is_cut_an_eighth_later_after_the_loop_was_blocked),
        SCENE_TEST(kernel_that_does_not_say_does_not_keep_a_client),
        SCENE_TEST(client_that_is_willing_costs_no_look_into_its_socket),
        SCENE_TEST(body_that_trickles_in_does_not_keep_a_client_that_takes_nothing),
        SCENE_TEST(response_that_is_taken_does_not_keep_a_body_that_does_not_come),
    };
    return cmocka_run_group_tests_name("write_deadline", tests, NULL, NULL);
}
