/* Bodies of requests on their way in: 100 Continue, limits, handlers that take a body themselves. */

#include "tests/lib/h1_scene.h"

#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define CONTINUE           "HTTP/1.1 100 Continue\r\n\r\n"
#define EXPECTS            "Content-Length: 5\r\nExpect: 100-continue\r\n"

static void a_client_that_waits_for_100_gets_it(void **state)
{
    (void)state;
    say(POST("/echo", EXPECTS));
    assert_output(CONTINUE);
    say("12345");
    assert_output(CONTINUE OK_TEXT("5", "12345"));
    assert_null(h1_scene.conn.work);
}

static void a_client_that_did_not_wait_gets_no_100(void **state)
{
    (void)state;
    say(POST("/echo", EXPECTS) "12345");
    assert_output(OK_TEXT("5", "12345"));
}

/* The body may come or not, so what follows the head cannot be told from a next request (RFC 9110 section 10.1.1). */
static void a_response_instead_of_100_closes(void **state)
{
    (void)state;
    say(POST("/hello", EXPECTS));
    assert_output(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n");
    assert_int_equal(h1_scene.last, TURN_LINGER);
    assert_true(h1_scene.conn.has_unread);
}

static void a_handler_that_takes_the_body_itself_causes_the_100(void **state)
{
    (void)state;
    const char *data;
    size_t len;
    say(POST("/hold-body", EXPECTS));
    assert_output("");
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_WAIT);
    take_turn();
    assert_output(CONTINUE);
    say("12345");
    assert_int_equal(held_data, 1);
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_DATA);
    assert_int_equal(len, 5);
    assert_memory_equal(data, "12345", 5);
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_END);
}

/* Only what is asked for is read: the client is held up by its transport. */
static void nothing_is_read_that_the_handler_did_not_ask_for(void **state)
{
    (void)state;
    const char *data;
    size_t len;
    h1_scene.read_max = 64;
    say(POST("/hold-body", "Content-Length: 1000\r\n"));
    size_t used = h1_scene.in_used;
    for (int i = 0; i < 100; i++) {
        say("0123456789");
    }
    assert_int_equal(h1_scene.in_used, used);
    assert_int_equal(wants() & (unsigned)CONN_READS, 0);

    size_t sum = 0;
    for (int i = 0; sum < 1000; i++) {
        assert_true(i < 1000);
        int verdict = exchange_read_body(held_exchange, &data, &len);
        assert_true(verdict == BODY_DATA || verdict == BODY_WAIT);
        if (verdict == BODY_DATA) {
            assert_int_equal(data[0], '0' + (int)(sum % 10));
            sum += len;
            assert_true(h1_scene.in_used <= used + sum);
        } else {
            assert_true(waits_for() == WAIT_BODY);
            pump(); /* reads once: then there is news, and the handler has to ask again */
        }
    }
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_END);
}

static void a_piece_that_is_given_back_comes_again(void **state)
{
    (void)state;
    const char *data;
    size_t len;
    say(POST("/hold-body", "Content-Length: 5\r\n") "12345");
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_DATA);
    exchange_unread_body(held_exchange, 2);
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_DATA);
    assert_int_equal(len, 2);
    assert_memory_equal(data, "45", 2);
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_END);
}

static void a_handler_hears_of_broken_chunks_and_still_responds(void **state)
{
    (void)state;
    const char *data;
    size_t len;
    say(POST("/hold-body", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\nx");
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_DATA);
    assert_int_equal(len, 3);
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), -400);
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), -400);
    assert_non_null(held_exchange->body_reason);
    response_send(held_exchange, 422, "text/plain", "no", 2);
    take_turn();
    assert_output("HTTP/1.1 422 Unprocessable Content\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
                  "Connection: close\r\n\r\nno");
    assert_int_equal(h1_scene.last, TURN_LINGER);
}

#define TOO_LARGE                                                                                                      \
    "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 22\r\n"              \
    "Connection: close\r\n\r\n413 Content Too Large\n"

static void a_body_that_is_too_large_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        POST("/echo", "Content-Length: 11\r\n"), /* at once */
        POST("/echo", "Content-Length: 11\r\nExpect: 100-continue\r\n"),
        POST("/echo", "Transfer-Encoding: chunked\r\n") "a\r\n0123456789\r\n1\r\nx\r\n",
        POST("/hold-body", "Content-Length: 11\r\n"), /* the handler is not called */
    };
    set_limit("max_body", 10);
    for (size_t i = 0; i < COUNT(bodies); i++) {
        new_connection();
        say(bodies[i]);
        assert_output(TOO_LARGE);
        assert_int_equal(h1_scene.last, TURN_LINGER);
        assert_null(held_exchange);
    }
    new_connection();
    say(POST("/echo", "Content-Length: 10\r\n") "0123456789");
    assert_output(OK_TEXT("10", "0123456789"));
}

/* A body that nobody wants: dropping it keeps the connection, if it is not too long. */
static void a_body_is_dropped_up_to_max_drain(void **state)
{
    (void)state;
    set_limit("max_drain", 10);
    say(POST("/hello", "Content-Length: 10\r\n"));
    assert_output(OK_TEXT("6", "hello\n")); /* does not wait for it */
    say("0123456789" GET("/hello"));
    assert_output(OK_TEXT("6", "hello\n") OK_TEXT("6", "hello\n"));

    new_connection();
    say(POST("/hello", "Content-Length: 11\r\n"));
    assert_non_null(strstr(read_output(), "\r\nConnection: close\r\n"));
    assert_int_equal(h1_scene.last, TURN_LINGER);

    new_connection(); /* of chunks the length is not known before */
    say(POST("/hello", "Transfer-Encoding: chunked\r\n"));
    assert_output(OK_TEXT("6", "hello\n"));
    say("a\r\n0123456789\r\n");
    assert_false(h1_scene.is_over);
    say("1\r\nx\r\n");
    assert_int_equal(h1_scene.last, TURN_LINGER);
    assert_output(OK_TEXT("6", "hello\n"));
}

/* What a body leaves behind it is the next request, wherever the reads end. */
static void the_next_request_begins_where_the_body_ends(void **state)
{
    (void)state;
    static const char in[] = POST("/hold-body", "Content-Length: 5\r\n") "12345" GET("/hello");
    for (size_t read_max = 1; read_max < sizeof in; read_max++) {
        new_connection();
        h1_scene.read_max = read_max;
        held_exchange = NULL;
        say(in);
        assert_non_null(held_exchange);
        response_send(held_exchange, 200, "text/plain", "held", 4);
        take_turn();
        pump();
        assert_output(OK_TEXT("4", "held") OK_TEXT("6", "hello\n"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H1_TEST(a_client_that_waits_for_100_gets_it),
        H1_TEST(a_client_that_did_not_wait_gets_no_100),
        H1_TEST(a_response_instead_of_100_closes),
        H1_TEST(a_handler_that_takes_the_body_itself_causes_the_100),
        H1_TEST(nothing_is_read_that_the_handler_did_not_ask_for),
        H1_TEST(a_piece_that_is_given_back_comes_again),
        H1_TEST(a_handler_hears_of_broken_chunks_and_still_responds),
        H1_TEST(a_body_that_is_too_large_is_refused),
        H1_TEST(a_body_is_dropped_up_to_max_drain),
        H1_TEST(the_next_request_begins_where_the_body_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
