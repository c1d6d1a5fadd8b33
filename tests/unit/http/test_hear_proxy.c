/* What trusted proxies say of requests (http/dispatch.c, http/exchange.h), in a whole server on the fake kernel. Its
 * clients come from 127.0.0.1; http/forwarded.c has a test of its own for what the fields mean. */

#include "http/exchange_log.h"
#include "http/hsts.h"
#include "tests/lib/server_scene.h"

enum { SHOWN_BYTES = 1024 };

/* Responds with the client, the scheme, the host and the names of all fields. */
static void serve_told(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    char text[SHOWN_BYTES], connected[64], client[64];
    size_t host_len;
    const char *host = exchange_host(exchange, &host_len);
    peer_format_host(exchange->peer, connected, sizeof connected);
    peer_format(exchange_client(exchange), client, sizeof client);
    assert_string_equal(connected, "127.0.0.1");
    if (exchange_client(exchange) == exchange->peer) {
        strcpy(client, "-");
    }
    int used = snprintf(text, sizeof text, "[%s %s %.*s]", client, exchange_scheme(exchange), (int)host_len, host);
    for (unsigned i = 0; i < exchange->head.field_count; i++) {
        const struct slice name = exchange->head.fields[i].name;
        used += snprintf(text + used, sizeof text - (size_t)used, " %.*s", (int)name.len,
                         exchange_text(exchange, name));
    }
    response_send(exchange, 200, NULL, text, (size_t)used);
}

static const struct handler told = {.serve = serve_told};

static void begin_behind(const char *trusted, const char *forwarded, bool strips)
{
    char err[512] = "";
    add_route(METHOD_GET, "/told", &told);
    add_route(METHOD_OTHER, "/other", &told);
    assert_int_equal(site_set_trusted_proxies(scene.site, trusted, err, sizeof err), 0);
    assert_int_equal(site_set_forwarded(scene.site, forwarded, err, sizeof err), 0);
    scene.site->strips_forwarded = strips;
    scene_begin();
}

#define FIELDS      "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.org\r\n"
#define STANDARD    "Forwarded: for=\"192.0.2.8:80\";proto=https;host=example.net\r\n"
#define ASK(fields) "GET /told HTTP/1.1\r\nHost: a:80\r\n" fields "\r\n"

static void assert_told(const char *request, const char *expected)
{
    struct fake_peer *peer = client();
    say(peer, request);
    assert_string_equal(statuses(peer), "200");
    if (!output_has(peer, expected)) {
        fail_msg("\"%s\" is not in the response to\n%s", expected, request);
    }
}

static void trusted_proxy_is_believed(void **state)
{
    (void)state;
    begin_behind("127.0.0.1", "x-forwarded", false);
    assert_told(ASK(FIELDS STANDARD), "[192.0.2.7 https example.org] Host X-Forwarded-For X-Forwarded-Proto "
                                      "X-Forwarded-Host Forwarded");
    assert_told(ASK(STANDARD), "[- http a:80] Host Forwarded");
    assert_told(ASK(), "[- http a:80] Host");
}

static void only_one_kind_of_field_is_believed(void **state)
{
    (void)state;
    begin_behind("127.0.0.1", "forwarded", false);
    assert_told(ASK(FIELDS STANDARD), "[192.0.2.8:80 https example.net] Host X-Forwarded-For");
    assert_told(ASK(FIELDS), "[- http a:80] Host X-Forwarded-For");
}

static void others_are_not_believed(void **state)
{
    (void)state;
    begin_behind("127.0.0.2, unix:", "x-forwarded", false);
    assert_told(ASK(FIELDS), "[- http a:80] Host X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host");
}

static void nobody_is_believed_who_is_switched_off(void **state)
{
    (void)state;
    begin_behind("127.0.0.1", "off", true);
    assert_told(ASK(FIELDS STANDARD "X-Last: 1\r\n"), "[- http a:80] Host X-Last");
}

