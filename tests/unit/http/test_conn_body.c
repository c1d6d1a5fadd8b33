/* Bodies that handlers take themselves (BODY_STREAM), piece by piece, on the fake kernel: what the handler gets, what
 * stays in the kernel, what its client is told, and whose time it is. */

#include "tests/lib/server_scene.h"

enum {
    BODY_MS = 30000,
    DRAIN_MAX = 262144 /* max_drain */
};

#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define CHUNKED            "Transfer-Encoding: chunked\r\n"

static char taken[400000]; /* what handlers took, NUL-terminated */
static size_t taken_len;
static size_t longest_piece;
static int piece_count, data_count;
static int last_verdict; /* of exchange_read_body() */

static int set_up(void **state)
{
    taken[0] = '\0';
    taken_len = longest_piece = 0;
    piece_count = data_count = last_verdict = 0;
    return scene_set_up(state);
}

#define BODY_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, scene_tear_down)

/* Take one piece. Returns the verdict. */
static int take(struct exchange *exchange)
{
    const char *data = NULL;
    size_t len = 0;
    last_verdict = exchange_read_body(exchange, &data, &len);
    if (last_verdict == BODY_DATA) {
        assert_in_range(len, 1, BODY_PIECE_MAX);
        assert_true(taken_len + len < sizeof taken);
        memcpy(taken + taken_len, data, len);
        taken_len += len;
        taken[taken_len] = '\0';
        piece_count++;
        longest_piece = len > longest_piece ? len : longest_piece;
    }
    return last_verdict;
}

/* Take what there is; answer with it at the end, or with the status. */
static void take_all(struct exchange *exchange)
{
    while (take(exchange) == BODY_DATA) {
    }
    if (last_verdict == BODY_END) {
        response_send(exchange, 200, "text/plain", taken, taken_len);
    } else if (last_verdict < 0) {
        response_error(exchange, -last_verdict, exchange->body_reason);
    }
}

static void on_data_take(struct exchange *exchange)
{
    data_count++;
    take_all(exchange);
}

static void on_taker_gone(struct exchange *exchange)
{
    (void)exchange;
    held[0].gones++;
}

static void serve_take(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    exchange->on_data = on_data_take;
    exchange->on_gone = on_taker_gone;
    take_all(exchange);
}

static void count_data(struct exchange *exchange)
{
    (void)exchange;
    data_count++;
}

/* The test takes the body when it likes. */
static void serve_by_hand(struct exchange *exchange, void *ctx)
{
    serve_held(exchange, ctx);
    exchange->on_data = count_data;
}

static const struct handler taking = {.serve = serve_take, .body_mode = BODY_STREAM};
static const struct handler by_hand = {.serve = serve_by_hand, .body_mode = BODY_STREAM};

static void begin(void)
{
    add_route(METHOD_POST, "/take", &taking);
    add_route(METHOD_GET, "/take", &taking);
    add_route(METHOD_POST, "/hand", &by_hand);
    scene_begin();
}

/* What the handler gets. */

static void body_that_came_with_the_head_is_taken_at_once(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    fake_sys_clear_trace();
    say(peer, POST("/take", "Content-Length: 5\r\n") "hello");
    assert_string_equal(taken, "hello");
    assert_int_equal(piece_count, 1);
    assert_int_equal(data_count, 0);
    assert_string_equal(statuses(peer), "200");
    assert_int_equal(fake_sys_count(FAKE_RECV), 1);
    assert_int_equal(count_epoll_changes(), 0);
}

static void request_without_a_body_is_at_its_end(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/take") POST("/take", "") POST("/take", "Content-Length: 0\r\n"));
    assert_string_equal(statuses(peer), "200 200 200");
    assert_int_equal(piece_count, 0);
    say(peer, POST("/take", CHUNKED) "0\r\n\r\n");
    assert_string_equal(statuses(peer), "200 200 200 200");
    assert_int_equal(piece_count, 0);
}

static void body_that_comes_later_is_told_piece_by_piece(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", "Content-Length: 9\r\n") "one");
    assert_string_equal(taken, "one");
    say(peer, "two");
    say(peer, "six");
    assert_string_equal(taken, "onetwosix");
    assert_int_equal(data_count, 2);
    assert_string_equal(statuses(peer), "200");
}

