/* Limits of a route of its own. */

#include "tests/lib/host.h"

static void serve_length(evs_request *request, void *arg)
{
    (void)arg;
    char text[32];
    size_t body_len;
    (void)evs_body(request, &body_len);
    int len = snprintf(text, sizeof text, "%zu", body_len);
    evs_reply(request, 200, "text/plain", text, (size_t)len);
}

/* PUT path with a body of len bytes. */
static const char *put(const char *path, size_t len)
{
    static char request[65536];
    int head_len = snprintf(request, sizeof request, "PUT %s HTTP/1.0\r\nContent-Length: %zu\r\n\r\n", path, len);
    memset(request + head_len, 'x', len);
    request[(size_t)head_len + len] = '\0';
    return client_ask(host.port, request);
}

static const struct evs_limits small = {.size = sizeof small, .max_body = 10};
static const struct evs_limits large = {.size = sizeof large, .max_body = 1000};
static const struct evs_limits nothing = {.size = sizeof nothing, .max_body = EVSERVE_ZERO};
static const struct evs_limits none = {.size = sizeof none};

static const struct evs_route routes[] = {
    {.route = "PUT /small", .serve = serve_length, .limits = &small},
    {.route = "PUT /large", .serve = serve_length, .limits = &large},
    {.route = "PUT /nothing", .serve = serve_length, .limits = &nothing},
    {.route = "PUT /none", .serve = serve_length, .limits = &none},
    {.route = "PUT /plain", .serve = serve_length},
    {.route = NULL},
};

static void check_bodies(void)
{
    static const struct {
        const char *path;
        size_t most;
    } cases[] = {{"/small", 10}, {"/large", 1000}, {"/nothing", 0}, {"/none", 100}, {"/plain", 100}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char most[32];
        snprintf(most, sizeof most, "%zu", cases[i].most);
        assert_string_equal(client_body(put(cases[i].path, cases[i].most)), most);
        assert_memory_equal(put(cases[i].path, cases[i].most + 1), "HTTP/1.1 413 ", 13);
    }
}

static void limits_of_a_route_win_over_the_servers_also_after_a_reload(void **state)
{
    (void)state;
    host.config.routes = routes;
    host.config.max_body = 100;
    host_serve();
    check_bodies();
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    check_bodies();
}

static void route_gets_what_it_does_not_name_from_the_script(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.routes = routes;
    host.config.script = host_write("site.lua", "require('evserve').set({ max_body = 100 })\n");
    host_serve();
    check_bodies();
}

static void bad_limits_of_a_route_are_named(void **state)
{
    (void)state;
    static const struct {
        struct evs_limits limits;
        const char *what;
    } cases[] = {
        {{.max_body = 1}, "evserve_config.routes[1].limits: size is 0, expected sizeof(struct evs_limits)"},
        {{.size = sizeof(struct evs_limits) + 1}, "evserve_config.routes[1].limits: size is "},
        {{.size = sizeof(struct evs_limits), .write_timeout_ms = EVSERVE_ZERO},
         "evserve_config.routes[1].limits: write_timeout: 0 is out of range (1 to 86400000 ms)"},
        {{.size = sizeof(struct evs_limits), .write_cap = 5000},
         "evserve_config.routes[1].limits: write_high_mark (65536 bytes) is above write_cap (5000 bytes)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct evs_route bad[] = {{.route = "GET /", .serve = serve_length},
                                        {.route = "PUT /", .serve = serve_length, .limits = &cases[i].limits},
                                        {.route = NULL}};
        host.config.routes = bad;
        host_must_not_start(cases[i].what);
        assert_int_equal(evserve_check(&host.config, NULL, NULL, host.err, sizeof host.err), -1);
        assert_non_null(strstr(host.err, cases[i].what));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(limits_of_a_route_win_over_the_servers_also_after_a_reload),
        HOST_TEST(route_gets_what_it_does_not_name_from_the_script),
        HOST_TEST(bad_limits_of_a_route_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
