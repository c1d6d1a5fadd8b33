/* The id of a request, in a whole server on the fake kernel. Its clients come from 127.0.0.1, and its random bytes are
 * 0, 1, 2, ... */

#include "http/request_id.h"
#include "tests/lib/server_scene.h"

enum { SHOWN = 512 };

/* Responds with the id, twice: it stays the same. */
static void serve_id(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    char text[SHOWN];
    snprintf(text, sizeof text, "%s %s\n", request_id(exchange), request_id(exchange));
    response_send(exchange, 200, NULL, text, strlen(text));
}

static void serve_own_field(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    assert_int_equal(response_set_field(exchange, "x-request-id", 12, "mine", 4), 0);
    response_send(exchange, 200, NULL, "", 0);
}

static const struct handler show = {.serve = serve_id}, own = {.serve = serve_own_field};

static void begin_trusting(const char *trusted)
{
    char err[256] = "";
    add_route(METHOD_GET, "/id", &show);
    add_route(METHOD_GET, "/own", &own);
    assert_int_equal(site_set_trusted_proxies(scene.site, trusted, err, sizeof err), 0);
    scene_begin();
}

/* Whether one request with these fields gets this id; NULL: one of the server's, which the response does not repeat. */
static void assert_id(const char *fields, const char *id)
{
    char text[4096];
    struct fake_peer *peer = client();
    snprintf(text, sizeof text, "GET /id HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    say(peer, text);
    assert_string_equal(statuses(peer), "200");
    if (id == NULL) {
        assert_int_equal(content_len(peer), 2 * REQUEST_ID_DIGITS + 2);
        assert_false(output_has(peer, "X-Request-Id"));
    } else {
        snprintf(text, sizeof text, "X-Request-Id: %s\r\n", id);
        assert_int_equal(count_in_output(peer, text), 1);
        snprintf(text, sizeof text, "\r\n\r\n%s %s\n", id, id);
        assert_true(output_has(peer, text));
    }
}

static void id_of_the_server_is_32_random_digits(void **state)
{
    (void)state;
    begin_trusting("none");
    struct fake_peer *peer = client();
    uint64_t before = fake_sys_count(FAKE_RANDOM);
    say(peer, GET("/hello")); /* needs no id, and takes no random bytes */
    assert_int_equal(fake_sys_count(FAKE_RANDOM), before);
    for (int i = 0; i < REQUEST_ID_POOL / 16; i++) {
        say(peer, GET("/id"));
        assert_int_equal(fake_sys_count(FAKE_RANDOM), before + 1); /* for 16 ids */
    }
    assert_true(output_has(peer, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff\n"));
    assert_true(output_has(peer, "000102030405060708090a0b0c0d0e0f 000102030405060708090a0b0c0d0e0f\n"));
    say(peer, GET("/id"));
    assert_int_equal(fake_sys_count(FAKE_RANDOM), before + 2);
    assert_int_equal(count_in_output(peer, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff\n"), 2);
}

static void ids_without_randomness_differ(void **state)
{
    (void)state;
    begin_trusting("none");
    struct fake_peer *peer = client();
    fake_sys_fail_op(FAKE_RANDOM, 0, 1, -ENOSYS);
    say(peer, GET("/id"));
    fake_sys_fail_op(FAKE_RANDOM, 0, 1, -ENOSYS);
    say(peer, GET("/id"));
    assert_string_equal(statuses(peer), "200 200");
    assert_int_equal(content_len(peer), 2 * (2 * REQUEST_ID_DIGITS + 2));
}

static void a_trusted_proxy_gives_the_id(void **state)
{
    (void)state;
    char longest[REQUEST_ID_MAX + 2], field[256];
    begin_trusting("10.0.0.0/8, 127.0.0.1");
    assert_id("x-request-ID: 7b-Z_.~=:+@9\r\n", "7b-Z_.~=:+@9");
    assert_id("X-Request-Id:  7\t\r\nX-Other: 8\r\n", "7");
    assert_id("", NULL);
    assert_id("X-Request-Id:\r\n", NULL);
    assert_id("X-Request-Id: .7\r\n", NULL);
    assert_id("X-Request-Id: 7/8\r\n", NULL);
    assert_id("X-Request-Id: 7 8\r\n", NULL);
    assert_id("X-Request-Id: 7, 8\r\n", NULL);
    assert_id("X-Request-Id: 7\"8\r\n", NULL);
    assert_id("X-Request-Id: 7\xc3\xa4\r\n", NULL);
    assert_id("X-Request-Id: 7\r\nX-Request-Id: 7\r\n", NULL);
    memset(longest, 'x', sizeof longest);
    snprintf(field, sizeof field, "X-Request-Id: %.*s\r\n", REQUEST_ID_MAX, longest);
    longest[REQUEST_ID_MAX] = '\0';
    assert_id(field, longest);
    snprintf(field, sizeof field, "X-Request-Id: %sx\r\n", longest);
    assert_id(field, NULL);
}

static void others_give_none(void **state)
{
    (void)state;
    begin_trusting("10.0.0.0/8, 127.0.0.2, unix:");
    assert_id("X-Request-Id: 7\r\n", NULL);
}

#define ASK(path) "GET " path " HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc\r\n\r\n"

static void every_response_repeats_it_once(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.txt", "text\n");
    begin_trusting("127.0.0.1");
    struct fake_peer *peer = client();
    say(peer, ASK("/hello"));
    say(peer, ASK("/none"));
    say(peer, ASK("/a.txt"));
    assert_string_equal(statuses(peer), "200 404 200");
    assert_int_equal(count_in_output(peer, "X-Request-Id: abc\r\n"), 3);
    peer = client();
    say(peer, ASK("/own"));
    assert_int_equal(count_in_output(peer, "X-Request-Id"), 0);
    assert_int_equal(count_in_output(peer, "x-request-id: mine\r\n"), 1);
    peer = client();
    say(peer, ASK("/id") GET("/id")); /* the next request of a connection has its own */
    assert_int_equal(count_in_output(peer, "X-Request-Id: abc\r\n"), 1);
    assert_int_equal(count_in_output(peer, "abc abc\n"), 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SCENE_TEST(id_of_the_server_is_32_random_digits), SCENE_TEST(ids_without_randomness_differ),
        SCENE_TEST(a_trusted_proxy_gives_the_id),         SCENE_TEST(others_give_none),
        SCENE_TEST(every_response_repeats_it_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