static void chunks_are_taken_without_their_framing(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", CHUNKED) "3\r\none\r\n4;x=y\r\ntw");
    assert_string_equal(taken, "onetw");
    say(peer, "o!\r\n");
    assert_string_equal(taken, "onetwo!");
    assert_int_equal(data_count, 1);
    say(peer, "0\r\n");
    assert_int_equal(data_count, 1); /* trailers may follow: nothing to tell yet */
    say(peer, "X: y\r\n\r\n");
    assert_int_equal(data_count, 2);
    assert_string_equal(statuses(peer), "200");
}

/* However a request is cut into segments, the handler gets the same bytes, and the next request is found. */
static void every_split_gives_the_same_body(void **state)
{
    (void)state;
    static const char *const requests[] = {
        POST("/take", "Content-Length: 12\r\n") "hello, world" GET("/hello"),
        POST("/take", CHUNKED) "5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\nA: b\r\n\r\n" GET("/hello"),
    };
    begin();
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(requests[i]);
        for (size_t cut = 1; cut < len; cut++) {
            struct fake_peer *peer = client();
            taken_len = 0;
            fake_peer_send_split(peer, requests[i], len, cut);
            settle();
            assert_string_equal(taken, "hello, world");
            assert_string_equal(statuses(peer), "200 200");
            fake_peer_close(peer);
            settle();
        }
    }
}

static char large[400000];

static void pieces_are_at_most_one_read_long(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    memset(large, 'x', sizeof large);
    say(peer, POST("/take", "Content-Length: 300000\r\n"));
    fake_peer_send(peer, large, 300000);
    settle();
    assert_int_equal(taken_len, 300000);
    assert_int_equal(longest_piece, BODY_PIECE_MAX);
    assert_int_equal(piece_count, 5);
    assert_string_equal(statuses(peer), "200");
}

/* Chunks of one byte become one piece, as long as there are any in the input. */
static void small_chunks_are_one_piece(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    size_t used = (size_t)snprintf(large, sizeof large, "%s", POST("/take", CHUNKED));
    for (int i = 0; i < 5000; i++) {
        used += (size_t)snprintf(large + used, sizeof large - used, "1;x\r\n%c\r\n", 'a' + i % 26);
    }
    snprintf(large + used, sizeof large - used, "3\r\nend\r\n0\r\n\r\n" GET("/hello"));
    say(peer, large);
    assert_int_equal(piece_count, 1);
    assert_int_equal(taken_len, 5003);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(taken[i], 'a' + i % 26);
    }
    assert_string_equal(taken + 5000, "end");
    assert_string_equal(statuses(peer), "200 200");
}

static void what_came_before_broken_chunks_is_taken_first(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", CHUNKED) "3\r\none\r\n3\r\ntwo\r\nzz\r\n");
    assert_string_equal(taken, "onetwo");
    assert_int_equal(last_verdict, -400);
    assert_string_equal(statuses(peer), "400");
}

static void piece_that_is_given_back_comes_again(void **state)
{
    (void)state;
    static const char *const requests[] = {
        POST("/hand", "Content-Length: 9\r\n") "onetwosix",
        POST("/hand", CHUNKED) "3\r\none\r\n6\r\ntwosix\r\n0\r\n\r\n",
    };
    begin();
    for (int i = 0; i < 2; i++) {
        const char *data;
        size_t len;
        struct fake_peer *peer = client();
        say(peer, requests[i]);
        struct exchange *exchange = held[i].exchange;
        assert_int_equal(exchange_read_body(exchange, &data, &len), BODY_DATA);
        assert_int_equal(len, 9);
        exchange_unread_body(exchange, 6);
        settle();
        say(client(), POST("/echo", "Content-Length: 3\r\n") "abc"); /* others use the read block */
        assert_int_equal(exchange_read_body(exchange, &data, &len), BODY_DATA);
        assert_int_equal(len, 6);
        assert_memory_equal(data, "twosix", 6);
        exchange_unread_body(exchange, 6);
        reply_held(i, "ok\n");
        say(peer, GET("/hello"));
        assert_string_equal(statuses(peer), "200 200");
    }
}

