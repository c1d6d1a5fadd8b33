/* http/host/evs_config.c: configs of older programs, copies that survive the host's, limits. */

#include "evserve.h"
#include "http/host/evs_config.h"
#include "http/limits.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    return fake_mem_live() == 0 ? 0 : -1;
}

static void answer(evs_request *request, void *arg)
{
    (void)request;
    (void)arg;
}

static void config_of_an_older_program_has_defaults_for_the_rest(void **state)
{
    (void)state;
    struct evserve_config config = {.listen = ":0", .root = "public", .max_body = 5, .debug = 1};
    struct evserve_config copy;
    config.size = offsetof(struct evserve_config, root);
    memset(&copy, 0xa5, sizeof copy);
    assert_int_equal(evs_config_read(&copy, &config, NULL, 0), 0);
    assert_string_equal(copy.listen, ":0");
    assert_null(copy.root);
    assert_int_equal(copy.max_body, 0);
    assert_int_equal(copy.debug, 0);
    config.size = sizeof config;
    assert_int_equal(evs_config_read(&copy, &config, NULL, 0), 0);
    assert_string_equal(copy.root, "public");
    assert_int_equal(copy.max_body, 5);
}

static void size_that_no_release_has_is_refused(void **state)
{
    (void)state;
    struct evserve_config config = {.listen = ":0"};
    struct evserve_config copy;
    const size_t sizes[] = {0, offsetof(struct evserve_config, listen) - 1, sizeof config + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char err[EVSERVE_ERROR_MAX] = "";
        config.size = sizes[i];
        assert_int_equal(evs_config_read(&copy, &config, err, sizeof err), -EINVAL);
        assert_non_null(strstr(err, "evserve_config.size is "));
    }
}

static void threads_have_a_limit(void **state)
{
    (void)state;
    struct evserve_config config = {.size = sizeof config, .reactors = EVSERVE_REACTORS_MAX};
    struct evserve_config copy;
    char err[EVSERVE_ERROR_MAX] = "";
    assert_int_equal(evs_config_read(&copy, &config, err, sizeof err), 0);
    config.reactors++;
    assert_int_equal(evs_config_read(&copy, &config, err, sizeof err), -ERANGE);
    assert_non_null(strstr(err, "evserve_config.reactors is "));
}

static void reload_has_a_longest_deadline(void **state)
{
    (void)state;
    char err[EVSERVE_ERROR_MAX];
    struct evserve_config copy;
    struct evserve_config config = {.size = sizeof config, .reload_timeout_ms = EVSERVE_RELOAD_TIMEOUT_MAX_MS};
    assert_int_equal(evs_config_read(&copy, &config, err, sizeof err), 0);
    config.reload_timeout_ms++;
    assert_int_equal(evs_config_read(&copy, &config, err, sizeof err), -ERANGE);
    assert_non_null(strstr(err, "evserve_config.reload_timeout_ms is 86400001, expected at most 86400000"));
}

