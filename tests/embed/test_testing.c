/* evserve_test(): files of tests for a site whose routes are in C and in Lua. */

#include "tests/lib/host.h"

static char report[4096];

static void keep_line(void *arg, const char *text)
{
    (void)arg;
    snprintf(report + strlen(report), sizeof report - strlen(report), "%s\n", text);
}

static void say_c(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "from C", 6);
}

static int run_file(const char *tests, const char *only)
{
    static const struct evs_route routes[] = {{.route = "GET /c", .serve = say_c}, {.route = NULL}};
    char path[512];
    snprintf(path, sizeof path, "%s", host_write("tests.lua", tests));
    host.config.routes = routes;
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "local runs = 0\n"
                                                "app.every('1m', function() runs = runs + 1 end)\n"
                                                "app.get('/runs', function() return tostring(runs) end)\n");
    report[0] = '\0';
    return evserve_test(&host.config, path, only, keep_line, NULL, host.err, sizeof host.err);
}

static void failed_cases_are_counted(void **state)
{
    (void)state;
    host_needs_lua();
    static const char tests[] = "local t = require('evserve').test()\n"
                                "t:case('C', function(c) t.equal(c:get('/c').body, 'from C') end)\n"
                                "t:case('time', function(c) t:advance '1h' t.equal(c:get('/runs').body, '60') end)\n"
                                "t:case('wrong', function(c) t.equal(c:get('/nowhere').status, 200) end)\n";
    assert_int_equal(run_file(tests, NULL), 1);
    assert_non_null(strstr(report, "ok 1 - C\nok 2 - time\nnot ok 3 - wrong\n"));
    assert_non_null(strstr(report, "expected 200, got 404"));
    assert_int_equal(run_file(tests, "C"), 0);
    assert_string_equal(report, "ok 1 - C\n1..1\n# 1 of 1 passed, 2 left out\n");
}

static void site_that_does_not_start_is_an_error(void **state)
{
    (void)state;
    host.config.root = "/nowhere at all";
    assert_int_equal(evserve_test(&host.config, "tests.lua", NULL, keep_line, NULL, host.err, sizeof host.err), -1);
    assert_true(host.err[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(failed_cases_are_counted, host_set_up, host_tear_down),
        cmocka_unit_test_setup_teardown(site_that_does_not_start_is_an_error, host_set_up, host_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
