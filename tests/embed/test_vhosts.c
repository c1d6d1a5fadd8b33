/* Hosts of a host: config.hosts, with what app.host says. */

#include "tests/lib/host.h"

static void serve_text(evs_request *request, void *arg)
{
    const char *text = arg;
    evs_reply(request, 200, "text/plain", text, strlen(text));
}

static void serve_length(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, NULL, "whole\n", 6);
}

static char default_text[] = "default\n", host_text[] = "named\n";

/* What the server responds to a request for a host. */
static const char *get_of(const char *name, const char *request_line, const char *body)
{
    char request[512];
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
             request_line, name, strlen(body), body);
    return client_ask(host.port, request);
}

static void expect_of(const char *name, const char *path, const char *text)
{
    char line[128];
    snprintf(line, sizeof line, "GET %s", path);
    const char *response = get_of(name, line, "");
    if (strstr(response, text) == NULL) {
        fail_msg("%s%s: no \"%s\" in\n%s", name, path, text, response);
    }
}

static void hosts_are_served_by_name_and_survive_reloads(void **state)
{
    (void)state;
    char name[] = "example.org", path[] = "GET /";
    const char *names[] = {name, "*.example.org", "::1", NULL};
    const struct evs_limits small = {.size = sizeof small, .max_body = 4};
    const struct evs_route routes[] = {{.route = "GET /", .serve = serve_text, .arg = default_text}, {.route = NULL}};
    const struct evs_route own[] = {{.route = path, .serve = serve_text, .arg = host_text},
                                    {.route = "POST /up", .serve = serve_length},
                                    {.route = NULL}};
    const struct evs_mount mounts[] = {{.prefix = "/files", .dir = host.folder}, {.prefix = NULL}};
    const struct evs_rule rules[] = {{.prefix = "/private", .deny = "all"}, {.prefix = NULL}};
    struct evs_vhost hosts[] = {
        {.names = names, .routes = own, .mounts = mounts, .rules = rules, .limits = &small},
        {.names = NULL},
    };
    host_write("a.txt", "file\n");
    host.config.routes = routes;
    host.config.hosts = hosts;
    host_serve();
    memset(name, 'x', sizeof name - 1);
    memset(path, 'x', sizeof path - 1);
    memset(names, 0xa5, sizeof names);
    memset(hosts, 0xa5, sizeof hosts);
    for (int i = 0; i < 2; i++) {
        expect_of("EXAMPLE.org:80", "/", "named\n");
        expect_of("a.b.example.org", "/", "named\n");
        expect_of("[0::1]", "/", "named\n");
        expect_of("other.org", "/", "default\n");
        expect_of("example.org", "/files/a.txt", "file\n");
        expect_of("other.org", "/files/a.txt", "HTTP/1.1 404");
        expect_of("example.org", "/private/x", "HTTP/1.1 403");
        expect_of("other.org", "/private/x", "HTTP/1.1 404");
        assert_non_null(strstr(get_of("example.org", "POST /up", "four"), "whole\n"));
        assert_non_null(strstr(get_of("example.org", "POST /up", "fives"), "HTTP/1.1 413"));
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    }
}

static const struct evs_route root[] = {{.route = "GET /", .serve = serve_text, .arg = host_text}, {.route = NULL}};

static void hosts_win_over_those_of_the_script(void **state)
{
    (void)state;
    host_needs_lua();
    const char *const names[] = {"example.org", NULL};
    const struct evs_vhost hosts[] = {{.names = names, .routes = root}, {.names = NULL}};
    host.config.hosts = hosts;
    host.config.unknown_host = 404;
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.set { unknown_host = 421 }\n"
                                                "app.get('/', function() return 'default' end)\n"
                                                "local site = app.host('example.org', 'www.example.org')\n"
                                                "site.get('/', function() return 'script' end)\n");
    host_serve();
    expect_of("example.org", "/", "named\n");
    expect_of("www.example.org", "/", "script");
    expect_of("other.org", "/", "HTTP/1.1 404");
}

static void expect_text(const char *name, const char *text)
{
    char path[256], found[256] = "";
    snprintf(path, sizeof path, "%s/%s", host.folder, name);
    FILE *file = fopen(path, "r");
    size_t len = file == NULL ? 0 : fread(found, 1, sizeof found - 1, file);
    found[len] = '\0';
    if (file != NULL) {
        fclose(file);
        remove(path);
    }
    assert_string_equal(found, text);
}

