/* http/metrics_counts.c under a whole server: what exchanges are counted as, and how long they took. */

#include "http/metrics_counts.h"

#include "core/tick_clock.h"
#include "http/metrics_board.h"
#include "http/metrics_hosts.h"
#include "tests/lib/server_scene.h"

static struct metrics_counts *counts;
static struct metrics_board *board;

static int counts_set_up(void **state)
{
    counts = NULL;
    board = NULL;
    return scene_set_up(state);
}

static int counts_tear_down(void **state)
{
    server_destroy(scene.server);
    scene.server = NULL;
    metrics_counts_destroy(counts);
    metrics_board_destroy(board);
    return scene_tear_down(state);
}

#define COUNTS_TEST(fn) cmocka_unit_test_setup_teardown(fn, counts_set_up, counts_tear_down)

static void begin_counts(void)
{
    assert_int_equal(metrics_board_create(&board, 1, NULL), 0);
    assert_int_equal(metrics_counts_create(&counts, scene.reactor), 0);
    metrics_board_join(board, 0, server_service(scene.server));
    metrics_board_number_routes(board, scene.site->default_host.router);
    service_set_counts(server_service(scene.server), counts);
}

/* The usual routes, the first of which is GET /hello, and counts. */
static void begin(void)
{
    scene_begin();
    begin_counts();
}

static struct series_counts sum_of(unsigned series)
{
    struct series_counts sum = {0};
    metrics_counts_settle(counts);
    metrics_counts_sum(counts, HOST_OTHER, series, &sum);
    return sum;
}

/* How many requests of a series had a status. */
static uint64_t requests_of(unsigned series, unsigned code)
{
    struct series_counts sum = sum_of(series);
    for (size_t i = 0; i < COUNT_CODES; i++) {
        if (sum.codes[i] == code) {
            return sum.requests[i];
        }
    }
    return 0;
}

static void exchanges_are_counted_by_route_and_status(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello") GET("/hello") GET("/none"));
    size_t bytes = output_len(peer);
    assert_string_equal(statuses(peer), "200 200 404");
    say(peer, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    say(peer, "bad\r\n\r\n");
    assert_string_equal(statuses(peer), "200 200 404 405 400");
    assert_int_equal(requests_of(SERIES_FIRST, 200), 2);
    assert_int_equal(requests_of(SERIES_FILES, 404), 1);
    assert_int_equal(requests_of(SERIES_FILES, 405), 1);
    assert_int_equal(requests_of(SERIES_NONE, 400), 1);
    assert_int_equal(sum_of(SERIES_FIRST).bytes[0] + sum_of(SERIES_FILES).bytes[0], bytes);
}

static void client_that_left_is_499(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_peer_reset(peer, ECONNRESET);
    settle();
    uint64_t left = 0;
    for (unsigned series = SERIES_FIRST; series < SERIES_FIRST + 8; series++) {
        left += requests_of(series, 499);
    }
    assert_int_equal(left, 1);
}

static void connection_without_a_request_is_not_counted(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    fake_peer_close(peer);
    settle();
    assert_int_equal(requests_of(SERIES_FIRST, 200), 1);
    assert_int_equal(sum_of(SERIES_NONE).codes[0], 0);
}

static void serve_begin_counts(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    begin_counts();
    response_send(exchange, 200, "text/plain", "on", 2);
}

/* As by a reload: nobody knows when the tick began in which counting begins. */
static void request_in_the_tick_that_counting_begins_in_is_short(void **state)
{
    (void)state;
    static const struct handler turns_on = {.serve = serve_begin_counts, .body_mode = BODY_UNWANTED};
    scene_begin();
    add_route(METHOD_GET, "/on", &turns_on);
    say(client(), GET("/on") GET("/hello") GET("/none"));
    assert_int_equal(requests_of(SERIES_FIRST, 200), 1);
    assert_int_equal(sum_of(SERIES_FIRST).duration_ns, 0);
    assert_int_equal(sum_of(SERIES_FILES).duration_ns, 0);
    assert_int_equal(sum_of(SERIES_FIRST).buckets[0], 1);
}

static void duration_ends_with_the_response(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    pass_ms(400);
    response_send(held[0].exchange, 200, NULL, "x", 1);
    held[0].exchange = NULL;
    settle();
    pass_ms(5000); /* the client keeps its connection */
    unsigned series = SERIES_FIRST;
    while (requests_of(series, 200) == 0) {
        series++;
    }
    struct series_counts sum = sum_of(series);
    assert_in_range(sum.duration_ns, 400000000, 420000000);
    assert_int_equal(sum.buckets[8], 1); /* at most 0.5 s */
}

static void tick_with_many_exchanges_counts_all(void **state)
{
    (void)state;
    begin();
    static char requests[2 * COUNT_PENDING_MAX * sizeof GET("/hello")];
    for (int i = 0; i < COUNT_PENDING_MAX + 1; i++) {
        strcat(requests, GET("/hello"));
    }
    say(client(), requests);
    struct series_counts sum = sum_of(SERIES_FIRST);
    assert_int_equal(sum.requests[0], COUNT_PENDING_MAX + 1);
    uint64_t durations = 0;
    for (size_t i = 0; i <= COUNT_BOUNDS; i++) {
        durations += sum.buckets[i];
    }
    assert_int_equal(durations, COUNT_PENDING_MAX + 1);
}

static int next_status;

static void serve_status(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, next_status, NULL, "", 0);
}

