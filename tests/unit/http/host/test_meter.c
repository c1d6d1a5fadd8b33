/* http/host/meter.c: from which offer on a thread counts, and what it looks at. On the fake kernel. */

#include "http/host/meter.h"

#include "evserve.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct file_tree tree;
static evserve *server;
static int shows_metrics; /* /guarded does */

static void serve_guarded(evs_request *request, void *arg)
{
    if (shows_metrics) {
        evs_metrics(request, arg);
    } else {
        evs_reply(request, 200, NULL, "no", 2);
    }
}

static const struct evs_route with_metrics[] = {{.route = "GET /metrics", .serve = evs_metrics}, {.route = NULL}};
static const struct evs_route without_metrics[] = {{.route = "GET /metrics", .serve = serve_guarded}, {.route = NULL}};

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    tree_make(&tree);
    tree_add_filled(&tree, "a", 'a', 5);
    shows_metrics = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    evserve_free(server);
    server = NULL;
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    tree_remove(&tree);
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static void step(void)
{
    for (int i = 0; i < 4; i++) {
        assert_int_equal(evserve_poll(server, 0), 1);
    }
}

static evserve *start_with(const struct evs_route *routes, char *err)
{
    const struct evserve_config config = {.size = sizeof config,
                                          .listen = "127.0.0.1:0",
                                          .root = tree.path,
                                          .routes = routes};
    return evserve_start(&config, err, EVSERVE_ERROR_MAX);
}

static void start(const struct evs_route *routes)
{
    char err[EVSERVE_ERROR_MAX] = "";
    server = start_with(routes, err);
    if (server == NULL) {
        fail_msg("%s", err);
    }
}

/* Ask for a path on a connection of its own. Valid until the connection is gone. */
static const char *get(const char *path)
{
    struct fake_peer *peer = fake_peer_connect(fake_sys_listener_fd());
    char text[128];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path);
    step();
    fake_peer_send_text(peer, text);
    step();
    size_t len;
    return fake_peer_output(peer, &len);
}

/* The value of a sample on the page; -1 if there is none. */
static double sample_of(const char *name)
{
    const char *page = get("/metrics");
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(page, line);
    return at == NULL ? -1 : strtod(at + strlen(line), NULL);
}

static void nothing_is_counted_by_route_without_a_page(void **state)
{
    (void)state;
    start(without_metrics);
    get("/a");
    assert_true(sample_of("evserve_requests_total{route=\"files\",code=\"200\"}") < 0); /* without EVS_METRICS */
    assert_true(sample_of("evserve_responses_total{class=\"2xx\"}") >= 1);
    assert_true(sample_of("evserve_connections{state=\"handling\"}") == 0); /* nobody looks */
}

/* With one thread, the page is exact. */
static void page_shows_what_is_so_now(void **state)
{
    (void)state;
    start(with_metrics);
    assert_true(sample_of("evserve_file_cache_files") == 0);
    get("/a");
    assert_true(sample_of("evserve_requests_total{route=\"files\",code=\"200\"}") == 1);
    assert_true(sample_of("evserve_file_cache_files") == 1);
    assert_true(sample_of("evserve_file_cache_bytes") == 5);
    assert_true(sample_of("evserve_file_cache_looks_total{result=\"miss\"}") == 1);
    struct fake_peer *idle = fake_peer_connect(fake_sys_listener_fd());
    step();
    assert_true(sample_of("evserve_connections{state=\"idle\"}") == 1);
    assert_true(sample_of("evserve_connections{state=\"handling\"}") == 1); /* that of the page */
    assert_true(sample_of("evserve_connections_open") >= 2);
    fake_peer_send_text(idle, "GET");
    step();
    assert_true(sample_of("evserve_connections{state=\"reading\"}") == 1);
}

/* What the timer does is what the page of another thread shows. */
static void thread_looks_once_a_second(void **state)
{
    (void)state;
    start(with_metrics);
    get("/a");
    assert_true(sample_of("evserve_file_cache_looks_total{result=\"miss\"}") == 1);
    for (int i = 0; i < 3; i++) {
        fake_sys_advance_ms(METER_LOOK_MS);
        step();
    }
    assert_true(sample_of("evserve_file_cache_looks_total{result=\"miss\"}") == 1); /* looks are added once */
    get("/a");
    assert_true(sample_of("evserve_file_cache_looks_total{result=\"miss\"}") == 1 ||
                sample_of("evserve_file_cache_looks_total{result=\"miss\"}") == 2);
}

static void start_without_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    bool has_failed = true;
    for (uint64_t n = 1; has_failed && n < 2000; n++) {
        char err[EVSERVE_ERROR_MAX] = "";
        fake_mem_fail_after(n, false);
        server = start_with(with_metrics, err);
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(server != NULL || err[0] != '\0');
        if (server != NULL && has_failed) { /* what failed is something that can be done without */
            get("/a");
        }
        evserve_free(server);
        server = NULL;
        assert_int_equal(fake_mem_live(), 0);
    }
    assert_false(has_failed);
}

#define METER_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        METER_TEST(nothing_is_counted_by_route_without_a_page),
        METER_TEST(page_shows_what_is_so_now),
        METER_TEST(thread_looks_once_a_second),
        METER_TEST(start_without_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
