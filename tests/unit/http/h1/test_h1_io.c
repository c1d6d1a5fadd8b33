/* Output against a transport that takes what it likes: back-pressure, the budget of a turn, content that is sent from where
 * it is, files for a transport without sendfile(2). */

#include "tests/lib/h1_scene.h"

#include "http/static_files.h"
#include "http/static_mounts.h"
#include "tests/lib/file_tree.h"

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
    char err[256] = "";
    struct file_tree tree;
    tree_make(&tree);
    tree_write(&tree, "large", content, sizeof content);
    assert_int_equal(static_mounts_add(h1_scene.site->mounts, "/files", tree.path, NULL, err, sizeof err), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        IO_TEST(a_full_transport_holds_the_client_up),
        IO_TEST(a_stream_waits_for_its_client),
        IO_TEST(a_client_that_owes_too_much_is_cut),
        IO_TEST(borrowed_content_is_released_when_it_is_sent),
        IO_TEST(borrowed_content_is_released_when_the_client_is_lost),
        IO_TEST(a_turn_ends_after_its_budget),
        IO_TEST(a_file_is_read_for_a_transport_without_sendfile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
