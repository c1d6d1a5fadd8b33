/* Output against a transport that takes what it likes: back-pressure, the budget of a turn, content that is sent from
 * where it is, files for a transport without sendfile(2). */

#include "tests/lib/h1_scene.h"

#include "http/router.h"
#include "tests/lib/file_tree.h"

#include <errno.h>

enum { PIECE = 60000, LARGE = 1 << 19 };

static char content[LARGE];
static int releases;

static void count_release(void *arg)
{
    (void)arg;
    releases++;
}

static int fill(void **state)
{
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (char)('a' + (int)(i % 23));
    }
    releases = 0;
    return h1_set_up(state);
}

#define IO_TEST(fn) cmocka_unit_test_setup_teardown(fn, fill, h1_tear_down)

/* The content of the only response. */
static const char *output_content(size_t *len)
{
    const char *end = memmem(h1_scene.out, h1_scene.out_len, "\r\n\r\n", 4);
    assert_non_null(end);
    *len = h1_scene.out_len - (size_t)(end + 4 - h1_scene.out);
    return end + 4;
}

static void assert_content_is_whole(size_t expected)
{
    size_t len;
    const char *got = output_content(&len);
    assert_int_equal(len, expected);
    assert_memory_equal(got, content, expected);
}

static void a_full_transport_holds_the_client_up(void **state)
{
    (void)state;
    h1_scene.room = h1_scene.take = 0;
    say(GET("/hello"));
    assert_int_equal(h1_scene.out_len, 0);
    assert_true(wants() == (CONN_READS | CONN_WRITES)); /* little waits: further requests are read */
    assert_true(waits_for() == WAIT_WRITE);

    say(GET("/hold"));
    response_send(held_exchange, 200, "text/plain", content, PIECE * 2);
    take_turn();
    assert_true(wants() == CONN_WRITES); /* above the high mark: nothing is read */
    size_t used = h1_scene.in_used;
    say(GET("/hello"));
    assert_int_equal(h1_scene.in_used, used);
    assert_int_equal(h1_scene.out_len, 0);

    h1_scene.take = 1000;
    pump();
    assert_int_equal(h1_scene.in_used, h1_scene.in_len);
    assert_null(h1_scene.conn.work);
    assert_memory_equal(h1_scene.out + h1_scene.out_len - 6, "hello\n", 6);
}

/* The same for requests that were read already. */
static void pipelined_requests_wait_for_a_client_that_does_not_read(void **state)
{
    (void)state;
    h1_scene.room = h1_scene.take = 0;
    say(GET("/hold") GET("/hello"));
    response_begin(held_exchange, 200, "text/plain", PIECE * 2);
    response_write(held_exchange, content, PIECE);
    response_write(held_exchange, content, PIECE);
    response_end(held_exchange);
    take_turn();
    assert_int_equal(h1_scene.service.stats.requests, 1);
    assert_true(wants() == CONN_WRITES);
    h1_scene.room = PIECE;
    take_turn(); /* below the high mark again */
    assert_int_equal(h1_scene.service.stats.requests, 2);
    h1_scene.room = NO_LIMIT;
    pump();
    assert_memory_equal(h1_scene.out + h1_scene.out_len - 6, "hello\n", 6);
    assert_null(h1_scene.conn.work);
}

static void serve_two_pieces(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_begin(exchange, 200, "text/plain", PIECE * 2);
    response_write(exchange, content, PIECE);
    response_write(exchange, content, PIECE);
    response_end(exchange);
}

/* A route with a higher mark may leave more in the queue than the server lets a next request wait behind. */
static void a_request_waits_behind_a_route_with_a_mark_of_its_own(void **state)
{
    (void)state;
    char err[256];
    struct limits limits = h1_scene.site->limits;
    limits.write_high_mark_bytes = 1 << 20;
    const struct handler handler = {.serve = serve_two_pieces, .limits = &limits};
    assert_int_equal(router_add(h1_scene.site->default_host.router, 1U << METHOD_GET, "/two", &handler, "", err,
                                sizeof err),
                     0);
    h1_scene.room = h1_scene.take = 0;
    say(GET("/two") GET("/hello"));
    assert_int_equal(h1_scene.service.stats.requests, 1);
    assert_true(wants() == CONN_WRITES);
    h1_scene.room = h1_scene.take = PIECE;
    pump();
    assert_int_equal(h1_scene.service.stats.requests, 2);
    assert_null(h1_scene.conn.work);
}

/* on_drain comes when the queue has gone down to half of the high mark, and once. */
static void a_stream_waits_for_its_client(void **state)
{
    (void)state;
    say(GET("/hold"));
    h1_scene.room = h1_scene.take = 0;
    response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(held_exchange, content, PIECE), 1);
    assert_int_equal(response_write(held_exchange, content, PIECE), 0);
    take_turn();
    assert_int_equal(held_drains, 0);
    h1_scene.room = PIECE;
    take_turn();
    assert_int_equal(held_drains, 0); /* more than half is left */
    h1_scene.room = PIECE;
    take_turn();
    h1_scene.room = 0;
    if (held_drains == 0) { /* the room came after the handler was looked at: the next turn */
        take_turn();
    }
    assert_int_equal(held_drains, 1);
    response_end(held_exchange);
    h1_scene.room = NO_LIMIT;
    take_turn();
    assert_int_equal(held_drains, 1);
    assert_memory_equal(h1_scene.out + h1_scene.out_len - 5, "0\r\n\r\n", 5);
    assert_null(h1_scene.conn.work);
}

