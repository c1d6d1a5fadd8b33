/* Answers that end too early: whatever marks their end, the client can tell. */

#include "tests/lib/server_scene.h"

/* A request whose answer is begun, and has content so far. */
static struct fake_peer *begin(const char *request, int64_t length)
{
    scene_begin();
    struct fake_peer *peer = client();
    say(peer, request);
    response_begin(held[0].exchange, 200, "text/plain", length);
    response_write(held[0].exchange, "so far", 6);
    settle();
    assert_true(output_has(peer, "so far"));
    return peer;
}

#define HTTP_1_0 "GET /hold HTTP/1.0\r\n\r\n"

static void answer_that_ends_with_the_connection_is_cut_with_a_reset(void **state)
{
    (void)state;
    struct fake_peer *peer = begin(HTTP_1_0, RESPONSE_LENGTH_UNKNOWN);
    response_abort(held[0].exchange);
    settle();
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_reset(peer));
}

static void and_closed_in_order_when_it_is_whole(void **state)
{
    (void)state;
    struct fake_peer *peer = begin(HTTP_1_0, RESPONSE_LENGTH_UNKNOWN);
    response_end(held[0].exchange);
    settle();
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
    assert_string_equal(statuses(peer), "200");
}

static void and_cut_with_a_reset_when_its_end_cannot_be_sent(void **state)
{
    (void)state;
    set_limit("write_timeout", 1000);
    struct fake_peer *peer = begin(HTTP_1_0, RESPONSE_LENGTH_UNKNOWN);
    fake_peer_set_room(peer, 0);
    response_write(held[0].exchange, "the rest", 8);
    response_end(held[0].exchange);
    settle();
    assert_false(is_closed(peer));
    pass_ms(2000);
    assert_true(is_closed(peer));
    assert_true(fake_peer_saw_reset(peer));
}

static void and_cut_with_a_reset_when_the_server_ends(void **state)
{
    (void)state;
    struct fake_peer *peer = begin(HTTP_1_0, RESPONSE_LENGTH_UNKNOWN);
    server_destroy(scene.server);
    scene.server = NULL;
    assert_true(fake_peer_saw_reset(peer));
}

static void answers_with_a_length_or_in_chunks_end_without_their_end(void **state)
{
    (void)state;
    struct fake_peer *peer = begin(GET("/hold"), RESPONSE_LENGTH_UNKNOWN);
    response_abort(held[0].exchange);
    settle();
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
    assert_false(output_has(peer, "0\r\n\r\n"));
}

static void the_next_connection_is_not_reset_for_it(void **state)
{
    (void)state;
    struct fake_peer *peer = begin(HTTP_1_0, RESPONSE_LENGTH_UNKNOWN);
    response_end(held[0].exchange);
    settle();
    peer = client();
    say(peer, GET("/hold"));
    fake_peer_close(peer); /* its exchange is the same memory */
    settle();
    peer = client();
    say(peer, GET_CLOSE("/hello"));
    assert_true(is_closed(peer));
    assert_false(fake_peer_saw_reset(peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(answer_that_ends_with_the_connection_is_cut_with_a_reset),
        SCENE_TEST(and_closed_in_order_when_it_is_whole),
        SCENE_TEST(and_cut_with_a_reset_when_its_end_cannot_be_sent),
        SCENE_TEST(and_cut_with_a_reset_when_the_server_ends),
        SCENE_TEST(answers_with_a_length_or_in_chunks_end_without_their_end),
        SCENE_TEST(the_next_connection_is_not_reset_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