static void what_does_not_count_is_stripped(void **state)
{
    (void)state;
    begin_behind("none", "x-forwarded", true);
    assert_told(ASK(FIELDS "Cookie: a=1\r\n" STANDARD "X-Real-IP: 1\r\n"), "[- http a:80] Host Cookie");
}

static void what_counts_is_kept(void **state)
{
    (void)state;
    begin_behind("127.0.0.1", "x-forwarded", true);
    assert_told(ASK(FIELDS STANDARD), "[192.0.2.7 https example.org] Host X-Forwarded-For X-Forwarded-Proto "
                                      "X-Forwarded-Host");
}

static void each_request_of_a_connection_is_told_of_anew(void **state)
{
    (void)state;
    begin_behind("127.0.0.1", "x-forwarded", false);
    struct fake_peer *peer = client();
    say(peer, ASK(FIELDS) ASK() ASK("X-Forwarded-For: 2001:db8::7\r\n"));
    assert_string_equal(statuses(peer), "200 200 200");
    assert_int_equal(count_in_output(peer, "[192.0.2.7 https example.org]"), 1);
    assert_int_equal(count_in_output(peer, "[- http a:80]"), 1);
    assert_int_equal(count_in_output(peer, "[2001:db8::7 http a:80]"), 1);
}

static void outcome_and_log_name_the_client(void **state)
{
    (void)state;
    begin_behind("127.0.0.1", "x-forwarded", false);
    struct fake_peer *peer = client();
    say(peer, "GET /hold HTTP/1.1\r\nHost: a\r\n" FIELDS "\r\n");
    assert_int_equal(held_count, 1);
    exchange_log(held[0].exchange, LOG_WARN, NULL, "look");
    assert_non_null(strstr(scene.log_text, "192.0.2.7"));
    reply_held(0, "done");
}

static void refused_paths_have_the_client_too(void **state)
{
    (void)state;
    begin_behind("127.0.0.1", "x-forwarded", false);
    struct fake_peer *peer = client();
    say(peer, "GET /%00 HTTP/1.1\r\nHost: a\r\n" FIELDS "X-Request-Id: abc\r\n\r\n");
    assert_string_equal(statuses(peer), "400");
    assert_true(output_has(peer, "X-Request-Id: abc\r\n")); /* it was heard */
}

static void responses_to_clients_of_https_have_hsts(void **state)
{
    (void)state;
    assert_int_equal(hsts_parse(&scene.site->hsts, "1d", NULL, 0), 0);
    begin_behind("127.0.0.1", "x-forwarded", false);
    struct fake_peer *peer = client();
    say(peer, ASK());
    assert_int_equal(count_in_output(peer, "Strict-Transport-Security: max-age=86400\r\n"), 0);
    say(peer, ASK(FIELDS));
    assert_int_equal(count_in_output(peer, "Strict-Transport-Security: max-age=86400\r\n"), 1);
    say(peer, ASK("X-Forwarded-Proto: http\r\n"));
    assert_int_equal(count_in_output(peer, "Strict-Transport-Security: max-age=86400\r\n"), 1);
    say(peer, "GET /hello HTTP/1.1\r\nHost: a\r\n" FIELDS "\r\n");
    assert_int_equal(count_in_output(peer, "Strict-Transport-Security: max-age=86400\r\n"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(trusted_proxy_is_believed),
        SCENE_TEST(only_one_kind_of_field_is_believed),
        SCENE_TEST(others_are_not_believed),
        SCENE_TEST(nobody_is_believed_who_is_switched_off),
        SCENE_TEST(what_does_not_count_is_stripped),
        SCENE_TEST(what_counts_is_kept),
        SCENE_TEST(each_request_of_a_connection_is_told_of_anew),
        SCENE_TEST(outcome_and_log_name_the_client),
        SCENE_TEST(refused_paths_have_the_client_too),
        SCENE_TEST(responses_to_clients_of_https_have_hsts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