static void a_client_that_owes_too_much_is_cut(void **state)
{
    (void)state;
    say(GET("/hold"));
    h1_scene.room = h1_scene.take = 0;
    response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    int rv = 1;
    for (int i = 0; i < 100 && rv >= 0; i++) {
        rv = response_write(held_exchange, content, PIECE);
    }
    assert_int_equal(rv, -1);
    take_turn();
    assert_int_equal(h1_scene.last, TURN_CLOSE);
    assert_int_equal(h1_scene.conn.end, OUTCOME_ABORTED);
}

static void borrowed_content_is_released_when_it_is_sent(void **state)
{
    (void)state;
    say(GET("/hold"));
    h1_scene.room = h1_scene.take = 0;
    response_send_borrowed(held_exchange, 200, "text/plain", content, sizeof content, count_release, NULL);
    take_turn();
    assert_int_equal(releases, 0);
    h1_scene.take = 777;
    pump();
    assert_int_equal(releases, 1);
    assert_content_is_whole(sizeof content);
}

static void borrowed_content_is_released_when_the_client_is_lost(void **state)
{
    (void)state;
    say(GET("/hold"));
    h1_scene.room = h1_scene.take = 0;
    response_send_borrowed(held_exchange, 200, "text/plain", content, sizeof content, count_release, NULL);
    take_turn();
    new_connection();
    assert_int_equal(releases, 1);
    assert_int_equal(held_gones, 0); /* the handler had done its part */
}

/* The call that sends the last of a piece may also fill the transport: that must not hide that the bytes behind the
 * piece have found no memory. */
static void memory_that_is_short_behind_a_piece_cuts_the_response(void **state)
{
    (void)state;
    struct write_buffer other = {0};
    conn_pool_lend_out(&h1_scene.pool, &other); /* so that the queue needs memory of its own */
    say(GET("/hold"));
    h1_scene.room = h1_scene.take = 0;
    response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write_borrowed(held_exchange, content, PIECE / 3, count_release, NULL), 1);
    assert_int_equal(response_write(held_exchange, content, PIECE / 10), 1);
    response_write_borrowed(held_exchange, content, PIECE / 3, count_release, NULL);
    h1_scene.room = PIECE / 3 + 1000; /* the head, the first piece, and some of what is copied behind it */
    fake_mem_fail_after(1, false);
    take_turn();
    assert_true(fake_mem_failed());
    assert_int_equal(h1_scene.room, 0);
    assert_int_equal(h1_scene.last, TURN_CLOSE);
    assert_int_equal(h1_scene.conn.end, OUTCOME_ABORTED);
    new_connection();
    assert_int_equal(releases, 2);
    conn_pool_put_out(&h1_scene.pool, &other);
}

/* A transport that takes everything does not keep the loop: after 256 KiB others have their turn (R6). */
static void a_turn_ends_after_its_budget(void **state)
{
    (void)state;
    say(GET("/hold"));
    response_send_borrowed(held_exchange, 200, "text/plain", content, sizeof content, count_release, NULL);
    take_turn();
    assert_in_range(h1_scene.out_len, 256 << 10, (256 << 10) + (64 << 10));
    assert_true(wants() & (unsigned)CONN_WRITES);
    pump();
    assert_content_is_whole(sizeof content);
}

/* A transport that must see every byte, such as TLS, has no sendfile(2): the file is read. */
static void a_file_is_read_for_a_transport_without_sendfile(void **state)
{
    (void)state;
    struct file_tree tree;
    tree_make(&tree);
    tree_write(&tree, "large", content, sizeof content);
    mount_files(tree.path);
    for (size_t take = 1000; take < 1000000; take *= 7) {
        new_connection();
        h1_scene.room = h1_scene.take = take;
        say(GET("/files/large"));
        assert_content_is_whole(sizeof content);
        assert_null(h1_scene.conn.work);
    }
    assert_int_equal(fake_sys_count(FAKE_SENDFILE), 0);
    tree_remove(&tree);
}

/* Through sendfile(2), or read because this file system refuses that. */
static void a_file_is_sent_by_the_transport(void **state)
{
    (void)state;
    struct file_tree tree;
    tree_make(&tree);
    tree_write(&tree, "large", content, sizeof content);
    mount_files(tree.path);
    h1_scene.has_sendfile = true;
    for (size_t take = 1000; take < 1000000; take *= 7) {
        new_connection();
        h1_scene.room = h1_scene.take = take;
        say(GET("/files/large"));
        assert_content_is_whole(sizeof content);
        assert_null(h1_scene.conn.work);
    }
    new_connection();
    h1_scene.sendfile_error = -EINVAL;
    say(GET("/files/large"));
    assert_content_is_whole(sizeof content);
    tree_remove(&tree);
}

