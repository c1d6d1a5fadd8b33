/* A connection goes over to another protocol in the middle of its life, as one of HTTP/1 does when a handler accepts an
 * upgrade. Two protocols of a few lines on a real server and the fake kernel: one waits for the line "over", the other
 * sends back what it gets. */

#include "core/mem.h"
#include "http/server_internal.h"
#include "http/takeover.h"
#include "tests/lib/server_scene.h"

enum { TEXT_MAX = 256, WAIT_MS = 5000, LINGER_MS = 2000 };

/* The work of both. */
struct words {
    char text[TEXT_MAX]; /* read and not used */
    size_t len;          /* of text */
};

static int losses_before, losses_after; /* calls of lose() of the one and the other */
static int drains;                      /* calls of drain() of the other */
static bool goes_idle;                  /* the other one has no work when it has nothing to say */
static bool lingers;                    /* it ends at once */

static const char over[] = "over\n";
static const struct protocol after;

static ssize_t read_words(struct conn *conn)
{
    struct words *words = conn->work;
    if (words == NULL) {
        words = conn->work = mem_zalloc(sizeof *words);
        assert_non_null(words);
    }
    ssize_t len = transport_recv(&conn->transport, words->text + words->len, TEXT_MAX - words->len);
    words->len += len > 0 ? (size_t)len : 0;
    return len;
}

static unsigned wants_words(const struct conn *conn)
{
    (void)conn;
    return CONN_READS;
}

static bool is_never_idle(const struct conn *conn)
{
    (void)conn;
    return false;
}

static enum wait waits_for_words(const struct conn *conn)
{
    (void)conn;
    return WAIT_HEAD; /* whose deadline does not move with what comes */
}

static int64_t words_deadline_ms(const struct conn *conn, enum wait waits_for, int64_t now_ms)
{
    (void)conn;
    (void)waits_for;
    return now_ms + WAIT_MS;
}

static bool expire_words(struct conn *conn, enum wait waits_for)
{
    (void)conn;
    (void)waits_for;
    return false;
}

static void drain_words(struct conn *conn)
{
    drains += conn->protocol == &after;
}

static void lose_words(struct conn *conn)
{
    losses_after += conn->protocol == &after;
    losses_before += conn->protocol != &after;
    mem_free(conn->work);
    conn->work = NULL;
}

static const char *doing_words(const struct conn *conn)
{
    return conn->protocol == &after ? "while echoing" : "while waiting to go over";
}

static enum turn echo_words(struct conn *conn)
{
    struct words *words = conn->work;
    if (words != NULL && words->len > 0) {
        assert_int_equal(transport_send(&conn->transport, words->text, words->len, false), words->len);
        conn->has_sent = true;
        words->len = 0;
    }
    if (goes_idle) {
        mem_free(words);
        conn->work = NULL;
    }
    if (lingers) {
        conn->has_unread = true;
        return TURN_LINGER;
    }
    return conn->transport.is_at_end ? TURN_CLOSE : TURN_WAIT;
}

static enum turn wait_to_go_over(struct conn *conn)
{
    const size_t line = sizeof over - 1;
    struct words *words = conn->work;
    if (words == NULL || words->len < line || memcmp(words->text, over, line) != 0) {
        return conn->transport.is_at_end ? TURN_CLOSE : TURN_WAIT;
    }
    words->len -= line;
    memmove(words->text, words->text + line, words->len);
    conn->work = NULL;
    conn_go_over(conn, &after, words);
    return after.advance(conn);
}

#define WORDS_PROTOCOL(text, turn)                                                                                     \
    {                                                                                                                  \
        .name = text, .read = read_words, .advance = turn, .wants = wants_words, .is_idle = is_never_idle,             \
        .waits_for = waits_for_words, .deadline_ms = words_deadline_ms, .expire = expire_words, .drain = drain_words,  \
        .lose = lose_words, .doing = doing_words,                                                                      \
    }

static const struct protocol before = WORDS_PROTOCOL("before", wait_to_go_over);
static const struct protocol after = WORDS_PROTOCOL("after", echo_words);

static int set_up(void **state)
{
    losses_before = losses_after = drains = 0;
    goes_idle = lingers = false;
    int rv = scene_set_up(state);
    scene_start();
    scene.server->accepters[0].protocol = &before;
    return rv;
}

#define OVER_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, scene_tear_down)

static void assert_echoed(const struct fake_peer *peer, const char *text)
{
    size_t len;
    assert_string_equal(fake_peer_output(peer, &len), text);
}

