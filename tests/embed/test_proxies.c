/* Proxies of a host: config.proxies. The upstream is the same server, by way of a unix socket. */

#include "tests/lib/host.h"

static void serve_target(evs_request *request, void *arg)
{
    (void)arg;
    const char *set = evs_header(request, "x-set"), *host_field = evs_header(request, "host");
    const char *forwarded = evs_header(request, "x-forwarded-for"), *removed = evs_header(request, "user-agent");
    char text[256];
    snprintf(text, sizeof text, "%s %s %s %s %s", evs_target(request), set == NULL ? "-" : set,
             host_field == NULL ? "-" : host_field, forwarded == NULL ? "-" : forwarded,
             removed == NULL ? "-" : removed);
    evs_reply(request, 200, "text/plain", text, strlen(text));
}

static void serve_length(evs_request *request, void *arg)
{
    (void)arg;
    size_t len;
    (void)evs_body(request, &len);
    char text[32];
    snprintf(text, sizeof text, "%zu", len);
    evs_reply(request, 200, "text/plain", text, strlen(text));
}

static const struct evs_route routes[] = {{.route = "GET /target/*rest", .serve = serve_target},
                                          {.route = "POST /length", .serve = serve_length},
                                          {.route = "GET /api/mine", .serve = serve_target},
                                          {.route = NULL}};

static char listen_text[128], upstream[128];

static void listen_on_both(void)
{
    snprintf(listen_text, sizeof listen_text, "127.0.0.1:0,unix:%s/up.sock", host.folder);
    snprintf(upstream, sizeof upstream, "http+unix:%s/up.sock", host.folder);
    host.config.listen = listen_text;
    host.config.routes = routes;
}

static void requests_go_to_the_upstream_and_routes_win(void **state)
{
    (void)state;
    listen_on_both();
    char prefix[] = "/api", value[] = "yes";
    const char *upstreams[] = {upstream, NULL};
    struct evs_field headers[] = {{"X-Set", value}, {"User-Agent", NULL}, {NULL, NULL}};
    struct evs_limits limits = {.size = sizeof limits, .max_body = 10};
    struct evs_proxy proxies[] = {
        {.prefix = prefix, .upstreams = upstreams, .host = "app.internal", .headers = headers, .strip_prefix = 1},
        {.prefix = "/small", .upstreams = upstreams, .strip_prefix = 1, .keepalive = -1, .limits = &limits},
        {.prefix = NULL},
    };
    host.config.proxies = proxies;
    host_serve();
    memset(prefix, 'x', sizeof prefix - 1);
    memset(value, 'x', sizeof value - 1);
    memset(headers, 0xa5, sizeof headers);
    memset(proxies, 0xa5, sizeof proxies);
    memset(&limits, 0xa5, sizeof limits);
    for (int i = 0; i < 2; i++) {
        host_expect("/api/target/a%20b?q=%41", "/target/a%20b?q=%41 yes app.internal 127.0.0.1 -");
        host_expect("/api//target/b", "/target/b yes app.internal 127.0.0.1 -"); /* not of a host named "target" */
        host_expect("/api/mine", "/api/mine - - - -");
        assert_non_null(strstr(client_get(host.port, "/small/none"), "HTTP/1.1 404"));
        assert_non_null(strstr(client_ask(host.port, "POST /small/length HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n"
                                                     "Connection: close\r\n\r\n0123456789"),
                               "\r\n\r\n10"));
        assert_non_null(strstr(client_ask(host.port, "POST /small/length HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n"
                                                     "Connection: close\r\n\r\n0123456789a"),
                               "HTTP/1.1 413"));
        assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    }
}

static void upstreams_that_may_not_be_reached_are_502(void **state)
{
    (void)state;
    listen_on_both();
    const char *upstreams[] = {upstream, NULL};
    const struct evs_proxy proxies[] = {{.prefix = "/", .upstreams = upstreams}, {.prefix = NULL}};
    host.config.proxies = proxies;
    host.config.deny_connect = "private";
    host_serve();
    assert_non_null(strstr(client_get(host.port, "/x"), "HTTP/1.1 502"));
    assert_true(host_has_logged("http+unix:"));
    assert_true(host_has_logged("deny_connect"));
}

static void bad_proxies_are_refused_with_the_name_of_the_member(void **state)
{
    (void)state;
    const char *good[] = {"http://127.0.0.1:1", NULL}, *ftp[] = {"ftp://x", NULL}, *none[] = {NULL};
    const char *secured[] = {"https://a", NULL};
    const char *query[] = {"http://a/?b", NULL};
    const struct evs_field own[] = {{"Content-Length", "1"}, {NULL, NULL}}, name[] = {{"a b", "1"}, {NULL, NULL}};
    const struct evs_field host_field[] = {{"host", "x"}, {NULL, NULL}};
    struct evs_limits limits = {.size = sizeof limits, .write_cap = 1};
    const struct {
        struct evs_proxy proxy;
        const char *text;
    } cases[] = {
        {{.prefix = "a", .upstreams = good}, "evserve_config.proxies[1]: a prefix such as \"/api\""},
        {{.prefix = "/a/", .upstreams = good}, "evserve_config.proxies[1]: a prefix such as \"/api\""},
        {{.prefix = "/:a", .upstreams = good}, "evserve_config.proxies[1]: a prefix such as \"/api\""},
        {{.prefix = "/a", .upstreams = ftp}, "evserve_config.proxies[1]: the upstream \"ftp://x\""},
        {{.prefix = "/a", .upstreams = query}, "evserve_config.proxies[1]: the upstream \"http://a/?b\" has a query"},
        {{.prefix = "/a", .upstreams = none}, "evserve_config.proxies[1]: 1 to 32 upstreams expected, got 0"},
        {{.prefix = "/a"}, "evserve_config.proxies[1]: 1 to 32 upstreams expected, got 0"},
        {{.prefix = "/a", .upstreams = good, .headers = own}, "headers: Content-Length is about the connection"},
        {{.prefix = "/a", .upstreams = good, .headers = name}, "headers: \"a b\" is no field"},
        {{.prefix = "/a", .upstreams = good, .headers = host_field}, "headers: Host is set with the option host"},
        {{.prefix = "/a", .upstreams = secured, .ca_file = "none.pem"},
         "evserve_config.proxies[1]: ca: cannot open none.pem: No such file"},
        {{.prefix = "/a", .upstreams = good, .host = "a b"}, "evserve_config.proxies[1]: host: a name"},
        {{.prefix = "/a", .upstreams = good, .timeout_ms = 86400001}, "at most a day"},
        {{.prefix = "/a", .upstreams = good, .flags = EVS_STREAM_BODY}, "proxies[1]: flags that do not exist"},
        {{.prefix = "/a", .upstreams = good, .limits = &limits}, "evserve_config.proxies[1].limits: "},
        {{.prefix = "/first", .upstreams = good}, "is already registered at evserve_config.proxies[0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct evs_proxy proxies[] = {{.prefix = "/first", .upstreams = good}, cases[i].proxy, {.prefix = NULL}};
        host.config.proxies = proxies;
        host_must_not_start(cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(requests_go_to_the_upstream_and_routes_win),
        HOST_TEST(upstreams_that_may_not_be_reached_are_502),
        HOST_TEST(bad_proxies_are_refused_with_the_name_of_the_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
