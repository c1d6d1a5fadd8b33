/* Rules of a host: config.rules, with what app.redirect_from, app.headers, app.cache, app.allow and app.deny say. */

#include "tests/lib/host.h"

static void serve_hello(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "hello\n", 6);
}

static const struct evs_route routes[] = {{.route = "GET /hello", .serve = serve_hello}, {.route = NULL}};

static void expect_response(const char *path, const char *text)
{
    const char *response = client_get(host.port, path);
    if (strstr(response, text) == NULL) {
        fail_msg("%s: no \"%s\" in\n%s", path, text, response);
    }
}

static void expect_none(const char *path, const char *text)
{
    const char *response = client_get(host.port, path);
    if (strstr(response, text) != NULL) {
        fail_msg("%s: \"%s\" in\n%s", path, text, response);
    }
}

static void rules_hold_for_files_and_routes_and_survive_reloads(void **state)
{
    (void)state;
    char prefix[] = "/private", list[] = "all", value[] = "DENY", origins[] = "https://app.example";
    struct evs_field headers[] = {{"X-Frame-Options", value}, {"ETag", NULL}, {NULL, NULL}};
    const struct evs_field cache[] = {{"*.css", "1y, immutable"}, {"text/*", "no-cache"}, {NULL, NULL}};
    struct evs_rule rules[] = {
        {.prefix = "/user/:id", .redirect_to = "/users?id=:id", .redirect_status = 308},
        {.prefix = "/old/*rest", .redirect_to = "/new/*rest"},
        {.prefix = "/gone", .redirect_status = 410},
        {.prefix = "/", .headers = headers, .cache = cache},
        {.prefix = prefix, .deny = list},
        {.prefix = "/private/me", .allow = "127.0.0.0/8"},
        {.prefix = "/none",
         .cors = origins,
         .cors_methods = "PUT",
         .cors_headers = "X-A",
         .cors_expose = "X-B",
         .cors_credentials = 1,
         .cors_max_age = 5},
        {.prefix = NULL},
    };
    host_write("a.css", "a");
    host_write("b.txt", "b");
    host.config.root = host.folder;
    host.config.routes = routes;
    host.config.rules = rules;
    host_serve();
    memset(prefix, 'x', sizeof prefix - 1);
    memset(list, 'x', sizeof list - 1);
    memset(origins, 'x', sizeof origins - 1);
    memset(value, 'x', sizeof value - 1);
    memset(headers, 0xa5, sizeof headers);
    memset(rules, 0xa5, sizeof rules);
    for (int i = 0; i < 2; i++) {
        expect_response("/hello", "\r\nX-Frame-Options: DENY\r\n");
        expect_response("/hello", "\r\nCache-Control: no-cache\r\n");
        expect_response("/a.css", "\r\nCache-Control: max-age=31536000, immutable\r\n");
        expect_none("/a.css", "ETag");
        expect_response("/b.txt", "\r\nX-Frame-Options: DENY\r\n");
        expect_response("/none", "\r\nX-Frame-Options: DENY\r\n");
        expect_response("/user/7", "HTTP/1.1 308");
        expect_response("/user/7", "\r\nLocation: /users?id=7\r\n");
        expect_response("/old/a/b?c", "\r\nLocation: /new/a/b?c\r\n");
        expect_response("/gone", "HTTP/1.1 410");
        expect_response("/private/x", "HTTP/1.1 403");
        expect_response("/private/me", "HTTP/1.1 404");
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    }
}

static void keep_row(void *arg, const char *text)
{
    char *rows = arg;
    snprintf(rows + strlen(rows), 512 - strlen(rows), "%s\n", text);
}

static void rules_of_the_host_come_before_the_scripts(void **state)
{
    (void)state;
    char rows[512] = "";
    host_needs_lua();
    const struct evs_field headers[] = {{"X-A", "host"}, {NULL, NULL}};
    const struct evs_rule rules[] = {{.prefix = "/", .headers = headers}, {.prefix = NULL}};
    host.config.rules = rules;
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.headers('/', { ['x-a'] = 'script', ['x-b'] = 'script' })\n"
                                                "app.deny('/private', 'all')\n");
    host_serve();
    expect_response("/", "\r\nX-A: host\r\n");
    expect_response("/", "\r\nx-b: script\r\n");
    expect_response("/private", "HTTP/1.1 403");
    assert_int_equal(evserve_routes(&host.config, keep_row, rows, host.err, sizeof host.err), 0);
    assert_string_equal(rows, "rule  /         -  evs_rule.headers\n"
                              "rule  /         -  app.headers\n"
                              "rule  /private  -  app.deny\n");
}

