/* Listeners that redirect to HTTPS, in a whole server on the fake kernel. Targets and hosts of all kinds are tested end
 * to end (tests/e2e/test_redirect_https.py). */

#include "core/tls_context.h"
#include "http/https_redirect.h"
#include "tests/lib/server_scene.h"
#include "tests/lib/tls_scene.h"

static struct made made;
static int plain_listener; /* an index of the server's */
static int plain_fd;       /* of the listener that redirects */

static void use_certificate(void)
{
    char err[256] = "";
    const struct tls_settings settings = {0};
    const struct tls_certificate certificate = {.cert_pem = made.cert_pem, .key_pem = made.key_pem};
    struct tls_context *context = NULL;
    assert_int_equal(tls_context_create(&context, &settings, NULL, 0, &scene.log, err, sizeof err), 0);
    assert_int_equal(tls_context_add(context, &certificate, err, sizeof err), 0);
    assert_int_equal(server_set_tls(scene.server, context), 0);
    tls_context_put(context);
}

static void begin(const char *plain, const char *secured)
{
    char err[256] = "";
    scene_begin();
    use_certificate();
    plain_listener = server_listen(scene.server, plain, err, sizeof err);
    assert_int_equal(plain_listener, 1);
    plain_fd = fake_sys_listener_fd();
    assert_int_equal(server_listen(scene.server, secured, err, sizeof err), 2);
}

static struct fake_peer *plain_client(void)
{
    struct fake_peer *peer = fake_peer_connect(plain_fd);
    settle();
    return peer;
}

#define ASK(method, target, host) method " " target " HTTP/1.1\r\nHost: " host "\r\n\r\n"

static void only_its_own_requests_are_redirected(void **state)
{
    (void)state;
    begin("127.0.0.1:0?redirect_https", "127.0.0.1:443?tls");
    struct fake_peer *peer = plain_client();
    say(peer, ASK("GET", "/hello", "example.org") ASK("POST", "/a/../%2e/x?y", "EXAMPLE.ORG.:80")
                  ASK("OPTIONS", "*", "example.org") ASK("GET", "/", "other.org"));
    assert_string_equal(statuses(peer), "308 308 308 421");
    assert_true(output_has(peer, "Location: https://example.org/hello\r\n"));
    assert_true(output_has(peer, "Location: https://EXAMPLE.ORG/a/../%2e/x?y\r\n"));
    assert_true(output_has(peer, "Location: https://example.org\r\n"));
    assert_int_equal(count_in_output(peer, "Location: "), 2 + 1);
    peer = client();
    say(peer, GET("/hello"));
    assert_string_equal(statuses(peer), "200");
}

static void port_is_that_of_the_first_listener_of_tls_unless_it_is_named(void **state)
{
    (void)state;
    char err[256] = "";
    char address[128];
    snprintf(address, sizeof address, "unix:%s/socket?tls", scene.tree.path);
    begin("127.0.0.1:0?redirect_https", address);
    struct fake_peer *peer = plain_client();
    say(peer, ASK("GET", "/", "example.org"));
    assert_true(output_has(peer, "Location: https://example.org/\r\n"));
    assert_int_equal(server_listen(scene.server, "127.0.0.1:8443?tls", err, sizeof err), 3);
    assert_int_equal(server_listen(scene.server, "127.0.0.1:9443?tls", err, sizeof err), 4);
    assert_int_equal(server_listen(scene.server, "127.0.0.1:0?redirect_https=65535", err, sizeof err), 5);
    peer = plain_client();
    say(peer, ASK("GET", "/", "example.org"));
    assert_true(output_has(peer, "Location: https://example.org:8443/\r\n"));
    plain_fd = fake_sys_listener_fd();
    peer = plain_client();
    say(peer, ASK("GET", "/", "example.org"));
    assert_true(output_has(peer, "Location: https://example.org:65535/\r\n"));
}

static bool refuse_all(struct exchange *exchange, void *arg)
{
    (void)arg;
    response_error(exchange, 401, NULL);
    return true;
}

static void replace_page(struct exchange *exchange, int status, void *arg)
{
    (void)arg;
    response_send(exchange, status, NULL, "mine", 4);
}