static void hosts_have_logs_of_their_own(void **state)
{
    (void)state;
    char log[256], own[256], format[] = "own $status", unused[] = "unused";
    const char *const a[] = {"a.org", NULL}, *const b[] = {"b.org", NULL}, *const c[] = {"c.org", NULL};
    struct evs_vhost hosts[] = {
        {.names = a, .routes = root, .access_log = own, .access_log_format = format},
        {.names = b, .routes = root, .access_log = "off"},
        {.names = c, .routes = root, .access_log = unused, .no_access_log = 1},
        {.names = NULL},
    };
    snprintf(log, sizeof log, "%s/all.log", host.folder);
    snprintf(own, sizeof own, "%s/own.log", host.folder);
    host.config.access_log = log;
    host.config.access_log_format = "$host $status";
    host.config.hosts = hosts;
    host_serve();
    memset(own, 'x', sizeof own - 1);
    memset(format, 'x', sizeof format - 1);
    for (int i = 0; i < 2; i++) {
        expect_of("a.org", "/", "named\n");
        expect_of("b.org", "/", "named\n");
        expect_of("c.org", "/", "named\n");
        expect_of("d.org", "/", "404");
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    }
    assert_int_equal(evserve_reopen_logs(host.server, host.err, sizeof host.err), 0);
    host_stop(1000);
    expect_text("all.log", "d.org 404\nd.org 404\n");
    expect_text("own.log", "own 200\nown 200\n");
}

static void unknown_names_can_be_served_in_spite_of_the_script(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.unknown_host = 200;
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.set { unknown_host = 421 }\n"
                                                "app.get('/', function() return 'default' end)\n"
                                                "app.host('example.org')\n");
    host_serve();
    expect_of("other.org", "/", "default");
    expect_of("example.org", "/", "HTTP/1.1 404");
}

static void bad_hosts_are_refused_with_the_name_of_the_member(void **state)
{
    (void)state;
    static const char *const first[] = {"example.org", NULL}, *const port[] = {"a:80", NULL}, *const none[] = {NULL};
    const char *const good[] = {"b.org", NULL};
    const struct evs_limits high = {.size = sizeof high, .write_high_mark = UINT64_C(1) << 40};
    const struct evs_limits contrary = {.size = sizeof contrary, .write_high_mark = 8192, .write_cap = 4096};
    const struct evs_route no_path[] = {{.route = "GET", .serve = serve_length}, {.route = NULL}};
    const struct evs_mount no_slash[] = {{.prefix = "x", .dir = "/tmp"}, {.prefix = NULL}};
    const struct evs_proxy ftp[] = {{.prefix = "/p", .upstreams = first}, {.prefix = NULL}};
    static const char *const url[] = {"http://127.0.0.1:1", NULL};
    const struct evs_proxy limited[] = {{.prefix = "/p", .upstreams = url, .limits = &high}, {.prefix = NULL}};
    const struct evs_rule empty[] = {{.prefix = "/a"}, {.prefix = NULL}};
    const struct {
        struct evs_vhost vhost;
        const char *text;
    } cases[] = {
        {{.names = port}, "evserve_config.hosts[1].names: \"a:80\" is no name of a host: a name without a port"},
        {{.names = none}, "evserve_config.hosts[1].names: there is none"},
        {{.names = first}, "evserve_config.hosts[1].names: the name \"example.org\" is taken by the host before it"},
        {{.names = good, .limits = &high}, "evserve_config.hosts[1].limits: write_high_mark"},
        {{.names = good, .limits = &contrary}, "limits of the host b.org: "},
        {{.names = good, .routes = no_path}, "evserve_config.hosts[1].routes[0]: \"GET\" must be methods and a path"},
        {{.names = good, .mounts = no_slash}, "evserve_config.hosts[1].mounts[0].prefix: static prefix \"x\""},
        {{.names = good, .proxies = ftp}, "evserve_config.hosts[1].proxies[0]"},
        {{.names = good, .proxies = limited}, "evserve_config.hosts[1].proxies[0].limits: write_high_mark"},
        {{.names = good, .access_log = ""}, "evserve_config.hosts[1].access_log is empty, expected a file"},
        {{.names = good, .access_log_format = "$statu"},
         "evserve_config.hosts[1].access_log_format: unknown variable $statu at character 1 (did you mean $status?)"},
        {{.names = good, .access_log = "/nowhere/a.log"},
         "the host b.org: cannot open the access log /nowhere/a.log: its directory does not exist"},
        {{.names = good, .rules = empty}, "evserve_config.hosts[1].rules[0].prefix: the entry says nothing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct evs_vhost hosts[] = {{.names = first}, cases[i].vhost, {.names = NULL}};
        host.config.hosts = hosts;
        host_must_not_start(cases[i].text);
    }
    host.config.hosts = NULL;
    host.config.unknown_host = 403;
    host_must_not_start("evserve_config.unknown_host is 403, expected 200, 404 or 421");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(hosts_are_served_by_name_and_survive_reloads),
        HOST_TEST(hosts_win_over_those_of_the_script),
        HOST_TEST(hosts_have_logs_of_their_own),
        HOST_TEST(unknown_names_can_be_served_in_spite_of_the_script),
        HOST_TEST(bad_hosts_are_refused_with_the_name_of_the_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