/* All of it at once. */

static void on_data_collect(struct exchange *exchange)
{
    data_count++;
    last_verdict = exchange_collect_body(exchange);
    if (last_verdict == BODY_END) {
        response_send(exchange, 200, "text/plain", exchange->body, exchange->body_len);
        exchange_forget_body(exchange);
    } else if (last_verdict < 0) {
        response_error(exchange, -last_verdict, NULL);
    }
}

static void serve_collect(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    exchange->on_data = on_data_collect;
    on_data_collect(exchange);
}

static const struct handler collecting = {.serve = serve_collect, .body_mode = BODY_STREAM};

static void body_may_be_collected(void **state)
{
    (void)state;
    static const char *const requests[] = {
        POST("/collect", "") "",
        POST("/collect", "Content-Length: 12\r\n") "hello, world",
        POST("/collect", CHUNKED) "5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\nA: b\r\n\r\n",
    };
    add_route(METHOD_POST, "/collect", &collecting);
    begin();
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(requests[i]);
        for (size_t cut = 1; cut <= len; cut++) {
            struct fake_peer *peer = client();
            uint64_t before = fake_mem_calls();
            fake_peer_send_split(peer, requests[i], len, cut == len ? 0 : cut);
            settle();
            assert_string_equal(statuses(peer), "200");
            assert_int_equal(content_len(peer), i == 0 ? 0 : 12);
            assert_true(i == 0 || output_has(peer, "hello, world"));
            assert_true(cut < len || i == 0 || fake_mem_calls() == before); /* in one piece it is not copied */
            fake_peer_close(peer);
            settle();
        }
    }
}

static void body_that_is_collected_has_its_limit_and_its_faults(void **state)
{
    (void)state;
    set_limit("max_body", 10);
    add_route(METHOD_POST, "/collect", &collecting);
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/collect", CHUNKED) "5\r\n01234\r\n");
    say(peer, "5\r\n56789\r\n0\r\n\r\n");
    assert_string_equal(statuses(peer), "200");
    say(peer, POST("/collect", CHUNKED) "5\r\n01234\r\n");
    say(peer, "6\r\n56789a\r\n0\r\n\r\n");
    assert_string_equal(statuses(peer), "200 413");
    peer = client();
    say(peer, POST("/collect", CHUNKED) "zz");
    assert_string_equal(statuses(peer), "400");
}

static void body_of_http_1_0_is_taken_too(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, "POST /take HTTP/1.0\r\nContent-Length: 6\r\n\r\nabc");
    say(peer, "def");
    assert_string_equal(taken, "abcdef");
    assert_string_equal(statuses(peer), "200");
    assert_true(is_closed(peer));
}

static void end_is_said_again_and_again(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", "Content-Length: 2\r\n") "hi");
    struct exchange *exchange = held[0].exchange;
    assert_int_equal(take(exchange), BODY_DATA);
    assert_int_equal(take(exchange), BODY_END);
    assert_int_equal(take(exchange), BODY_END);
    settle();
    assert_int_equal(data_count, 0);
    reply_held(0, "ok\n");
    assert_string_equal(statuses(peer), "200");
}

/* Back-pressure. */

static void nothing_is_read_that_was_not_asked_for(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    memset(large, 'x', sizeof large);
    say(peer, POST("/hand", "Content-Length: 200000\r\n"));
    fake_sys_clear_trace();
    fake_peer_send(peer, large, 200000);
    settle();
    assert_int_equal(fake_peer_unread(peer), 200000);
    assert_int_equal(fake_sys_count(FAKE_RECV), 0);
    assert_int_equal(count_epoll_changes(), 1); /* no more wake-ups */
    assert_int_equal(settle(), 0);

    struct exchange *exchange = held[0].exchange;
    for (int i = 1; i <= 4; i++) {
        assert_int_equal(take(exchange), BODY_WAIT);
        settle();
        assert_int_equal(data_count, i);
        assert_int_equal(fake_sys_count(FAKE_RECV), i); /* one read, and then it waits to be asked again */
        assert_int_equal(take(exchange), BODY_DATA);
    }
    assert_int_equal(taken_len, 200000);
    assert_int_equal(take(exchange), BODY_END);
    reply_held(0, "ok\n");
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
}