static void kept_config_outlives_what_it_was_copied_from(void **state)
{
    (void)state;
    char listen[] = ":0", root[] = "public", script[] = "site.lua", first[] = "GET /a", second[] = "GET /b";
    struct evs_limits limits = {.size = sizeof limits, .max_body = 7};
    struct evs_route routes[] = {{.route = first, .serve = answer},
                                 {.route = second, .serve = answer, .limits = &limits},
                                 {.route = NULL}};
    char prefix[] = "/x", name[] = "X-One";
    const char *index[] = {name, NULL};
    struct evs_field headers[] = {{name, prefix}, {NULL, NULL}};
    struct evs_type types[] = {{name, prefix}, {NULL, NULL}};
    struct evs_mount mounts[] = {{.prefix = prefix, .dir = root, .index = index, .headers = headers, .types = types},
                                 {.prefix = prefix, .fallback = root, .not_found = prefix, .cache_s = 5},
                                 {.prefix = NULL}};
    struct evserve_config config = {
        .size = sizeof config, .listen = listen, .root = root, .script = script, .routes = routes, .mounts = mounts};
    struct evserve_config kept;
    assert_int_equal(evs_config_keep(&kept, &config), 0);
    memset(listen, 'x', 2);
    memset(root, 'x', 6);
    memset(script, 'x', 8);
    memset(first, 'x', 6);
    memset(second, 'x', 6);
    memset(routes, 0xa5, sizeof routes);
    memset(&limits, 0xa5, sizeof limits);
    memset(prefix, 'x', 2);
    memset(name, 'x', 5);
    memset(index, 0xa5, sizeof index);
    memset(headers, 0xa5, sizeof headers);
    memset(types, 0xa5, sizeof types);
    memset(mounts, 0xa5, sizeof mounts);
    assert_string_equal(kept.listen, ":0");
    assert_string_equal(kept.root, "public");
    assert_string_equal(kept.script, "site.lua");
    assert_string_equal(kept.routes[0].route, "GET /a");
    assert_string_equal(kept.routes[1].route, "GET /b");
    assert_ptr_equal(kept.routes[1].serve, answer);
    assert_null(kept.routes[0].limits);
    assert_int_equal(kept.routes[1].limits->size, sizeof limits);
    assert_int_equal(kept.routes[1].limits->max_body, 7);
    assert_null(kept.routes[2].route);
    assert_string_equal(kept.mounts[0].prefix, "/x");
    assert_string_equal(kept.mounts[0].dir, "public");
    assert_string_equal(kept.mounts[0].index[0], "X-One");
    assert_null(kept.mounts[0].index[1]);
    assert_string_equal(kept.mounts[0].headers[0].name, "X-One");
    assert_string_equal(kept.mounts[0].headers[0].value, "/x");
    assert_null(kept.mounts[0].headers[1].name);
    assert_string_equal(kept.mounts[0].types[0].extension, "X-One");
    assert_string_equal(kept.mounts[0].types[0].type, "/x");
    assert_null(kept.mounts[0].types[1].extension);
    assert_null(kept.mounts[0].fallback);
    assert_null(kept.mounts[1].dir);
    assert_string_equal(kept.mounts[1].fallback, "public");
    assert_string_equal(kept.mounts[1].not_found, "/x");
    assert_int_equal(kept.mounts[1].cache_s, 5);
    assert_null(kept.mounts[2].prefix);
    evs_config_drop(&kept);
}

static void copy_survives_failing_allocations(void **state)
{
    (void)state;
    const struct evs_limits limits = {.size = sizeof limits};
    const struct evs_route routes[] = {{.route = "GET /a", .serve = answer, .limits = &limits},
                                       {.route = "GET /b", .serve = answer},
                                       {.route = NULL}};
    const struct evs_mount mounts[] = {{.prefix = "/a", .dir = "public"}, {.prefix = NULL}};
    const struct evserve_config config = {.size = sizeof config,
                                          .listen = ":0",
                                          .root = "public",
                                          .script = "site.lua",
                                          .routes = routes,
                                          .mounts = mounts};
    struct evserve_config kept;
    int rv = -ENOMEM;
    int failures = -1;
    for (uint64_t n = 1; rv < 0; n++) {
        fake_mem_fail_after(n, false);
        rv = evs_config_keep(&kept, &config);
        fake_mem_fail_after(0, false);
        evs_config_drop(&kept);
        assert_int_equal(fake_mem_live(), 0);
        failures++;
    }
    assert_int_equal(failures, 8);
}

/* As this struct was before it had limits. */
struct older_route {
    const char *route;
    void (*serve)(evs_request *request, void *arg);
    void *arg;
    unsigned flags;
};

