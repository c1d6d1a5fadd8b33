/* What a request waits for, how long it may, and what becomes of it then. */

#include "tests/lib/h1_scene.h"

#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define LATE(status, length, page)                                                                                     \
    "HTTP/1.1 " status "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " length "\r\n"                 \
    "Connection: close\r\n\r\n" page

static int64_t deadline_ms(enum wait wait)
{
    return h1_scene.conn.protocol->deadline_ms(&h1_scene.conn, wait, 5000) - 5000;
}

static bool expire(enum wait wait)
{
    return h1_scene.conn.protocol->expire(&h1_scene.conn, wait);
}

static void each_wait_has_its_limit(void **state)
{
    (void)state;
    set_limit("header_timeout", 1001);
    set_limit("body_timeout", 1002);
    set_limit("handler_timeout", 1003);
    set_limit("stream_timeout", 1004);
    set_limit("write_timeout", 1005);
    set_limit("idle_timeout", 1006);
    set_limit("min_body_rate", 0);

    say("GET / HTT");
    assert_true(waits_for() == WAIT_HEAD);
    assert_int_equal(deadline_ms(WAIT_HEAD), 1001);
    new_connection();
    say(POST("/echo", "Content-Length: 5\r\n") "12");
    assert_true(waits_for() == WAIT_BODY);
    assert_int_equal(deadline_ms(WAIT_BODY), 1002);
    new_connection();
    say(GET("/hold"));
    assert_true(waits_for() == WAIT_HANDLER);
    assert_int_equal(deadline_ms(WAIT_HANDLER), 1003);
    response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    take_turn();
    assert_true(waits_for() == WAIT_HANDLER);
    assert_int_equal(deadline_ms(WAIT_HANDLER), 1004);
    h1_scene.room = h1_scene.take = 0;
    response_write(held_exchange, "x", 1);
    take_turn();
    assert_true(waits_for() == WAIT_WRITE);
    assert_int_equal(deadline_ms(WAIT_WRITE), 1005);
    new_connection();
    say("\r\n");
    assert_true(waits_for() == WAIT_IDLE); /* an empty line is nothing of a request */
}

static void a_limit_of_0_is_none(void **state)
{
    (void)state;
    set_limit("handler_timeout", 0);
    say(GET("/hold"));
    assert_true(h1_scene.conn.protocol->deadline_ms(&h1_scene.conn, WAIT_HANDLER, 5000) == DEADLINE_NEVER);
}

/* A body that trickles in has to come at min_body_rate once body_timeout is over. Time in which a handler does not ask
 * for it is not counted. */
static void a_body_has_to_keep_its_rate(void **state)
{
    (void)state;
    const char *data;
    size_t len;
    set_limit("body_timeout", 1000);
    set_limit("min_body_rate", 100); /* a byte is good for 10 ms */
    say(POST("/hold-body", "Content-Length: 500\r\n"));
    int64_t start_ms = reactor_now_ms(h1_scene.reactor);
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_WAIT);
    take_turn();
    const struct protocol *protocol = h1_scene.conn.protocol;
    assert_int_equal(protocol->deadline_ms(&h1_scene.conn, WAIT_BODY, start_ms + 900), start_ms + 1000);

    fake_sys_advance_ms(900);
    say("0123456789");
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_DATA);
    fake_sys_advance_ms(5000); /* the handler's time */
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_WAIT);
    take_turn();
    assert_int_equal(protocol->deadline_ms(&h1_scene.conn, WAIT_BODY, start_ms + 5900), start_ms + 5000 + 1000 + 100);
}

static void a_head_that_does_not_end_gets_408(void **state)
{
    (void)state;
    say("GET / HTT");
    assert_true(expire(WAIT_HEAD));
    take_turn();
    assert_output(LATE("408 Request Timeout", "20", "408 Request Timeout\n"));
    assert_int_equal(h1_scene.last, TURN_LINGER);
}

static void a_body_that_does_not_end_gets_408(void **state)
{
    (void)state;
    say(POST("/echo", "Content-Length: 5\r\n") "12");
    assert_true(expire(WAIT_BODY));
    take_turn();
    assert_output(LATE("408 Request Timeout", "20", "408 Request Timeout\n"));
    assert_int_equal(h1_scene.last, TURN_LINGER);
}

static void a_handler_that_waits_for_the_body_hears_408(void **state)
{
    (void)state;
    const char *data;
    size_t len;
    say(POST("/hold-body", "Content-Length: 5\r\n"));
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), BODY_WAIT);
    take_turn();
    assert_true(expire(WAIT_BODY));
    take_turn();
    assert_int_equal(held_data, 1);
    assert_int_equal(exchange_read_body(held_exchange, &data, &len), -408);
    response_send(held_exchange, 408, "text/plain", "late", 4);
    take_turn();
    assert_output("HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n"
                  "Connection: close\r\n\r\nlate");
}

static void a_late_handler_is_replaced_by_503(void **state)
{
    (void)state;
    say(GET("/hold") GET("/hello"));
    assert_true(h1_scene.conn.protocol->waits_for_handler(&h1_scene.conn));
    assert_true(expire(WAIT_HANDLER));
    assert_int_equal(held_gones, 1);
    take_turn();
    assert_non_null(strstr(read_output(), "HTTP/1.1 503 Service Unavailable\r\n"));
    assert_non_null(strstr(read_output(), OK_TEXT("6", "hello\n"))); /* the connection goes on */
    assert_int_equal(held_gones, 1);
}

static void a_late_stream_is_cut(void **state)
{
    (void)state;
    say(GET("/hold"));
    response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    take_turn();
    assert_false(expire(WAIT_HANDLER));
    new_connection(); /* as conn.c does: it loses the connection */
    assert_int_equal(held_gones, 1);
}

static void a_client_that_takes_nothing_is_cut(void **state)
{
    (void)state;
    h1_scene.room = h1_scene.take = 0;
    say(GET("/hello"));
    assert_false(expire(WAIT_WRITE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H1_TEST(each_wait_has_its_limit),
        H1_TEST(a_limit_of_0_is_none),
        H1_TEST(a_body_has_to_keep_its_rate),
        H1_TEST(a_head_that_does_not_end_gets_408),
        H1_TEST(a_body_that_does_not_end_gets_408),
        H1_TEST(a_handler_that_waits_for_the_body_hears_408),
        H1_TEST(a_late_handler_is_replaced_by_503),
        H1_TEST(a_late_stream_is_cut),
        H1_TEST(a_client_that_takes_nothing_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
