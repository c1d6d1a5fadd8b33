/* Lines that clients cause: at the limit, one past it, and who says how many there were. */

#include "http/conn_lines.h"

#include "http/server_internal.h"
#include "tests/lib/server_scene.h"

static struct conn_lines lines;

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    scene_begin();
    lines = (struct conn_lines){.service = &scene.server->service, .what = "more things have happened"};
    return rv;
}

static int tear_down(void **state)
{
    conn_lines_done(&lines);
    return scene_tear_down(state);
}

#define LINES_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

static void take(int count, int allowed)
{
    int taken = 0;
    for (int i = 0; i < count; i++) {
        taken += conn_lines_take(&lines) ? 1 : 0;
    }
    assert_int_equal(taken, allowed);
}

static bool log_has(const char *text)
{
    return strstr(scene.log_text, text) != NULL;
}

static void at_the_limit_all_are_written_and_nothing_is_counted(void **state)
{
    (void)state;
    take(CONN_LINES_MAX, CONN_LINES_MAX);
    pass_ms(CONN_LINES_SPAN_MS + 1000);
    take(CONN_LINES_MAX, CONN_LINES_MAX); /* another span */
    assert_false(log_has("more things"));
}

static void one_past_it_is_counted_when_the_span_is_over(void **state)
{
    (void)state;
    take(CONN_LINES_MAX + 1, CONN_LINES_MAX);
    pass_ms(CONN_LINES_SPAN_MS - 1000);
    assert_false(log_has("more things"));
    pass_ms(1000);
    assert_true(log_has("1 more things have happened"));
    scene.log_text[0] = '\0';
    take(CONN_LINES_MAX + 1000, CONN_LINES_MAX);
    pass_ms(CONN_LINES_SPAN_MS);
    assert_true(log_has("1000 more things have happened"));
}

static void without_memory_for_a_timer_the_next_one_counts(void **state)
{
    (void)state;
    fake_mem_fail_after(1, true);
    take(CONN_LINES_MAX + 20, CONN_LINES_MAX);
    bool has_failed = fake_mem_failed();
    fake_mem_fail_after(0, false);
    pass_ms(CONN_LINES_SPAN_MS);
    assert_true(has_failed != log_has("20 more things have happened"));
    take(1, 1);
    assert_true(log_has("20 more things have happened"));
}

static void what_is_left_is_counted_at_the_end(void **state)
{
    (void)state;
    take(CONN_LINES_MAX + 2, CONN_LINES_MAX);
    conn_lines_done(&lines);
    assert_true(log_has("2 more things have happened"));
    assert_int_equal(lines.timer, 0);
    struct conn_lines unused = {0};
    conn_lines_done(&unused);
}

/* Clients that speak TLS to a plain listener: the line that they cause. */

static const char client_hello[] = "\x16\x03\x01\x00\xc5\x01\x00\x00\xc1\x03\x03";

static struct fake_peer *say_hello(size_t len)
{
    struct fake_peer *peer = client();
    fake_peer_send(peer, client_hello, len);
    settle();
    return peer;
}

static void tls_to_a_plain_listener_is_one_line_that_names_both_sides(void **state)
{
    (void)state;
    for (size_t len = 1; len < sizeof client_hello; len++) {
        scene.log_text[0] = '\0';
        struct fake_peer *peer = say_hello(len);
        assert_string_equal(statuses(peer), "400");
        assert_true(output_has(peer, "the client speaks TLS, but this is a plain HTTP listener"));
        assert_true(log_has("the client 127.0.0.1:"));
        assert_true(log_has(" speaks TLS, but 127.0.0.1:"));
        assert_true(log_has(" is a plain HTTP listener: add ?tls to its address\n"));
        assert_null(strchr(strchr(scene.log_text, '\n') + 1, '\n')); /* one line */
        fake_peer_shutdown(peer);
        settle();
        assert_true(is_closed(peer));
        pass_ms(CONN_LINES_SPAN_MS);
    }
    assert_int_equal(stats().lost, 0);
}

/* The second byte is not that of TLS, but the first one may come alone. */
static void first_byte_of_tls_decides_however_the_bytes_are_cut(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= 3; piece++) {
        struct fake_peer *peer = client();
        fake_peer_send_in_pieces(peer, "\x16t|", 3, piece);
        settle();
        assert_string_equal(statuses(peer), "400");
        assert_true(output_has(peer, "the client speaks TLS"));
    }
}

static void other_garbage_is_not_taken_for_tls(void **state)
{
    (void)state;
    static const char *const rows[] = {"\x14\x03\x01", "\x17\x03\x03", "\x15\x03\x01", "G\x16\x03", "\r\n\x16\x03\x01"};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct fake_peer *peer = client();
        say(peer, rows[i]);
        assert_string_equal(statuses(peer), "400");
        assert_false(output_has(peer, "TLS"));
        assert_false(log_has("speaks TLS"));
    }
}

static void flood_of_tls_to_a_plain_listener_does_not_flood_the_log(void **state)
{
    (void)state;
    for (int i = 0; i < CONN_LINES_MAX + 95; i++) {
        fake_peer_close(say_hello(3));
        settle();
    }
    int count = 0;
    for (const char *at = scene.log_text; (at = strstr(at, "speaks TLS")) != NULL; at++) {
        count++;
    }
    assert_int_equal(count, CONN_LINES_MAX);
    pass_ms(CONN_LINES_SPAN_MS);
    assert_true(log_has("95 more clients have sent TLS to listeners for plain HTTP"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LINES_TEST(at_the_limit_all_are_written_and_nothing_is_counted),
        LINES_TEST(one_past_it_is_counted_when_the_span_is_over),
        LINES_TEST(without_memory_for_a_timer_the_next_one_counts),
        LINES_TEST(what_is_left_is_counted_at_the_end),
        LINES_TEST(tls_to_a_plain_listener_is_one_line_that_names_both_sides),
        LINES_TEST(first_byte_of_tls_decides_however_the_bytes_are_cut),
        LINES_TEST(other_garbage_is_not_taken_for_tls),
        LINES_TEST(flood_of_tls_to_a_plain_listener_does_not_flood_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