/* They came in the same read as the line, so no event will tell of them. */
static void what_was_read_already_goes_to_the_new_protocol(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    say(peer, "ov");
    say(peer, "er\nfirst ");
    assert_echoed(peer, "first ");
    say(peer, "second ");
    assert_echoed(peer, "first second ");
    assert_int_equal(losses_before, 0); /* it has let go by itself */
    fake_peer_shutdown(peer);
    settle();
    assert_true(is_closed(peer));
    assert_int_equal(losses_after, 1);
}

static void the_new_protocol_may_be_idle_at_once(void **state)
{
    (void)state;
    goes_idle = true;
    struct fake_peer *peer = client();
    say(peer, "over\n");
    assert_null(scene.server->pool.conns->work);
    say(peer, "word ");
    assert_echoed(peer, "word ");
    assert_null(scene.server->pool.conns->work);
    pass_ms((int64_t)scene.site->limits.idle_timeout_ms + 1);
    assert_true(is_closed(peer));
}

/* Though it waits for the same as the one before did. */
static void the_deadline_begins_with_the_new_protocol(void **state)
{
    (void)state;
    struct fake_peer *late = client();
    say(late, "ov");
    struct fake_peer *peer = client();
    say(peer, "ov");
    pass_ms(WAIT_MS - 1000);
    say(peer, "er\n");
    pass_ms(WAIT_MS - 1);
    assert_true(is_closed(late));
    assert_false(is_closed(peer));
    pass_ms(1);
    assert_true(is_closed(peer));
    assert_int_equal(losses_before, 1);
    assert_int_equal(losses_after, 1);
    assert_non_null(strstr(scene.log_text, "timed out while waiting to go over [client "));
    assert_non_null(strstr(scene.log_text, "timed out while echoing [client "));
}

static void the_new_protocol_may_end_at_once(void **state)
{
    (void)state;
    lingers = true;
    struct fake_peer *peer = client();
    say(peer, "over\nbye ");
    assert_echoed(peer, "bye ");
    assert_true(fake_peer_saw_end(peer));
    assert_int_equal(losses_after, 1);
    pass_ms(LINGER_MS - 1);
    assert_false(is_closed(peer));
    pass_ms(1);
    assert_true(is_closed(peer));
}

static void a_server_that_stops_says_so_to_the_new_protocol(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    say(peer, "over\n");
    server_drain(scene.server, 1000, NULL, NULL);
    assert_int_equal(drains, 1);
    settle();
    assert_false(is_closed(peer));
    pass_ms(1000);
    assert_true(is_closed(peer));
    assert_int_equal(losses_after, 1);
}

/* HTTP/1 goes over when a handler responds with 101. */

static void *begin_echo(struct conn *conn, const char *unread, size_t len, void *arg)
{
    (void)conn;
    ++*(int *)arg;
    struct words *words = mem_zalloc(sizeof *words);
    if (words != NULL) {
        assert_in_range(len, 0, TEXT_MAX);
        memcpy(words->text, unread, len);
        words->len = len;
    }
    return words;
}

static int begun;
static const struct takeover echo_takeover = {.name = "echo", .to = &after, .begin = begin_echo, .arg = &begun};
static int switched; /* what response_switch() returned */

static void serve_switch(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_add_field(exchange, "X-Room", 6, "blue", 4);
    switched = response_switch(exchange, &echo_takeover);
    if (switched < 0) {
        response_send(exchange, 426, NULL, NULL, 0);
    }
}

static const struct handler switch_handler = {.serve = serve_switch, .body_mode = BODY_STREAM};

/* What a request has to leave when it is over (http/conn_ends.c). */

static int ended;

static void note_end(void *arg)
{
    ended += *(int *)arg;
}

static void serve_switch_with_end(struct exchange *exchange, void *ctx)
{
    static int one = 1;
    exchange->on_end = note_end;
    exchange->end_arg = &one;
    serve_switch(exchange, ctx);
}

static const struct handler end_handler = {.serve = serve_switch_with_end, .body_mode = BODY_STREAM};

static int set_up_http(void **state)
{
    losses_before = losses_after = drains = begun = ended = 0;
    goes_idle = lingers = false;
    int rv = scene_set_up(state);
    add_route(METHOD_GET, "/switch", &switch_handler);
    add_route(METHOD_GET, "/end", &end_handler);
    add_route(METHOD_POST, "/switch", &switch_handler);
    scene_start();
    return rv;
}

#define HTTP_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_http, scene_tear_down)

static const char switched_head[] = "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/* What came behind the head of the last response. */
static const char *behind_switch(const struct fake_peer *peer)
{
    size_t len;
    const char *found = strstr(fake_peer_output(peer, &len), switched_head);
    assert_non_null(found);
    return found + sizeof switched_head - 1;
}