static void limits_of_a_host_are_shared_by_its_threads(void **state)
{
    (void)state;
    const struct evs_rule rules[] = {
        {.prefix = "/hello", .limit_rate = "2/h", .limit_by = "all"},
        {.prefix = "/none", .limit_rate = "10/s", .limit_burst = 1, .limit_concurrency = 5, .limit_status = 503},
        {.prefix = NULL},
    };
    struct evs_stats stats = {.size = sizeof stats};
    host.config.routes = routes;
    host.config.rules = rules;
    host.config.reactors = 2;
    host.config.limit_entries = 8;
    host_serve();
    expect_response("/hello", "HTTP/1.1 200");
    expect_response("/hello", "HTTP/1.1 200");
    for (int i = 0; i < 4; i++) {
        expect_response("/hello", "HTTP/1.1 429");
        expect_response("/hello", "\r\nRetry-After: 1800\r\n");
    }
    expect_response("/none", "HTTP/1.1 404");
    expect_response("/none", "HTTP/1.1 503");
    assert_true(host_has_logged("429 by evs_rule.limit_rate \"/hello\""));
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    expect_response("/hello", "HTTP/1.1 429");
    assert_int_equal(evserve_stats(host.server, &stats), 0);
    assert_int_equal(stats.limited, 10);
}

static void bad_rules_are_refused_with_the_name_of_the_member(void **state)
{
    (void)state;
    const struct evs_field no_value[] = {{"*.css", NULL}, {NULL, NULL}}, own[] = {{"Date", "x"}, {NULL, NULL}};
    const struct evs_field caching[] = {{"*.css", "30"}, {NULL, NULL}};
    const struct {
        struct evs_rule rule;
        const char *text;
    } cases[] = {
        {{.prefix = "/a"}, "evserve_config.rules[1].prefix: the entry says nothing: set redirect_to, headers, cache, "},
        {{.prefix = "/a", .redirect_to = "/b", .deny = "all"},
         "evserve_config.rules[1].prefix: a redirect needs an entry of its own, since its prefix is a pattern"},
        {{.prefix = "a", .deny = "all"}, "evserve_config.rules[1].deny: a prefix such as \"/\" or \"/api\" expected"},
        {{.prefix = "/a/*", .deny = "all"}, "evserve_config.rules[1].deny: \"/a/*\" is no prefix: plain text is "},
        {{.prefix = "/a", .allow = "10.0.0.0/33"}, "evserve_config.rules[1].allow: "},
        {{.prefix = "/a", .redirect_to = "b"}, "evserve_config.rules[1].redirect_to: a target such as \"/new\""},
        {{.prefix = "/a", .redirect_to = "/b", .redirect_status = 200}, "evserve_config.rules[1].redirect_to: status"},
        {{.prefix = "/first", .redirect_to = "/b"}, "rules[1].redirect_to: \"/first\" is redirected already"},
        {{.prefix = "/a", .headers = own}, "evserve_config.rules[1].headers: \"Date\": the server writes this field"},
        {{.prefix = "/a", .limit_rate = "10"}, "evserve_config.rules[1].limit_rate: requests in a second, minute, "},
        {{.prefix = "/a", .rate_limit = 2147483648U}, "evserve_config.rules[1].rate_limit: 2147483648 is out of range"},
        {{.prefix = "/a", .limit_by = "user"},
         "evserve_config.rules[1].limit_rate: one such as \"10/s\", or a concurr"},
        {{.prefix = "/a", .limit_concurrency = 1, .limit_by = "key"}, "evserve_config.rules[1].limit_by: \"client\", "},
        {{.prefix = "/a", .limit_concurrency = 1000001}, "evserve_config.rules[1].limit_concurrency: 1000001 is too "},
        {{.prefix = "/a", .limit_concurrency = 1, .limit_status = 200},
         "evserve_config.rules[1].limit_status: 200 is "},
        {{.prefix = "/a", .cors = "app.example"}, "evserve_config.rules[1].cors: \"app.example\" is no origin: write"},
        {{.prefix = "/a", .cors = "*", .cors_credentials = 1}, "evserve_config.rules[1].cors: \"*\" lets every site"},
        {{.prefix = "/a", .cors = "*", .cors_methods = "get"},
         "evserve_config.rules[1].cors_methods: \"get\": methods"},
        {{.prefix = "/a", .cors = "*", .cors_max_age = -1}, "evserve_config.rules[1].cors_max_age: seconds expected"},
        {{.prefix = "/a", .cors_expose = "X"},
         "evserve_config.rules[1].cors: cors_methods and others need the origins"},
        {{.prefix = "/a", .cache = no_value}, "evserve_config.rules[1].cache: an entry has no value"},
        {{.prefix = "/a", .cache = caching}, "evserve_config.rules[1].cache: \"*.css\": a time with a unit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct evs_rule rules[] = {{.prefix = "/first", .redirect_to = "/x"}, cases[i].rule, {.prefix = NULL}};
        host.config.rules = rules;
        host_must_not_start(cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(rules_hold_for_files_and_routes_and_survive_reloads),
        HOST_TEST(rules_of_the_host_come_before_the_scripts),
        HOST_TEST(limits_of_a_host_are_shared_by_its_threads),
        HOST_TEST(bad_rules_are_refused_with_the_name_of_the_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
