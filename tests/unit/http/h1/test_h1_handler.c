/* A handler that responds later: its client may leave, and the server may stop. */

#include "tests/lib/h1_scene.h"

#include "http/router.h"

#define HELD_CLOSE "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nheld"

static void respond(void)
{
    response_send(held_exchange, 200, "text/plain", "held", 4);
    take_turn();
}

static void requests_behind_a_handler_at_work_wait(void **state)
{
    (void)state;
    say(GET("/hold") GET("/hello"));
    assert_output("");
    assert_int_equal(wants(), 0);
    respond();
    assert_output(OK_TEXT("4", "held") OK_TEXT("6", "hello\n"));
}

/* The request is kept beyond the turn, though its bytes lay in a block that others use now. */
static void a_handler_can_read_its_request_later(void **state)
{
    (void)state;
    size_t len;
    say("GET /hold HTTP/1.1\r\nHost: somewhere\r\n\r\n");
    memset(h1_scene.pool.read_block, 'x', READ_BLOCK_BYTES);
    const char *host = exchange_field(held_exchange, "host", &len);
    assert_int_equal(len, 9);
    assert_memory_equal(host, "somewhere", 9);
    assert_string_equal(held_exchange->path, "/hold");
}

static void a_client_that_shuts_its_side_has_left(void **state)
{
    (void)state;
    say(GET("/hold"));
    client_ends();
    h1_scene.conn.transport.is_half_closed = true; /* as an event says: nothing is read now */
    take_turn();
    assert_int_equal(held_gones, 1);
    assert_int_equal(h1_scene.last, TURN_LINGER);
    assert_output("");
}

static void a_response_that_is_whole_is_sent_to_a_client_that_shut_its_side(void **state)
{
    (void)state;
    h1_scene.room = h1_scene.take = 0;
    say(GET("/hello"));
    client_ends();
    pump();
    assert_false(h1_scene.is_over);
    h1_scene.take = 1;
    pump();
    assert_output(OK_TEXT("6", "hello\n"));
    assert_true(h1_scene.is_over);
}

static void some_clients_shut_their_side_and_still_read(void **state)
{
    (void)state;
    say(GET("/hold"));
    held_exchange->outlives_end = true; /* what the route of a half_close handler says */
    client_ends();
    h1_scene.conn.transport.is_half_closed = true;
    take_turn();
    assert_int_equal(held_gones, 0);
    assert_false(h1_scene.is_over);
    respond();
    assert_output(OK_TEXT("4", "held"));
}

static void a_lost_client_is_gone(void **state)
{
    (void)state;
    say(GET("/hold"));
    assert_int_equal(h1_scene.site->pins, 1);
    new_connection();
    assert_int_equal(held_gones, 1);
    assert_int_equal(h1_scene.site->pins, 0);
    say(GET("/hello")); /* with the memory of the one before */
    assert_output(OK_TEXT("6", "hello\n"));
}

/* The end of a stream to HTTP/1.0 is that of the connection, so a cut must not look like it. */
static void a_stream_without_framing_is_cut_with_a_reset(void **state)
{
    (void)state;
    static const char *const versions[] = {"GET /hold HTTP/1.0\r\n\r\n", GET("/hold")};
    for (int i = 0; i < 2; i++) {
        new_connection();
        say(versions[i]);
        response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
        response_write(held_exchange, "half", 4);
        take_turn();
        response_abort(held_exchange);
        take_turn();
        assert_int_equal(h1_scene.last, TURN_CLOSE);
        assert_int_equal(h1_scene.conn.transport.is_reset, i == 0);
    }
}

static void a_server_that_stops_tells_the_handler_once(void **state)
{
    (void)state;
    const struct protocol *protocol = h1_scene.conn.protocol;
    say(GET("/hold"));
    assert_false(protocol->is_idle(&h1_scene.conn));
    service_note_stop(&h1_scene.service);
    h1_scene.service.is_draining = true;
    protocol->drain(&h1_scene.conn);
    protocol->drain(&h1_scene.conn);
    take_turn();
    assert_int_equal(held_stops, 1);
    respond();
    assert_output(HELD_CLOSE); /* the response says that it is the last one */
    assert_int_equal(h1_scene.last, TURN_LINGER);
}

static void half_a_head_is_not_idle(void **state)
{
    (void)state;
    const struct protocol *protocol = h1_scene.conn.protocol;
    say("G");
    assert_false(protocol->is_idle(&h1_scene.conn));
    new_connection();
    assert_int_equal(h1_scene.last, TURN_WAIT);
    service_note_stop(&h1_scene.service);
    h1_scene.service.is_draining = true;
    say(GET("/hello"));
    assert_non_null(strstr(read_output(), "\r\nConnection: close\r\n"));
    assert_int_equal(h1_scene.last, TURN_LINGER);
}

/* A client for whom there is no room: HEAD has no content. */
static void a_client_may_be_turned_away(void **state)
{
    (void)state;
    char text[REFUSAL_MAX + 1];
    const struct protocol *protocol = h1_scene.conn.protocol;
    static const struct {
        const char *received;
        const char *end;
    } rows[] = {
        {"", "\r\n\r\n503 Too many now\n"},
        {"GET / HTTP/1.1\r\n", "\r\n\r\n503 Too many now\n"},
        {"HEAD / HTTP/1.1\r\n", "Connection: close\r\n\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = protocol->refuse(&h1_scene.service, rows[i].received, strlen(rows[i].received), text);
        text[len] = '\0';
        assert_memory_equal(text, "HTTP/1.1 503 Service Unavailable\r\nDate: ", 40);
        assert_string_equal(text + len - strlen(rows[i].end), rows[i].end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H1_TEST(requests_behind_a_handler_at_work_wait),
        H1_TEST(a_handler_can_read_its_request_later),
        H1_TEST(a_client_that_shuts_its_side_has_left),
        H1_TEST(a_response_that_is_whole_is_sent_to_a_client_that_shut_its_side),
        H1_TEST(some_clients_shut_their_side_and_still_read),
        H1_TEST(a_lost_client_is_gone),
        H1_TEST(a_stream_without_framing_is_cut_with_a_reset),
        H1_TEST(a_server_that_stops_tells_the_handler_once),
        H1_TEST(half_a_head_is_not_idle),
        H1_TEST(a_client_may_be_turned_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
