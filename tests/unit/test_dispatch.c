/* Who answers: the policies for a slash at the path's end, and what happens without memory. Groups, methods and parameters
 * are tested with the router and end to end. */

#include "tests/lib/server_scene.h"

static void begin_with(enum site_slash policy)
{
    static const struct handler slash = {.serve = serve_text, .ctx = hello_text};
    scene.site->trailing_slash = policy;
    add_route(METHOD_GET, "/slash/", &slash);
    add_route(METHOD_GET, "/by/:name", &slash);
    add_route(METHOD_GET, "/rest/*path", &slash);
    scene_begin();
}

#define ALL GET("/hello/") GET("/slash") GET("/by/a/") GET("/rest") GET("/") GET("/none/")

static void strict_paths_are_what_they_are(void **state)
{
    (void)state;
    begin_with(SLASH_STRICT);
    struct fake_peer *peer = client();
    say(peer, ALL);
    assert_string_equal(statuses(peer), "404 404 404 404 404 404");
}

static void redirect_goes_to_the_path_that_fits(void **state)
{
    (void)state;
    begin_with(SLASH_REDIRECT);
    struct fake_peer *peer = client();
    say(peer, ALL);
    assert_string_equal(statuses(peer), "301 301 301 301 404 404");
    assert_true(output_has(peer, "Location: /hello\r\n"));
    assert_true(output_has(peer, "Location: /slash/\r\n"));
    assert_true(output_has(peer, "Location: /by/a\r\n"));
    assert_true(output_has(peer, "Location: /rest/\r\n"));
}

static void redirect_keeps_method_and_query(void **state)
{
    (void)state;
    begin_with(SLASH_REDIRECT);
    struct fake_peer *peer = client();
    say(peer, "POST /echo/?a=%20&b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" GET("/hello"));
    assert_string_equal(statuses(peer), "308 200");
    assert_true(output_has(peer, "Location: /echo?a=%20&b\r\n"));
}

static void redirect_without_memory_is_503(void **state)
{
    (void)state;
    begin_with(SLASH_REDIRECT);
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, GET("/hello/"));
    for (uint64_t n = 1; !output_has(peer, "503") && n < 10; n++) {
        fake_mem_fail_after(n, false);
        settle();
        fake_mem_fail_after(0, false);
        if (!output_has(peer, "503")) { /* something else failed, or nothing did */
            peer = client();
            fake_peer_send_text(peer, GET("/hello/"));
        }
    }
    assert_true(output_has(peer, "503"));
}

static void ignored_slash_finds_the_route(void **state)
{
    (void)state;
    begin_with(SLASH_IGNORE);
    struct fake_peer *peer = client();
    say(peer, ALL);
    assert_string_equal(statuses(peer), "200 200 200 200 404 404");
    say(peer, "DELETE /hello/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(output_has(peer, "Allow: GET, HEAD, OPTIONS\r\n"));
}

/* A catch-all for the preflights of CORS changes nothing for other methods. */
static void options_for_all_paths_leaves_other_methods_alone(void **state)
{
    static const struct handler preflight = {.serve = serve_text, .ctx = hello_text};
    add_route(METHOD_OPTIONS, "/*path", &preflight);
    (void)state;
    begin_with(SLASH_REDIRECT);
    struct fake_peer *peer = client();
    say(peer, "OPTIONS /none HTTP/1.1\r\nHost: a\r\n\r\n" GET("/none")
                  GET("/slash") "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(statuses(peer), "200 404 301 405");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SCENE_TEST(strict_paths_are_what_they_are),  SCENE_TEST(redirect_goes_to_the_path_that_fits),
        SCENE_TEST(redirect_keeps_method_and_query), SCENE_TEST(redirect_without_memory_is_503),
        SCENE_TEST(ignored_slash_finds_the_route),   SCENE_TEST(options_for_all_paths_leaves_other_methods_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
