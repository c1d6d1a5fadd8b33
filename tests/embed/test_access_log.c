/* The access log of a host: members of the config, a flag of routes, evserve_reopen_logs(). */

#include "tests/lib/host.h"

#include <poll.h>

static void serve_text(evs_request *request, void *arg)
{
    evs_reply(request, 200, "text/plain", arg, strlen(arg));
}

static const struct evs_route routes[] = {
    {.route = "GET /hello", .serve = serve_text, .arg = "hello"},
    {.route = "GET /health", .serve = serve_text, .arg = "ok", .flags = EVS_NO_ACCESS_LOG},
    {.route = NULL},
};

static char log_path[160], old_path[160];

static void start_with_log(const char *format)
{
    snprintf(log_path, sizeof log_path, "%s/access.log", host.folder);
    snprintf(old_path, sizeof old_path, "%s/access.log.1", host.folder);
    host.config.routes = routes;
    host.config.access_log = log_path;
    host.config.access_log_format = format;
    host_start();
}

/* Wait until a file has this text; it is written a second later. */
static void wait_for_lines(const char *path, const char *text)
{
    char found[4096] = "";
    for (int i = 0; i < 1000 && strcmp(found, text) != 0; i++) {
        FILE *file = fopen(path, "r");
        size_t len = file == NULL ? 0 : fread(found, 1, sizeof found - 1, file);
        found[len] = '\0';
        if (file != NULL) {
            fclose(file);
        }
        poll(NULL, 0, 10);
    }
    assert_string_equal(found, text);
}

static void responses_have_lines_except_for_routes_that_want_none(void **state)
{
    (void)state;
    start_with_log("$request $status $route");
    host_serve();
    host_expect("/hello", "hello");
    host_expect("/health", "ok");
    client_get(host.port, "/none");
    host_stop(1000);
    wait_for_lines(log_path, "GET /hello HTTP/1.0 200 /hello\nGET /none HTTP/1.0 404 -\n");
}

static void log_is_opened_again_from_any_thread(void **state)
{
    (void)state;
    host.config.reactors = 2;
    start_with_log("$uri");
    host_expect("/hello", "hello");
    wait_for_lines(log_path, "/hello\n");
    assert_int_equal(rename(log_path, old_path), 0);
    assert_int_equal(evserve_reopen_logs(host.server, host.err, sizeof host.err), 0);
    client_get(host.port, "/none");
    wait_for_lines(log_path, "/none\n");
    wait_for_lines(old_path, "/hello\n");
    host_stop(1000);
    remove(old_path);
}

static void mistakes_name_the_member(void **state)
{
    (void)state;
    host.config.access_log = "";
    host_must_not_start("evserve_config.access_log is empty");
    host.config.access_log = "/nowhere/access.log";
    host_must_not_start("cannot open the access log /nowhere/access.log: its directory does not exist");
    host.config.access_log = "off";
    host.config.access_log_format = "$bytes_snt";
    host_must_not_start("evserve_config.access_log_format: unknown variable $bytes_snt at character 1 (did you mean "
                        "$bytes_sent?)");
}

static void server_without_a_log_has_none_to_reopen(void **state)
{
    (void)state;
    host.config.access_log = "off";
    host.config.routes = routes;
    host_start();
    assert_int_equal(evserve_reopen_logs(host.server, host.err, sizeof host.err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(responses_have_lines_except_for_routes_that_want_none),
        HOST_TEST(log_is_opened_again_from_any_thread),
        HOST_TEST(mistakes_name_the_member),
        HOST_TEST(server_without_a_log_has_none_to_reopen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