/* Asking twice is asking once. */
static void waiting_handler_is_told_once_for_what_it_asked(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", "Content-Length: 6\r\n"));
    struct exchange *exchange = held[0].exchange;
    assert_int_equal(take(exchange), BODY_WAIT);
    assert_int_equal(take(exchange), BODY_WAIT);
    settle();
    assert_int_equal(data_count, 0);
    say(peer, "abc");
    assert_int_equal(data_count, 1);
    say(peer, "def"); /* it has not taken the first piece, so it is not told, and the bytes are not read */
    assert_int_equal(data_count, 1);
    assert_int_equal(fake_peer_unread(peer), 3);
    assert_int_equal(take(exchange), BODY_DATA);
    assert_string_equal(taken, "abc");
    reply_held(0, "ok\n");
    assert_string_equal(statuses(peer), "200");
    assert_false(is_closed(peer));
}

static void pieces_that_wait_survive_other_connections(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", CHUNKED) "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    struct fake_peer *other = client();
    say(other, POST("/echo", "Content-Length: 30\r\n") "all over the read block's bytes");
    assert_int_equal(take(held[0].exchange), BODY_DATA);
    assert_int_equal(take(held[0].exchange), BODY_END);
    assert_string_equal(taken, "onetwo");
    size_t len;
    assert_memory_equal(exchange_field(held[0].exchange, "host", &len), "a", 1);
    reply_held(0, "ok\n");
    assert_string_equal(statuses(peer), "200");
}

static void drain_is_told_to_a_stream_that_waits_for_its_body(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 0);
    say(peer, POST("/hand", "Content-Length: 3\r\n"));
    struct exchange *exchange = held[0].exchange;
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    while (response_write(exchange, large, 10000) > 0) {
    }
    assert_int_equal(take(exchange), BODY_WAIT);
    say(peer, "abc");
    assert_int_equal(data_count, 0); /* it owes the client too much already */
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(held[0].drains, 1);
    assert_int_equal(data_count, 1);
    assert_int_equal(take(exchange), BODY_DATA);
    held[0].exchange = NULL;
    response_end(exchange);
    settle();
    assert_string_equal(statuses(peer), "200");
}

/* 100 Continue. */

static const char continue_head[] = POST("/hand", "Content-Length: 3\r\nExpect: 100-continue\r\n");

static void hundred_is_sent_when_the_handler_first_asks(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, continue_head);
    assert_int_equal(output_len(peer), 0);
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    settle();
    assert_string_equal(fake_peer_output(peer, NULL), "HTTP/1.1 100 Continue\r\n\r\n");
    say(peer, "a");
    assert_int_equal(take(held[0].exchange), BODY_DATA);
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    say(peer, "bc");
    assert_int_equal(take(held[0].exchange), BODY_DATA);
    reply_held(0, "ok\n");
    assert_int_equal(count_in_output(peer, "100 Continue"), 1);
    assert_int_equal(count_in_output(peer, "200 OK"), 1);
    assert_int_equal(count_in_output(peer, "Connection: close"), 0);
    say(peer, GET("/hello"));
    assert_int_equal(count_in_output(peer, "hello\n"), 1);
}

static void hundred_is_not_sent_to_a_client_that_did_not_wait(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", "Content-Length: 6\r\nExpect: 100-continue\r\n") "abc");
    say(peer, "def");
    assert_string_equal(taken, "abcdef");
    assert_int_equal(count_in_output(peer, "100 Continue"), 0);
    assert_string_equal(statuses(peer), "200");
}

static void client_that_waits_for_a_hundred_gets_an_answer_and_a_close_instead(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, continue_head);
    reply_held(0, "no need\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "Connection: close\r\n")); /* it may send the body or not: who can tell */
    assert_true(fake_peer_saw_end(peer));
}

static void stream_that_has_begun_gets_no_hundred(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, continue_head);
    response_begin(held[0].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    settle();
    assert_int_equal(count_in_output(peer, "100 Continue"), 0);
    say(peer, "abc");
    assert_int_equal(take(held[0].exchange), BODY_DATA);
    response_end(held[0].exchange);
    settle();
    assert_string_equal(statuses(peer), "200");
}

