/* evs_health(): well, not well by the host's own check, and stopping. */

#include "tests/lib/client.h"
#include "tests/lib/host.h"

#include <unistd.h>

static const char *trouble; /* what the check says; NULL: all is well */

static int check_trouble(void *arg, char *why, size_t size)
{
    if (trouble == NULL) {
        return 0;
    }
    assert_ptr_equal(arg, &trouble);
    snprintf(why, size, "%s", trouble);
    return -1;
}

static const struct evs_health_check asked = {.check = check_trouble, .arg = &trouble}, asks_nothing;

static const struct evs_route routes[] = {
    {.route = "GET /healthz", .serve = evs_health},
    {.route = "GET /ready", .serve = evs_health, .arg = (void *)(uintptr_t)&asked},
    {.route = "GET /empty", .serve = evs_health, .arg = (void *)(uintptr_t)&asks_nothing},
    {.route = NULL},
};

static void assert_health(const char *path, const char *status, const char *text)
{
    const char *response = client_get(host.port, path);
    assert_memory_equal(response, status, strlen(status));
    assert_non_null(strstr(response, "\r\nCache-Control: no-store\r\n"));
    assert_non_null(strstr(response, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    assert_string_equal(client_body(response), text);
}

static void server_is_well_unless_its_host_says_otherwise(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_start();
    host_serve();
    assert_health("/healthz", "HTTP/1.1 200 ", "ok\n");
    assert_health("/empty", "HTTP/1.1 200 ", "ok\n");
    trouble = NULL;
    assert_health("/ready", "HTTP/1.1 200 ", "ok\n");
    trouble = "no database";
    assert_health("/ready", "HTTP/1.1 503 ", "no database\n");
    assert_health("/healthz", "HTTP/1.1 200 ", "ok\n");
    trouble = "";
    assert_health("/ready", "HTTP/1.1 503 ", "failed\n");
}

/* A reason that is longer than its room is cut, and still ends with a newline. */
static void long_reason_is_cut(void **state)
{
    (void)state;
    static char reason[2000];
    memset(reason, 'a', sizeof reason - 1);
    trouble = reason;
    host.config.routes = routes;
    host_start();
    host_serve();
    const char *body = client_body(client_get(host.port, "/ready"));
    size_t len = strlen(body);
    assert_int_equal(len, 512);
    assert_int_equal(strspn(body, "a"), len - 1);
    assert_int_equal(body[len - 1], '\n');
    trouble = NULL;
}

static void server_that_stops_is_not_well_while_it_still_accepts(void **state)
{
    (void)state;
    host.config.routes = routes;
    host.config.drain_delay_ms = 60000;
    host_start();
    host_serve();
    assert_health("/healthz", "HTTP/1.1 200 ", "ok\n");
    evserve_stop(host.server, 60000);
    for (int i = 0; i < 2000 && strstr(client_get(host.port, "/healthz"), "stopping") == NULL; i++) {
        usleep(1000); /* the thread that serves has yet to hear of it */
    }
    assert_health("/healthz", "HTTP/1.1 503 ", "stopping\n");
    assert_health("/ready", "HTTP/1.1 503 ", "stopping\n");
    assert_int_equal(host_stop(0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(server_is_well_unless_its_host_says_otherwise),
        HOST_TEST(long_reason_is_cut),
        HOST_TEST(server_that_stops_is_not_well_while_it_still_accepts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