static void statuses_beyond_the_limit_are_counted_together(void **state)
{
    (void)state;
    static const struct handler handler = {.serve = serve_status};
    add_route(METHOD_GET, "/status", &handler);
    begin();
    for (next_status = 200; next_status < 200 + COUNT_CODES + 1; next_status++) {
        say(client(), GET_CLOSE("/status"));
    }
    struct series_counts sum = sum_of(router_route(scene.site->default_host.router, 0)->series);
    assert_int_equal(sum.codes[COUNT_CODES - 2], 200 + COUNT_CODES - 2);
    assert_int_equal(sum.requests[COUNT_CODES - 2], 1);
    assert_int_equal(sum.codes[COUNT_CODES - 1], COUNT_OTHER_STATUS);
    assert_int_equal(sum.requests[COUNT_CODES - 1], 2);
}

/* Requests and bytes of a host, in the series of a route. */
static struct series_counts sum_of_host(unsigned host, unsigned series)
{
    struct series_counts sum = {0};
    metrics_counts_settle(counts);
    metrics_counts_sum(counts, host, series, &sum);
    return sum;
}

static void begin_with_hosts(void)
{
    assert_int_equal(metrics_hosts_add_list(&scene.site->metrics_hosts, "example.org, other.test", NULL, 0), 0);
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    begin();
    assert_null(metrics_board_number_hosts(board, scene.site->metrics_hosts));
}

static void listed_hosts_are_counted_apart(void **state)
{
    (void)state;
    begin_with_hosts();
    struct fake_peer *peer = client();
    say(peer, "GET /hello HTTP/1.1\r\nHost: Example.org:80\r\n\r\n"
              "GET http://example.org/hello HTTP/1.1\r\nHost: other.test\r\n\r\n"
              "GET /none HTTP/1.1\r\nHost: other.test\r\n\r\n" GET("/hello"));
    say(client(), "GET /hello HTTP/1.0\r\n\r\n");
    say(client(), "BAD\r\n\r\n");
    struct series_counts of_host = sum_of_host(1, SERIES_FIRST), rest = sum_of(SERIES_FIRST);
    assert_int_equal(of_host.codes[0], 200);
    assert_int_equal(of_host.requests[0], 2);
    assert_true(of_host.bytes[0] > 100);
    assert_int_equal(of_host.duration_ns, 0);
    assert_int_equal(rest.requests[0], 2); /* another host, and none */
    uint64_t durations = 0;
    for (size_t i = 0; i <= COUNT_BOUNDS; i++) {
        durations += rest.buckets[i];
    }
    assert_int_equal(durations, 4); /* of all hosts */
    assert_int_equal(sum_of_host(2, SERIES_FILES).codes[0], 404);
    assert_int_equal(sum_of_host(2, SERIES_FIRST).codes[0], 0);
    assert_int_equal(requests_of(SERIES_NONE, 400), 1);
}

