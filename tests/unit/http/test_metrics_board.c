/* http/metrics_board.c: routes and their series. */

#include "http/metrics_board.h"

#include "http/handler.h"
#include "http/metrics_counts.h"
#include "http/metrics_hosts.h"
#include "http/router.h"
#include "tests/lib/fake_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct handler nobody;
static struct metrics_board *board;

static int set_up(void **state)
{
    (void)state;
    return metrics_board_create(&board, 2, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    metrics_board_destroy(board);
    return fake_mem_live() == 0 ? 0 : -1;
}

static void add(struct router *router, uint64_t methods, const char *pattern)
{
    assert_int_equal(router_add(router, methods, pattern, &nobody, NULL, NULL, 0), 0);
}

static void expect_series(unsigned series, const char *methods, const char *path)
{
    const char *found = NULL, *text = metrics_board_series(board, series, &found);
    assert_non_null(text);
    assert_string_equal(text, path);
    assert_string_equal(found == NULL ? "-" : found, methods);
}

static void routes_keep_their_series_over_reloads_and_threads(void **state)
{
    (void)state;
    const char *methods;
    struct router *first, *second;
    assert_int_equal(router_create(&first), 0);
    assert_int_equal(router_create(&second), 0);
    add(first, METHOD_BIT(METHOD_GET), "/a");
    add(first, METHOD_BIT(METHOD_PUT) | METHOD_BIT(METHOD_DELETE), "/a");
    add(second, METHOD_BIT(METHOD_PUT) | METHOD_BIT(METHOD_DELETE), "/a");
    add(second, METHOD_BIT(METHOD_GET), "/b");
    add(second, METHOD_BIT(METHOD_GET), "/a");
    metrics_board_number_routes(board, first);
    metrics_board_number_routes(board, second);
    assert_int_equal(router_route(first, 0)->series, SERIES_FIRST);
    assert_int_equal(router_route(first, 1)->series, SERIES_FIRST + 1);
    assert_int_equal(router_route(second, 0)->series, SERIES_FIRST + 1);
    assert_int_equal(router_route(second, 1)->series, SERIES_FIRST + 2);
    assert_int_equal(router_route(second, 2)->series, SERIES_FIRST);
    router_destroy(first); /* names live as long as the board */
    router_destroy(second);
    expect_series(SERIES_NONE, "-", "none");
    expect_series(SERIES_FILES, "-", "files");
    expect_series(SERIES_MORE, "-", "other");
    expect_series(SERIES_FIRST, "GET", "/a");
    expect_series(SERIES_FIRST + 1, "PUT,DELETE", "/a");
    expect_series(SERIES_FIRST + 2, "GET", "/b");
    assert_null(metrics_board_series(board, SERIES_FIRST + 3, &methods));
}

static void routes_beyond_the_limit_share_a_series(void **state)
{
    (void)state;
    const char *methods;
    struct router *router;
    assert_int_equal(router_create(&router), 0);
    for (unsigned i = SERIES_FIRST; i <= SERIES_MAX; i++) {
        char pattern[32];
        snprintf(pattern, sizeof pattern, "/%u", i);
        add(router, METHOD_BIT(METHOD_GET), pattern);
    }
    metrics_board_number_routes(board, router);
    assert_int_equal(router_route(router, SERIES_MAX - SERIES_FIRST - 1)->series, SERIES_MAX - 1);
    assert_int_equal(router_route(router, SERIES_MAX - SERIES_FIRST)->series, SERIES_MORE);
    expect_series(SERIES_MAX - 1, "GET", "/1023");
    assert_null(metrics_board_series(board, SERIES_MAX, &methods));
    router_destroy(router);
}

static void hosts_keep_their_numbers_over_reloads_and_threads(void **state)
{
    (void)state;
    struct metrics_hosts *first = NULL, *second = NULL;
    assert_int_equal(metrics_hosts_add_list(&first, "a, b", NULL, 0), 0);
    assert_int_equal(metrics_hosts_add_list(&second, "c, a", NULL, 0), 0);
    assert_null(metrics_board_number_hosts(board, NULL));
    assert_null(metrics_board_host(board, 1));
    assert_null(metrics_board_number_hosts(board, first));
    assert_null(metrics_board_number_hosts(board, second));
    assert_int_equal(metrics_hosts_find(first, "b", 1), 2);
    assert_int_equal(metrics_hosts_find(second, "c", 1), 3);
    assert_int_equal(metrics_hosts_find(second, "a", 1), 1);
    assert_int_equal(metrics_hosts_find(second, "b", 1), HOST_OTHER);
    metrics_hosts_destroy(first);
    metrics_hosts_destroy(second);
    assert_string_equal(metrics_board_host(board, HOST_OTHER), "");
    assert_string_equal(metrics_board_host(board, 3), "c");
    assert_null(metrics_board_host(board, 4));
}

static void hosts_beyond_the_limit_are_others(void **state)
{
    (void)state;
    struct metrics_hosts *hosts = NULL, *later = NULL;
    for (int i = 1; i <= METRICS_HOSTS_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "h%d", i);
        assert_int_equal(metrics_hosts_add(&hosts, name, NULL, 0), 0);
    }
    assert_int_equal(metrics_hosts_add_list(&later, "h1, more, most", NULL, 0), 0);
    fake_mem_fail_after(1, false);
    assert_string_equal(metrics_board_number_hosts(board, hosts), "h1"); /* without memory; a reload tries again */
    assert_null(metrics_board_number_hosts(board, hosts));
    assert_string_equal(metrics_board_number_hosts(board, later), "more");
    assert_string_equal(metrics_board_host(board, METRICS_HOSTS_MAX), "h1");
    assert_null(metrics_board_host(board, METRICS_HOSTS_MAX + 1));
    assert_int_equal(metrics_hosts_find(later, "h1", 2), METRICS_HOSTS_MAX);
    assert_int_equal(metrics_hosts_find(later, "most", 4), HOST_OTHER);
    metrics_hosts_destroy(hosts);
    metrics_hosts_destroy(later);
}

static void route_without_memory_is_one_of_the_others(void **state)
{
    (void)state;
    struct router *router;
    assert_int_equal(router_create(&router), 0);
    add(router, METHOD_BIT(METHOD_GET), "/a");
    fake_mem_fail_after(1, false);
    metrics_board_number_routes(board, router);
    assert_int_equal(router_route(router, 0)->series, SERIES_MORE);
    metrics_board_number_routes(board, router);
    assert_int_equal(router_route(router, 0)->series, SERIES_FIRST);
    router_destroy(router);
}

static void board_without_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    struct metrics_board *other = NULL;
    size_t live = fake_mem_live();
    for (uint64_t n = 1; n <= 5; n++) {
        fake_mem_fail_after(n, false);
        assert_int_not_equal(metrics_board_create(&other, 2, NULL), 0);
        assert_int_equal(fake_mem_live(), live);
    }
}

#define BOARD_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOARD_TEST(routes_keep_their_series_over_reloads_and_threads),
        BOARD_TEST(routes_beyond_the_limit_share_a_series),
        BOARD_TEST(hosts_keep_their_numbers_over_reloads_and_threads),
        BOARD_TEST(hosts_beyond_the_limit_are_others),
        BOARD_TEST(route_without_memory_is_one_of_the_others),
        BOARD_TEST(board_without_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