/* What was announced cannot be sent: the client must be able to tell. */
static void a_file_that_is_cut_short_cuts_the_response(void **state)
{
    (void)state;
    struct file_tree tree;
    tree_make(&tree);
    mount_files(tree.path);
    for (int i = 0; i < 2; i++) {
        h1_scene.has_sendfile = i == 1;
        tree_write(&tree, "large", content, sizeof content);
        new_connection();
        h1_scene.room = h1_scene.take = 0;
        say(GET("/files/large"));
        tree_write(&tree, "large", content, 1000);
        h1_scene.take = 10000;
        pump();
        assert_int_equal(h1_scene.last, TURN_CLOSE);
        assert_int_equal(h1_scene.conn.end, OUTCOME_ABORTED);
        fake_sys_advance_ms(10000); /* the cache looks again */
    }
    tree_remove(&tree);
}

/* Pieces of a stream that are sent from where they are, between chunk framing that is copied. */
static void a_stream_may_borrow_its_pieces(void **state)
{
    (void)state;
    enum { PIECES = 100, BORROWED = 5000 };
    static char expected[PIECES * (BORROWED + 16)];
    static const size_t takes[] = {1, 777, 5008, 100000, NO_LIMIT};
    set_limit("write_cap", 1 << 20);
    for (size_t i = 0; i < COUNT(takes); i++) {
        new_connection();
        releases = 0;
        h1_scene.room = h1_scene.take = 0;
        say(GET("/hold"));
        response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
        size_t len = 0;
        for (int n = 0; n < PIECES; n++) {
            const char *piece = content + (size_t)n * 13;
            assert_true(response_write_borrowed(held_exchange, piece, BORROWED, count_release, NULL) >= 0);
            len += (size_t)snprintf(expected + len, sizeof expected - len, "%x\r\n%.*s\r\n", (unsigned)BORROWED,
                                    (int)BORROWED, piece);
        }
        len += (size_t)snprintf(expected + len, sizeof expected - len, "0\r\n\r\n");
        response_end(held_exchange);
        take_turn();
        h1_scene.take = takes[i];
        pump();
        size_t got_len;
        const char *got = output_content(&got_len);
        assert_int_equal(got_len, len);
        assert_memory_equal(got, expected, len);
        assert_int_equal(releases, PIECES);
        assert_null(h1_scene.conn.work);
    }
}

static void borrowed_pieces_are_released_when_the_client_is_lost(void **state)
{
    (void)state;
    say(GET("/hold"));
    h1_scene.room = h1_scene.take = 0;
    response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    for (int n = 0; n < 10; n++) {
        response_write_borrowed(held_exchange, content, 5000, count_release, NULL);
    }
    take_turn();
    assert_int_equal(releases, 0);
    new_connection();
    assert_int_equal(releases, 10);
    assert_int_equal(held_gones, 1);
}

/* A head that comes slowly and outgrows the memory it is kept in. */
static void input_grows_with_a_long_head(void **state)
{
    (void)state;
    char field[128];
    say("GET /hello HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 90; i++) {
        snprintf(field, sizeof field, "X-Field-%d: %050d\r\n", i, i);
        say(field);
    }
    assert_int_equal(h1_scene.out_len, 0);
    say("\r\n");
    assert_output(OK_TEXT("6", "hello\n"));
    assert_null(h1_scene.conn.work);
}

/* A body that lay in the read block is kept for a handler that responds later. */
static void a_handler_can_read_its_body_later(void **state)
{
    (void)state;
    say("POST /hold-whole HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345");
    memset(h1_scene.pool.read_block, 'x', READ_BLOCK_BYTES);
    assert_int_equal(held_exchange->body_len, 5);
    assert_memory_equal(held_exchange->body, "12345", 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_full_transport_holds_the_client_up),
        IO_TEST(pipelined_requests_wait_for_a_client_that_does_not_read),
        IO_TEST(a_request_waits_behind_a_route_with_a_mark_of_its_own),
        IO_TEST(a_stream_waits_for_its_client),
        IO_TEST(a_client_that_owes_too_much_is_cut),
        IO_TEST(borrowed_content_is_released_when_it_is_sent),
        IO_TEST(borrowed_content_is_released_when_the_client_is_lost),
        IO_TEST(memory_that_is_short_behind_a_piece_cuts_the_response),
        IO_TEST(a_turn_ends_after_its_budget),
        IO_TEST(a_file_is_read_for_a_transport_without_sendfile),
        IO_TEST(a_file_is_sent_by_the_transport),
        IO_TEST(a_file_that_is_cut_short_cuts_the_response),
        IO_TEST(a_stream_may_borrow_its_pieces),
        IO_TEST(borrowed_pieces_are_released_when_the_client_is_lost),
        IO_TEST(input_grows_with_a_long_head),
        IO_TEST(a_handler_can_read_its_body_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
