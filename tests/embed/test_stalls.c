/* Functions of a host that hold the event loop: evserve_config.stall_warning_ms, evs_stats.stalls, and the log. */

#include "tests/lib/client.h"
#include "tests/lib/host.h"

#include <time.h>

static void hold(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 40000000}, NULL);
}

static void serve_hold(evs_request *request, void *arg)
{
    (void)arg;
    hold();
    evs_reply(request, 200, "text/plain", "held", 4);
}

static void on_event(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_TIMER) {
        hold();
        evs_reply(request, 200, "text/plain", "later", 5);
    }
}

static void serve_later(evs_request *request, void *arg)
{
    evs_on(request, on_event, arg);
    (void)evs_after(request, 1);
}

static void serve_now(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "now", 3);
}

static int before(evs_request *request, void *arg)
{
    (void)request;
    (void)arg;
    hold();
    return 0;
}

static const struct evs_route routes[] = {
    {.route = "GET /now", .serve = serve_now},
    {.route = "GET,POST /hold/:id", .serve = serve_hold},
    {.route = "GET /later", .serve = serve_later},
    {.route = NULL},
};

static uint64_t count_stalls(void)
{
    struct evs_stats stats = {.size = sizeof stats};
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    return stats.stalls;
}

/* The next line of the log about a stall must end like this. */
static void expect_line(const char *path, const char *content, const char *name)
{
    host.config.routes = routes;
    host.config.stall_warning_ms = 20;
    host_start();
    host_serve();
    host_expect(path, content);
    for (int i = 0; i < 500 && !host_has_logged("stood still"); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    if (!host_has_logged(name)) {
        fail_msg("%s: %s", name, host.log);
    }
    assert_true(count_stalls() >= 1);
    assert_int_equal(host_stop(0), 0);
}

static void route_is_named(void **state)
{
    (void)state;
    expect_line("/hold/7", "held",
                "(stall_warning is 20 ms): route GET,POST /hold/:id (evserve_config.routes[1]) ran for ");
}

static void event_function_is_named(void **state)
{
    (void)state;
    expect_line("/later", "later", "): the evs_on() function of route /later (evserve_config.routes[2]) ran for ");
}

static void hook_is_named(void **state)
{
    (void)state;
    host.config.before = before;
    expect_line("/now", "now", "): evserve_config.before ran for ");
}

static void post_hold(void *arg)
{
    (void)arg;
    hold();
}

static void call_from_another_thread_is_named(void **state)
{
    (void)state;
    host.config.stall_warning_ms = 20;
    host_start();
    host_serve();
    assert_int_equal(evserve_post(host.server, post_hold, NULL), 0);
    for (int i = 0; i < 500 && !host_has_logged("stood still"); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_true(host_has_logged("): a call from another thread ran for "));
    assert_int_equal(host_stop(0), 0);
}

static void host_that_does_not_want_to_know_is_told_nothing(void **state)
{
    (void)state;
    host.config.routes = routes;
    host.config.stall_warning_ms = EVSERVE_ZERO;
    host_start();
    host_serve();
    host_expect("/hold/7", "held");
    host_expect("/now", "now");
    assert_int_equal(count_stalls(), 0);
    assert_int_equal(host_stop(0), 0);
    assert_null(strstr(host.log, "stood still"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(route_is_named),
        HOST_TEST(event_function_is_named),
        HOST_TEST(hook_is_named),
        HOST_TEST(call_from_another_thread_is_named),
        HOST_TEST(host_that_does_not_want_to_know_is_told_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