/* The head is kept for that, though the response is made, and nobody else wants it. */
static void host_of_a_response_that_is_sent_slowly_is_known(void **state)
{
    (void)state;
    begin_with_hosts();
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, "GET /large HTTP/1.1\r\nHost: other.test\r\n\r\n");
    say(client(), "GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\n"); /* in the same read buffer */
    assert_int_equal(sum_of_host(2, SERIES_FILES).codes[0], 0);
    fake_peer_add_room(peer, 200000);
    settle();
    assert_int_equal(sum_of_host(2, SERIES_FILES).codes[0], 200);
    assert_int_equal(sum_of_host(1, SERIES_FILES).codes[0], 0);
}

static void host_without_memory_is_one_of_the_others(void **state)
{
    (void)state;
    begin_with_hosts();
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    for (uint64_t n = 1; n <= 2; n++) { /* the table of the host, and the series in it */
        fake_mem_fail_after(n, false);
        say(peer, "GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\n");
        assert_true(fake_mem_failed());
    }
    assert_int_equal(requests_of(SERIES_FIRST, 200), 3);
    say(peer, "GET /hello HTTP/1.1\r\nHost: example.org\r\n\r\n");
    assert_int_equal(requests_of(SERIES_FIRST, 200), 3);
    assert_int_equal(sum_of_host(1, SERIES_FIRST).requests[0], 1);
}

static void series_without_memory_is_not_counted(void **state)
{
    (void)state;
    begin();
    struct fake_peer *peer = client();
    say(peer, GET("/none"));
    fake_mem_fail_after(1, false);
    say(peer, GET("/hello"));
    assert_true(fake_mem_failed());
    assert_string_equal(statuses(peer), "404 200");
    assert_int_equal(requests_of(SERIES_FIRST, 200), 0);
    say(peer, GET("/hello"));
    assert_int_equal(requests_of(SERIES_FIRST, 200), 1);
}

static void refused_newcomers_are_counted(void **state)
{
    (void)state;
    begin();
    uint64_t refused[REFUSALS] = {0};
    set_limit("max_connections", 1);
    say(client(), GET("/hold"));
    client();
    settle();
    metrics_counts_sum_refused(counts, refused);
    assert_int_equal(refused[REFUSED_CONNECTIONS], 1);
    assert_int_equal(refused[REFUSED_ADDRESS] + refused[REFUSED_MEMORY] + refused[REFUSED_FDS], 0);
    assert_int_equal(requests_of(SERIES_NONE, 503), 1);
    assert_true(sum_of(SERIES_NONE).bytes[0] > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COUNTS_TEST(exchanges_are_counted_by_route_and_status),
        COUNTS_TEST(client_that_left_is_499),
        COUNTS_TEST(connection_without_a_request_is_not_counted),
        COUNTS_TEST(request_in_the_tick_that_counting_begins_in_is_short),
        COUNTS_TEST(duration_ends_with_the_response),
        COUNTS_TEST(tick_with_many_exchanges_counts_all),
        COUNTS_TEST(statuses_beyond_the_limit_are_counted_together),
        COUNTS_TEST(listed_hosts_are_counted_apart),
        COUNTS_TEST(host_of_a_response_that_is_sent_slowly_is_known),
        COUNTS_TEST(host_without_memory_is_one_of_the_others),
        COUNTS_TEST(series_without_memory_is_not_counted),
        COUNTS_TEST(refused_newcomers_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