static void http_goes_over_after_101(void **state)
{
    (void)state;
    static const char text[] = "GET /none HTTP/1.1\r\nHost: a\r\n\r\nGET /switch HTTP/1.1\r\nHost: a\r\n\r\nfirst ";
    for (size_t split = 1; split <= sizeof text - 1; split++) {
        struct fake_peer *peer = client();
        fake_peer_send_split(peer, text, sizeof text - 1, split);
        settle();
        say(peer, "second ");
        size_t len;
        const char *output = fake_peer_output(peer, &len);
        assert_memory_equal(output, "HTTP/1.1 404 ", 13);
        assert_non_null(strstr(output, "HTTP/1.1 101 Switching Protocols\r\n"));
        assert_non_null(strstr(output, "X-Room: blue\r\n"));
        assert_null(strstr(strstr(output, "HTTP/1.1 101"), "Content-Length"));
        assert_string_equal(behind_switch(peer), "first second ");
        assert_int_equal(begun, split);
        fake_peer_close(peer);
        settle();
        assert_int_equal(losses_after, split);
    }
    assert_null(scene.server->pool.conns);
}

static void the_response_is_sent_before_http_goes_over(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 20);
    say(peer, "GET /switch HTTP/1.1\r\nHost: a\r\n\r\nfirst ");
    assert_int_equal(begun, 0);
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    assert_int_equal(begun, 1);
    assert_string_equal(behind_switch(peer), "first ");
}

static void http_1_0_and_bodies_that_were_not_read_do_not_go_over(void **state)
{
    (void)state;
    struct fake_peer *peer = client();
    say(peer, "GET /switch HTTP/1.0\r\n\r\n");
    assert_int_equal(switched, -EPROTO);
    peer = client();
    say(peer, "POST /switch HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nb");
    assert_int_equal(switched, -EBUSY);
    assert_int_equal(begun, 0);
}

static void without_memory_for_the_new_protocol_the_connection_ends(void **state)
{
    (void)state;
    struct fake_peer *warm = client();
    say(warm, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n"); /* what a request needs is in the pools */
    struct fake_peer *peer = client();
    size_t len;
    fake_mem_fail_after(1, true);
    say(peer, "GET /switch HTTP/1.1\r\nHost: a\r\n\r\nfirst ");
    fake_mem_fail_after(0, false);
    settle();
    (void)fake_peer_output(peer, &len);
    assert_true(is_closed(peer));
    assert_int_equal(losses_after, 0);
}

static void what_is_due_at_the_end_of_a_request_is_due_at_that_of_its_connection(void **state)
{
    (void)state;
    enum { MANY = 100 };
    struct fake_peer *peers[MANY];
    for (int i = 0; i < MANY; i++) {
        peers[i] = client();
        say(peers[i], GET("/end"));
        assert_string_equal(behind_switch(peers[i]), "");
    }
    assert_int_equal(ended, 0);
    for (int i = 0; i < MANY; i++) {
        fake_peer_reset(peers[(i * 37) % MANY], ECONNRESET);
        settle();
        assert_int_equal(ended, i + 1);
    }
    struct fake_peer *peer = client();
    say(peer, "GET /end HTTP/1.0\r\n\r\n"); /* does not go over */
    assert_true(output_has(peer, " 426 "));
    assert_int_equal(ended, MANY + 1);
}

static void without_memory_it_is_due_when_the_connection_goes_over(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 12; n++) {
        struct fake_peer *peer = client();
        ended = 0;
        fake_mem_fail_after(n, false);
        say(peer, GET("/end"));
        fake_mem_fail_after(0, false);
        fake_peer_close(peer);
        settle();
        assert_in_range(ended, 0, 1);
        assert_int_equal(ended == 0, !output_has(peer, "HTTP/1.1"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVER_TEST(what_was_read_already_goes_to_the_new_protocol),
        OVER_TEST(the_new_protocol_may_be_idle_at_once),
        OVER_TEST(the_deadline_begins_with_the_new_protocol),
        OVER_TEST(the_new_protocol_may_end_at_once),
        OVER_TEST(a_server_that_stops_says_so_to_the_new_protocol),
        HTTP_TEST(http_goes_over_after_101),
        HTTP_TEST(the_response_is_sent_before_http_goes_over),
        HTTP_TEST(http_1_0_and_bodies_that_were_not_read_do_not_go_over),
        HTTP_TEST(without_memory_for_the_new_protocol_the_connection_ends),
        HTTP_TEST(what_is_due_at_the_end_of_a_request_is_due_at_that_of_its_connection),
        HTTP_TEST(without_memory_it_is_due_when_the_connection_goes_over),
    };
    return cmocka_run_group_tests_name("conn_go_over", tests, NULL, NULL);
}