static void routes_of_an_older_program_are_shorter(void **state)
{
    (void)state;
    const struct older_route routes[] = {{"GET /a", answer, NULL, 0},
                                         {"PUT /b", answer, state, EVS_STREAM_BODY},
                                         {NULL, NULL, NULL, 0},
                                         {"behind the end", NULL, NULL, 0}};
    struct evserve_config config = {.size = offsetof(struct evserve_config, mounts)};
    struct evserve_config copy, kept;
    config.routes = (const struct evs_route *)(const void *)routes;
    assert_int_equal(evs_config_read(&copy, &config, NULL, 0), 0);
    assert_int_equal(evs_config_keep(&kept, &copy), 0);
    assert_string_equal(kept.routes[0].route, "GET /a");
    assert_null(kept.routes[0].limits);
    assert_string_equal(kept.routes[1].route, "PUT /b");
    assert_ptr_equal(kept.routes[1].serve, answer);
    assert_ptr_equal(kept.routes[1].arg, state);
    assert_int_equal(kept.routes[1].flags, EVS_STREAM_BODY);
    assert_null(kept.routes[1].limits);
    assert_null(kept.routes[2].route);
    evs_config_drop(&kept);
}

static void limits_of_an_older_program_are_shorter(void **state)
{
    (void)state;
    struct evs_limits limits = {.max_body = 7, .write_cap = 8};
    limits.size = offsetof(struct evs_limits, write_cap);
    const struct evs_route routes[] = {{.route = "GET /a", .serve = answer, .limits = &limits}, {.route = NULL}};
    const struct evserve_config config = {.size = sizeof config, .routes = routes};
    struct evserve_config kept;
    assert_int_equal(evs_config_keep(&kept, &config), 0);
    assert_int_equal(kept.routes[0].limits->max_body, 7);
    assert_int_equal(kept.routes[0].limits->write_cap, 0);
    evs_config_drop(&kept);
}

static void route_may_have_every_limit_that_the_table_allows(void **state)
{
    (void)state;
    struct evs_limits own = {.size = sizeof own};
    size_t count = 0;
    for (char *at = (char *)&own + sizeof own.size; at < (char *)(&own + 1); at += sizeof(uint64_t)) {
        uint64_t value = 5000 + count++;
        memcpy(at, &value, sizeof value);
    }
    own.write_cap = 9000;
    struct limits limits, before;
    limits_init(&limits);
    limits_init(&before);
    assert_int_equal(evs_config_apply_route(&limits, &own, NULL, 0), 0);
    for (size_t i = 0; i < limit_table_len; i++) {
        bool is_changed = limits_get(&limits, &limit_table[i]) != limits_get(&before, &limit_table[i]);
        assert_int_equal(is_changed, limit_table[i].scope == LIMIT_ROUTE);
        count -= is_changed ? 1 : 0;
    }
    assert_int_equal(count, 0);
    assert_int_equal(limits.body_timeout_ms, 5000);
    assert_int_equal(limits.write_cap_bytes, 9000);
}

static void limits_of_a_route_leave_what_they_do_not_name(void **state)
{
    (void)state;
    struct limits limits, wanted;
    limits_init(&limits);
    limits.max_body_bytes = 1;
    wanted = limits;
    wanted.max_drain_bytes = 0;
    const struct evs_limits own = {.size = sizeof own, .max_drain = EVSERVE_ZERO};
    assert_int_equal(evs_config_apply_route(&limits, &own, NULL, 0), 0);
    assert_memory_equal(&limits, &wanted, sizeof limits);
}

static void only_what_the_config_names_changes_limits(void **state)
{
    (void)state;
    struct limits limits, defaults;
    limits_init(&limits);
    limits_init(&defaults);
    struct evserve_config config = {.size = sizeof config};
    assert_int_equal(evs_config_apply(&limits, &config, NULL, 0), 0);
    assert_memory_equal(&limits, &defaults, sizeof limits);
    config.idle_timeout_ms = 1;
    config.header_timeout_ms = 2;
    config.body_timeout_ms = 3;
    config.write_timeout_ms = 4;
    config.max_request_line = 5000;
    config.max_header_bytes = 6000;
    config.max_fields = 7;
    config.max_body = 8;
    config.max_connections = 9;
    config.max_connections_per_address = 10;
    config.min_body_rate = 11;
    config.max_drain = 12;
    config.write_high_mark = 1300;
    config.write_cap = 14000;
    config.max_cached_files = 15;
    config.max_cached_file = 16;
    assert_int_equal(evs_config_apply(&limits, &config, NULL, 0), 0);
    defaults.idle_timeout_ms = 1;
    defaults.header_timeout_ms = 2;
    defaults.body_timeout_ms = 3;
    defaults.write_timeout_ms = 4;
    defaults.max_request_line_bytes = 5000;
    defaults.max_header_bytes_bytes = 6000;
    defaults.max_fields = 7;
    defaults.max_body_bytes = 8;
    defaults.max_connections = 9;
    defaults.max_connections_per_address = 10;
    defaults.min_body_rate_bytes = 11;
    defaults.max_drain_bytes = 12;
    defaults.write_high_mark_bytes = 1300;
    defaults.write_cap_bytes = 14000;
    defaults.max_cached_files = 15;
    defaults.max_cached_file_bytes = 16;
    assert_memory_equal(&limits, &defaults, sizeof limits);
}