static void hooks_of_the_host_are_not_asked(void **state)
{
    (void)state;
    begin("127.0.0.1:0?redirect_https", "127.0.0.1:443?tls");
    const struct server_hooks hooks = {.before = refuse_all, .before_name = "before", .on_error = replace_page};
    service_set_hooks(server_service(scene.server), &hooks);
    struct fake_peer *peer = plain_client();
    say(peer, ASK("GET", "/hello", "example.org") ASK("GET", "/", "x") ASK("GET", "/", ""));
    assert_string_equal(statuses(peer), "308 421 400");
    assert_false(output_has(peer, "mine"));
}

static void redirect_without_memory_is_503_or_cut(void **state)
{
    (void)state;
    begin("127.0.0.1:0?redirect_https", "127.0.0.1:443?tls");
    bool has_503 = false, is_done = false;
    for (uint64_t n = 1; !is_done; n++) {
        struct fake_peer *peer = plain_client();
        assert_true(n < 20);
        fake_peer_send_text(peer, ASK("GET", "/hello", "example.org"));
        fake_mem_fail_after(n, false);
        settle();
        fake_mem_fail_after(0, false);
        has_503 = has_503 || output_has(peer, " 503 ");
        is_done = output_has(peer, " 308 ");
        assert_true(is_done || !output_has(peer, "Location"));
    }
    assert_true(has_503);
}

/* At the limit of all fields, and one byte beyond. */
static void location_is_as_long_as_fields_may_be(void **state)
{
    (void)state;
    static const char name[] = "Location", before[] = "https://example.org";
    enum { MOST = RESPONSE_FIELDS_MAX - sizeof name - 3 - (sizeof before - 1) };
    static char request[RESPONSE_FIELDS_MAX + 100];
    set_limit("max_request_line", 65536);
    begin("127.0.0.1:0?redirect_https", "127.0.0.1:443?tls");
    struct fake_peer *peer = plain_client();
    for (int more = 0; more < 2; more++) {
        char *at = stpcpy(request, "GET /");
        memset(at, 'x', (size_t)MOST - 1 + (size_t)more);
        strcpy(at + MOST - 1 + more, " HTTP/1.1\r\nHost: example.org\r\n\r\n");
        say(peer, request);
    }
    assert_string_equal(statuses(peer), "308 414");
}

static void without_certificates_there_is_nothing_to_redirect_to(void **state)
{
    (void)state;
    char err[256] = "";
    scene_begin();
    assert_int_equal(server_listen(scene.server, "127.0.0.1:0?redirect_https", err, sizeof err), -EINVAL);
    assert_non_null(strstr(err, "127.0.0.1:0?redirect_https: there is no HTTPS to redirect to"));
}

static int group_set_up(void **state)
{
    (void)state;
    made_create(&made, KEY_EC, "example.org", NULL);
    return 0;
}

static int group_tear_down(void **state)
{
    (void)state;
    made_done(&made);
    made_keys_free();
    return 0;
}

static void clients_of_a_proxy_that_speaks_https_are_not_redirected(void **state)
{
    (void)state;
    char err[256] = "";
    assert_int_equal(site_set_trusted_proxies(scene.site, "127.0.0.1", err, sizeof err), 0);
    begin("127.0.0.1:0?redirect_https", "127.0.0.1:443?tls");
    struct fake_peer *peer = plain_client();
    say(peer, "GET /hello HTTP/1.1\r\nHost: inner\r\nX-Forwarded-Proto: https\r\n\r\n");
    say(peer,
        "GET /hello HTTP/1.1\r\nHost: inner\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: example.org:80\r\n\r\n");
    assert_string_equal(statuses(peer), "200 308");
    assert_true(output_has(peer, "Location: https://example.org/hello\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(only_its_own_requests_are_redirected),
        SCENE_TEST(port_is_that_of_the_first_listener_of_tls_unless_it_is_named),
        SCENE_TEST(clients_of_a_proxy_that_speaks_https_are_not_redirected),
        SCENE_TEST(hooks_of_the_host_are_not_asked),
        SCENE_TEST(redirect_without_memory_is_503_or_cut),
        SCENE_TEST(location_is_as_long_as_fields_may_be),
        SCENE_TEST(without_certificates_there_is_nothing_to_redirect_to),
    };
    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