/* Too much, and broken. */

static void length_above_the_limit_does_not_reach_the_handler(void **state)
{
    (void)state;
    set_limit("max_body", 10);
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", "Content-Length: 10\r\n") "0123456789");
    assert_string_equal(statuses(peer), "200");
    say(peer, POST("/hand", "Content-Length: 11\r\n") "0123456789");
    assert_string_equal(statuses(peer), "200 413");
    assert_int_equal(held_count, 0);
    assert_true(fake_peer_saw_end(peer));
}

static void chunks_above_the_limit_are_413_for_the_handler(void **state)
{
    (void)state;
    set_limit("max_body", 10);
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", CHUNKED) "a\r\n0123456789\r\n0\r\n\r\n");
    assert_string_equal(statuses(peer), "200");
    taken_len = 0;
    say(peer, POST("/take", CHUNKED) "5\r\n01234\r\n6\r\n");
    say(peer, "56789");
    say(peer, "x");
    assert_string_equal(taken, "0123456789");
    assert_int_equal(last_verdict, -413);
    assert_string_equal(statuses(peer), "200 413");
    assert_true(output_has(peer, "Connection: close\r\n"));
    assert_true(fake_peer_saw_end(peer));
}

static void broken_chunks_are_400_and_the_connection_ends(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", CHUNKED) "3\r\nabc\r\nzz");
    assert_string_equal(taken, "abc");
    assert_int_equal(last_verdict, -400);
    assert_string_equal(statuses(peer), "400");
    assert_true(output_has(peer, "chunk without a size"));
    assert_true(fake_peer_saw_end(peer));
}

static void fault_is_said_again_and_the_handler_answers_as_it_likes(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", CHUNKED) "zz");
    assert_int_equal(take(held[0].exchange), -400);
    assert_int_equal(take(held[0].exchange), -400);
    reply_held(0, "never mind\n");
    assert_string_equal(statuses(peer), "200");
    assert_true(fake_peer_saw_end(peer)); /* where the next request begins is unknown */
    assert_closes_in_order(peer);
}

/* Answers that do not wait for the body. */

static void rest_of_a_body_is_drained_after_the_answer(void **state)
{
    (void)state;
    static const char *const requests[][2] = {
        {POST("/hand", "Content-Length: 10\r\n") "12345", "67890" GET("/hello")},
        {POST("/hand", CHUNKED) "5\r\n12345\r\n5\r\n6", "7890\r\n0\r\n\r\n" GET("/hello")},
    };
    begin();
    for (int i = 0; i < 4; i++) {
        struct fake_peer *peer = client();
        say(peer, requests[i / 2][0]);
        if (i % 2 == 1) { /* once untouched, once begun */
            assert_int_equal(take(held[i].exchange), BODY_DATA);
        }
        reply_held(i, "early\n");
        assert_string_equal(statuses(peer), "200");
        say(peer, requests[i / 2][1]);
        assert_string_equal(statuses(peer), "200 200");
        assert_int_equal(count_in_output(peer, "Connection: close"), 0);
    }
}

static void answer_while_it_waits_for_the_body_is_the_end_of_waiting(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", "Content-Length: 10\r\n"));
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    settle();
    reply_held(0, "early\n");
    say(peer, "0123456789" GET("/hello"));
    assert_int_equal(data_count, 0);
    assert_string_equal(statuses(peer), "200 200");
}