static void zero_can_be_said_where_a_limit_may_be_zero(void **state)
{
    (void)state;
    struct limits limits;
    limits_init(&limits);
    limits.max_connections_per_address = 10; /* a script's */
    struct evserve_config config = {
        .size = sizeof config,
        .max_body = EVSERVE_ZERO,
        .max_drain = EVSERVE_ZERO,
        .min_body_rate = EVSERVE_ZERO,
        .max_connections_per_address = EVSERVE_ZERO,
        .max_cached_file = EVSERVE_ZERO,
        .max_cached_memory = EVSERVE_ZERO,
    };
    assert_int_equal(evs_config_apply(&limits, &config, NULL, 0), 0);
    struct limits wanted;
    limits_init(&wanted);
    wanted.max_body_bytes = 0;
    wanted.max_drain_bytes = 0;
    wanted.min_body_rate_bytes = 0;
    wanted.max_connections_per_address = 0;
    wanted.max_cached_file_bytes = 0;
    wanted.max_cached_memory_bytes = 0;
    assert_memory_equal(&limits, &wanted, sizeof limits);
}

static void zero_is_refused_where_a_limit_must_not_be_zero(void **state)
{
    (void)state;
    struct limits limits;
    limits_init(&limits);
    const struct evserve_config config = {.size = sizeof config, .idle_timeout_ms = EVSERVE_ZERO};
    char err[EVSERVE_ERROR_MAX] = "";
    assert_int_equal(evs_config_apply(&limits, &config, err, sizeof err), -ERANGE);
    assert_string_equal(err, "idle_timeout: 0 is out of range (1 to 86400000 ms)");
}

static void limit_out_of_range_is_named(void **state)
{
    (void)state;
    struct limits limits;
    limits_init(&limits);
    const struct evserve_config config = {.size = sizeof config, .max_fields = UINT64_MAX - 1};
    char err[EVSERVE_ERROR_MAX] = "";
    assert_int_equal(evs_config_apply(&limits, &config, err, sizeof err), -ERANGE);
    assert_non_null(strstr(err, "max_fields"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(config_of_an_older_program_has_defaults_for_the_rest, tear_down),
        cmocka_unit_test_teardown(size_that_no_release_has_is_refused, tear_down),
        cmocka_unit_test_teardown(threads_have_a_limit, tear_down),
        cmocka_unit_test_teardown(reload_has_a_longest_deadline, tear_down),
        cmocka_unit_test_teardown(kept_config_outlives_what_it_was_copied_from, tear_down),
        cmocka_unit_test_teardown(copy_survives_failing_allocations, tear_down),
        cmocka_unit_test_teardown(routes_of_an_older_program_are_shorter, tear_down),
        cmocka_unit_test_teardown(limits_of_an_older_program_are_shorter, tear_down),
        cmocka_unit_test_teardown(route_may_have_every_limit_that_the_table_allows, tear_down),
        cmocka_unit_test_teardown(limits_of_a_route_leave_what_they_do_not_name, tear_down),
        cmocka_unit_test_teardown(only_what_the_config_names_changes_limits, tear_down),
        cmocka_unit_test_teardown(zero_can_be_said_where_a_limit_may_be_zero, tear_down),
        cmocka_unit_test_teardown(zero_is_refused_where_a_limit_must_not_be_zero, tear_down),
        cmocka_unit_test_teardown(limit_out_of_range_is_named, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
