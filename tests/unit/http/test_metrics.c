/* http/metrics.c under a whole server: the page as a client gets it. */

#include "http/metrics.h"

#include "http/metrics_board.h"
#include "http/metrics_counts.h"
#include "http/metrics_own.h"
#include "tests/lib/server_scene.h"

static struct metrics_board *board;
static const struct handler page_handler = {.serve = metrics_serve};
static int looks; /* of board_look */

static int page_set_up(void **state)
{
    board = NULL;
    looks = 0;
    return scene_set_up(state);
}

static int page_tear_down(void **state)
{
    server_destroy(scene.server);
    scene.server = NULL;
    metrics_board_destroy(board);
    return scene_tear_down(state);
}

#define PAGE_TEST(fn) cmocka_unit_test_setup_teardown(fn, page_set_up, page_tear_down)

static void begin_page(void)
{
    add_route(METHOD_GET, "/metrics", &page_handler);
    scene_begin();
    assert_int_equal(metrics_board_create(&board, 1, &scene.log), 0);
    metrics_board_join(board, 0, server_service(scene.server));
}

/* Ask for the page. */
static struct fake_peer *page(void)
{
    struct fake_peer *peer = client();
    say(peer, GET("/metrics"));
    return peer;
}

static void expect_line(const struct fake_peer *peer, const char *line)
{
    if (!output_has(peer, line)) {
        fail_msg("%s is not in the page", line);
    }
}

static void timeouts_have_their_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *name;
    } cases[TIMEOUT_KINDS] = {[TIMEOUT_IDLE] = {"", "idle"},
                              [TIMEOUT_HEAD] = {"GET / HT", "header"},
                              [TIMEOUT_BODY] = {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "body"},
                              [TIMEOUT_HANDLER] = {GET("/hold"), "handler"},
                              [TIMEOUT_WRITE] = {GET("/large"), "write"},
                              [TIMEOUT_LINGER] = {"BAD\r\n\r\n", "linger"}};
    tree_add_filled(&scene.tree, "large", 'l', 100000);
    set_limit("handler_timeout", 1000);
    begin_page();
    for (size_t kind = 0; kind < TIMEOUT_KINDS; kind++) {
        char line[64];
        uint64_t before = stats().timeouts_by[kind];
        struct fake_peer *peer = client();
        fake_peer_set_room(peer, kind == TIMEOUT_WRITE ? 0 : 10000);
        say(peer, cases[kind].sent);
        pass_ms(200000);
        uint64_t after = stats().timeouts_by[kind];
        assert_true(after > before);
        snprintf(line, sizeof line, "evserve_timeouts_total{kind=\"%s\"} %d\n", cases[kind].name, (int)after);
        expect_line(page(), line);
    }
}

static void look_of_page(void *arg)
{
    struct metrics_sample *sample = arg;
    looks++;
    sample->connections[PHASE_HANDSHAKE] = 7;
}

static void sample_of_the_thread_that_responds_is_new(void **state)
{
    (void)state;
    begin_page();
    expect_line(page(), "evserve_connections{state=\"tls_handshake\"} 0\n");
    metrics_board_set_look(board, 0, look_of_page, metrics_board_sample(board, 0));
    expect_line(page(), "evserve_connections{state=\"tls_handshake\"} 7\n");
    assert_int_equal(looks, 1);
}

/* Sets of labels as long as they may be fill the page. */
static void page_beyond_the_limit_says_so(void **state)
{
    (void)state;
    static char names[OWN_LABELS_MAX][OWN_NAME_MAX + 1], text[OWN_VALUE_MAX + 1];
    static double bounds[OWN_BOUNDS_MAX];
    char err[256] = "";
    struct own_value values[OWN_LABELS_MAX];
    struct own_metric *metric = NULL;
    struct own_definition definition = {.kind = METRIC_HISTOGRAM,
                                        .name = "many",
                                        .help = "Many.",
                                        .label_count = OWN_LABELS_MAX,
                                        .bounds = bounds,
                                        .bound_count = OWN_BOUNDS_MAX};
    memset(text, 'x', OWN_VALUE_MAX);
    for (size_t i = 0; i < OWN_LABELS_MAX; i++) {
        memset(names[i], (int)('a' + i), OWN_NAME_MAX);
        definition.labels[i] = names[i];
        values[i] = (struct own_value){text, OWN_VALUE_MAX};
    }
    for (size_t i = 0; i < OWN_BOUNDS_MAX; i++) {
        bounds[i] = (double)i;
    }
    begin_page();
    assert_int_equal(metrics_own_define(metrics_board_own(board), &definition, &metric, err, sizeof err), 0);
    for (int i = 0; i < METRICS_TEXT_MAX / (OWN_BOUNDS_MAX * OWN_LABELS_MAX * (OWN_NAME_MAX + OWN_VALUE_MAX)); i++) {
        snprintf(text, sizeof text, "%0*d", (int)OWN_VALUE_MAX, i);
        assert_int_equal(own_metric_add(metric, 0, 1, values), 0);
    }
    struct fake_peer *peer = page();
    assert_string_equal(statuses(peer), "500");
    assert_non_null(
        strstr(scene.log_text, "the metrics are longer than 16 MiB: too many routes, hosts or label values"));
    assert_false(output_has(peer, "out of memory"));
}

static void page_without_memory_says_so(void **state)
{
    (void)state;
    begin_page();
    struct fake_peer *peer = page();
    assert_string_equal(statuses(peer), "200");
    uint64_t calls = fake_mem_calls();
    say(peer, GET("/metrics"));
    calls = fake_mem_calls() - calls;
    fake_peer_forget_output(peer);
    for (uint64_t n = 1; n <= calls; n++) {
        fake_mem_fail_after(n, false);
        struct fake_peer *other = peer;
        say(other, GET("/metrics"));
        const char *seen = statuses(other);
        assert_true(strcmp(seen, "503") == 0 || strcmp(seen, "200") == 0);
        fake_mem_fail_after(0, false);
        fake_peer_forget_output(peer);
    }
}

static void totals_are_those_of_the_board(void **state)
{
    (void)state;
    struct server_stats own, totals;
    scene_begin();
    say(client(), GET("/hello"));
    server_get_stats(scene.server, &own);
    server_get_totals(scene.server, &totals);
    assert_memory_equal(&own, &totals, sizeof own);
    assert_int_equal(totals.requests, 1);

    static struct service other; /* of another reactor's server */
    other.stats.requests = 5;
    other.stats.timeouts_by[TIMEOUT_LINGER] = 3;
    assert_int_equal(metrics_board_create(&board, 3, NULL), 0);
    metrics_board_join(board, 0, server_service(scene.server));
    metrics_board_join(board, 2, &other); /* the one between them has not joined yet */
    server_get_totals(scene.server, &totals);
    assert_int_equal(totals.requests, 6);
    assert_int_equal(totals.accepted, own.accepted);
    assert_int_equal(totals.timeouts_by[TIMEOUT_LINGER], 3);
    server_get_stats(scene.server, &totals);
    assert_memory_equal(&own, &totals, sizeof own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGE_TEST(timeouts_have_their_kinds),     PAGE_TEST(sample_of_the_thread_that_responds_is_new),
        PAGE_TEST(page_beyond_the_limit_says_so), PAGE_TEST(page_without_memory_says_so),
        PAGE_TEST(totals_are_those_of_the_board),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