static void piece_that_was_told_but_not_taken_is_drained(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", CHUNKED));
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    say(peer, "5\r\n12345\r\n");
    assert_int_equal(data_count, 1);
    reply_held(0, "early\n");
    say(peer, "0\r\n\r\n" GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");
}

static void rest_that_is_too_long_to_drain_closes_the_connection(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    memset(large, 'x', sizeof large);
    say(peer, POST("/hand", "Content-Length: 262244\r\n"));
    fake_peer_send(peer, large, 100);
    settle();
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    settle();
    assert_int_equal(take(held[0].exchange), BODY_DATA);
    reply_held(0, "early\n"); /* max_drain is left */
    assert_int_equal(count_in_output(peer, "Connection: close"), 0);
    fake_peer_send(peer, large, DRAIN_MAX);
    settle();
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200 200");

    say(peer, POST("/hand", "Content-Length: 262145\r\n")); /* one more */
    reply_held(1, "early\n");
    assert_string_equal(statuses(peer), "200 200 200");
    assert_int_equal(count_in_output(peer, "Connection: close"), 1);
    assert_true(fake_peer_saw_end(peer));
}

/* Its head could not say so: the handler might still have taken the body. */
static void stream_that_leaves_too_much_of_its_body_closes_the_connection(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", "Content-Length: 1000000\r\n"));
    response_begin(held[0].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    response_write(held[0].exchange, "x", 1);
    response_end(held[0].exchange);
    settle();
    assert_string_equal(statuses(peer), "200");
    assert_true(fake_peer_saw_end(peer));
    fake_peer_send(peer, large, 100000);
    assert_closes_in_order(peer);
}

/* Whose time it is. */

static void client_that_keeps_the_handler_waiting_is_408(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", "Content-Length: 10\r\n") "abc");
    pass_ms(BODY_MS - 1);
    assert_int_equal(last_verdict, BODY_WAIT);
    pass_ms(1);
    assert_int_equal(last_verdict, -408);
    assert_string_equal(statuses(peer), "408");
    assert_true(fake_peer_saw_end(peer));
    assert_int_equal(stats().timeouts, 1);
}

static void handler_that_does_not_ask_has_all_the_time(void **state)
{
    (void)state;
    set_limit("handler_timeout", 0);
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", "Content-Length: 10\r\n"));
    pass_ms(10 * BODY_MS);
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    settle();
    pass_ms(BODY_MS - 1); /* its client has all of its own */
    say(peer, "12345");
    assert_int_equal(take(held[0].exchange), BODY_DATA);
    pass_ms(10 * BODY_MS);
    say(peer, "67890");
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    settle();
    assert_int_equal(take(held[0].exchange), BODY_DATA);
    reply_held(0, "ok\n");
    assert_string_equal(statuses(peer), "200");
}

/* min_body_rate is 100 a second, granted after body_timeout. */
static void trickle_is_408_by_the_time_it_was_waited_for(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", "Content-Length: 1000\r\n"));
    struct exchange *exchange = held[0].exchange;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(take(exchange), BODY_WAIT);
        settle();
        pass_ms(9000);
        say(peer, "x");
        assert_int_equal(take(exchange), BODY_DATA);
        pass_ms(100000); /* the handler's own */
    }
    assert_int_equal(take(exchange), BODY_WAIT); /* 27 s of 30 are used, and 3 bytes are worth 30 ms */
    settle();
    pass_ms(3029);
    assert_int_equal(data_count, 3);
    pass_ms(1);
    assert_int_equal(data_count, 4);
    assert_int_equal(take(exchange), -408);
    reply_held(0, "slow\n");
    assert_true(fake_peer_saw_end(peer));
}

static void stream_whose_body_comes_too_slowly_is_cut(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/hand", "Content-Length: 10\r\n"));
    response_begin(held[0].exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    response_write(held[0].exchange, "x", 1);
    assert_int_equal(take(held[0].exchange), BODY_WAIT);
    settle();
    pass_ms(BODY_MS);
    assert_int_equal(held[0].gones, 1);
    assert_true(is_closed(peer));
}

/* Clients that leave, and memory that is short. */

static void client_that_leaves_in_the_middle_is_gone(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 3; i++) {
        struct fake_peer *peer = client();
        say(peer, POST("/take", "Content-Length: 10\r\n") "abc");
        held[0].gones = 0;
        if (i == 0) {
            fake_peer_reset(peer, 0);
        } else if (i == 1) {
            fake_peer_shutdown(peer); /* the rest will never come */
        } else {
            fake_peer_close(peer);
        }
        settle();
        assert_int_equal(held[0].gones, 1);
        assert_true(is_closed(peer));
    }
}

/* An answer of 200 has all of the body, whatever fails. */
static void failing_allocations_lose_nothing_but_the_connection(void **state)
{
    (void)state;
    begin();
    int failures = 0;
    for (uint64_t n = 1; n < 30; n++) {
        taken_len = 0;
        struct fake_peer *peer = fake_peer_connect(scene.listener_fd);
        fake_mem_fail_after(n, false);
        say(peer, POST("/take", CHUNKED "Expect: 100-continue\r\n"));
        say(peer, "5\r\nhello\r\n7\r\n, ");
        say(peer, "world\r\n0\r\n\r\n");
        failures += fake_mem_failed() ? 1 : 0;
        fake_mem_fail_after(0, false);
        if (output_has(peer, "200 OK")) {
            assert_string_equal(taken, "hello, world");
        } else {
            assert_true(is_closed(peer));
        }
        fake_peer_close(peer);
        settle();
    }
    assert_true(failures >= 2);
    assert_int_equal(stats().connections, 0);
}

static void thousand_pieces_do_not_allocate(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, POST("/take", "Content-Length: 300000\r\n") "x");
    uint64_t before = fake_mem_calls();
    for (int i = 0; i < 1000; i++) {
        say(peer, "y");
    }
    assert_int_equal(taken_len, 1001);
    assert_int_equal(fake_mem_calls(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BODY_TEST(body_that_came_with_the_head_is_taken_at_once),
        BODY_TEST(request_without_a_body_is_at_its_end),
        BODY_TEST(body_that_comes_later_is_told_piece_by_piece),
        BODY_TEST(chunks_are_taken_without_their_framing),
        BODY_TEST(every_split_gives_the_same_body),
        BODY_TEST(pieces_are_at_most_one_read_long),
        BODY_TEST(small_chunks_are_one_piece),
        BODY_TEST(what_came_before_broken_chunks_is_taken_first),
        BODY_TEST(piece_that_is_given_back_comes_again),
        BODY_TEST(body_may_be_collected),
        BODY_TEST(body_that_is_collected_has_its_limit_and_its_faults),
        BODY_TEST(body_of_http_1_0_is_taken_too),
        BODY_TEST(end_is_said_again_and_again),
        BODY_TEST(nothing_is_read_that_was_not_asked_for),
        BODY_TEST(waiting_handler_is_told_once_for_what_it_asked),
        BODY_TEST(pieces_that_wait_survive_other_connections),
        BODY_TEST(drain_is_told_to_a_stream_that_waits_for_its_body),
        BODY_TEST(hundred_is_sent_when_the_handler_first_asks),
        BODY_TEST(hundred_is_not_sent_to_a_client_that_did_not_wait),
        BODY_TEST(client_that_waits_for_a_hundred_gets_an_answer_and_a_close_instead),
        BODY_TEST(stream_that_has_begun_gets_no_hundred),
        BODY_TEST(length_above_the_limit_does_not_reach_the_handler),
        BODY_TEST(chunks_above_the_limit_are_413_for_the_handler),
        BODY_TEST(broken_chunks_are_400_and_the_connection_ends),
        BODY_TEST(fault_is_said_again_and_the_handler_answers_as_it_likes),
        BODY_TEST(rest_of_a_body_is_drained_after_the_answer),
        BODY_TEST(answer_while_it_waits_for_the_body_is_the_end_of_waiting),
        BODY_TEST(piece_that_was_told_but_not_taken_is_drained),
        BODY_TEST(rest_that_is_too_long_to_drain_closes_the_connection),
        BODY_TEST(stream_that_leaves_too_much_of_its_body_closes_the_connection),
        BODY_TEST(client_that_keeps_the_handler_waiting_is_408),
        BODY_TEST(handler_that_does_not_ask_has_all_the_time),
        BODY_TEST(trickle_is_408_by_the_time_it_was_waited_for),
        BODY_TEST(stream_whose_body_comes_too_slowly_is_cut),
        BODY_TEST(client_that_leaves_in_the_middle_is_gone),
        BODY_TEST(failing_allocations_lose_nothing_but_the_connection),
        BODY_TEST(thousand_pieces_do_not_allocate),
    };
    return cmocka_run_group_tests_name("conn_body", tests, NULL, NULL);
}
