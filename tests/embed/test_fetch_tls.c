/* evs_fetch() over TLS: a server that asks itself, with certificates that are right and wrong. */

#include "tests/lib/host.h"
#include "tests/lib/made.h"

static struct made authority, site, other;
static struct evs_fetch_request wanted;
static char url[128], ca_path[128];
static char result[512]; /* of the last fetch: its body, or "kind: error" */
static int results;

static void hello(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", evs_scheme(request), strlen(evs_scheme(request)));
}

static void redirect(evs_request *request, void *arg)
{
    (void)arg;
    assert_int_equal(evs_set_header(request, "Location", "http://localhost/"), 0);
    evs_reply(request, 302, "text/plain", "", 0);
}

static const struct evs_route routes[] = {{.route = "GET /hello", .serve = hello},
                                          {.route = "GET /down", .serve = redirect},
                                          {.route = NULL}};

static void on_done(const struct evs_fetched *fetched, void *arg)
{
    (void)arg;
    if (fetched->status == 200) {
        snprintf(result, sizeof result, "%.*s", (int)fetched->body_len, (const char *)fetched->body);
    } else {
        snprintf(result, sizeof result, "%s: %s", fetched->kind, fetched->error);
    }
    results++;
}

static void begin_fetch(void *arg)
{
    evserve *server = arg;
    char err[256] = "";
    if (evs_fetch(server, 0, &wanted, on_done, NULL, err, sizeof err) < 0) {
        snprintf(result, sizeof result, "at once: %s", err);
        results++;
    }
}

static const char *fetch(const char *host_name, const char *path)
{
    snprintf(url, sizeof url, "https://%s:%d%s", host_name, host.port, path);
    wanted.size = sizeof wanted;
    wanted.url = url;
    results = 0;
    begin_fetch(host.server); /* asks for the thread of the server, so it is posted */
    assert_int_equal(results, 1);
    results = 0;
    assert_int_equal(evserve_post(host.server, begin_fetch, host.server), 0);
    for (int i = 0; i < 2000 && results == 0; i++) {
        assert_true(evserve_poll(host.server, 10) >= 0);
    }
    assert_int_equal(results, 1);
    return result;
}

static void begin(const struct made *certificate)
{
    static char cert[128], key[128];
    static struct evs_certificate certificates[2];
    snprintf(cert, sizeof cert, "%s", host_write("cert.pem", certificate->cert_pem));
    snprintf(key, sizeof key, "%s", host_write("key.pem", certificate->key_pem));
    snprintf(ca_path, sizeof ca_path, "%s", host_write("ca.pem", authority.cert_pem));
    certificates[0] = (struct evs_certificate){.cert_file = cert, .key_file = key};
    host.config.listen = "127.0.0.1:0?tls";
    host.config.certificates = certificates;
    host.config.routes = routes;
    wanted = (struct evs_fetch_request){0};
    host_start();
}

static void a_certificate_that_is_right_is_taken(void **state)
{
    (void)state;
    begin(&site);
    wanted.ca_file = ca_path;
    for (int i = 0; i < 3; i++) {
        assert_string_equal(fetch("localhost", "/hello"), "https");
    }
    assert_string_equal(fetch("127.0.0.1", "/hello"), "https");
    wanted.flags = EVS_FETCH_CLOSE;
    assert_string_equal(fetch("localhost", "/hello"), "https");
    assert_non_null(strstr(fetch("localhost", "/down"), "redirects: "));
    assert_non_null(strstr(result, "which leads from https to http"));
}

static void a_certificate_that_is_wrong_is_refused(void **state)
{
    (void)state;
    begin(&other);
    wanted.ca_file = ca_path;
    assert_non_null(strstr(fetch("localhost", "/hello"), "tls: "));
    assert_non_null(strstr(result, "other.example"));
    wanted.server_name = "other.example";
    assert_string_equal(fetch("localhost", "/hello"), "https");
    wanted.server_name = NULL;
    wanted.flags = EVS_FETCH_UNVERIFIED;
    assert_string_equal(fetch("localhost", "/hello"), "https");
    wanted.flags = 0; /* the connection that is kept now is not one that was verified */
    assert_non_null(strstr(fetch("localhost", "/hello"), "tls: "));
    wanted.ca_file = NULL; /* those of the system do not know it */
    wanted.server_name = "other.example";
    assert_non_null(strstr(fetch("localhost", "/hello"), "tls: "));
    wanted.ca_file = "/nowhere/ca.pem";
    assert_non_null(strstr(fetch("localhost", "/hello"), "/nowhere/ca.pem"));
}

static void a_plain_server_has_no_tls(void **state)
{
    (void)state;
    host.config.routes = routes;
    wanted = (struct evs_fetch_request){.size = sizeof wanted};
    host_start();
    assert_non_null(strstr(fetch("localhost", "/hello"), "tls: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(a_certificate_that_is_right_is_taken),
        HOST_TEST(a_certificate_that_is_wrong_is_refused),
        HOST_TEST(a_plain_server_has_no_tls),
    };
    made_create(&authority, KEY_EC, NULL, NULL);
    made_create(&site, KEY_EC, "localhost,IP:127.0.0.1", &authority);
    made_create(&other, KEY_EC, "other.example", &authority);
    int rv = cmocka_run_group_tests(tests, NULL, NULL);
    made_done(&authority);
    made_done(&site);
    made_done(&other);
    made_keys_free();
    return rv;
}
