/* Who answers: the policies for a slash at the path's end, and what happens without memory. Groups, methods and
 * parameters are tested with the router and end to end. */

#include "tests/lib/server_scene.h"

static void begin_with(enum slash_policy policy)
{
    static const struct handler slash = {.serve = serve_text, .ctx = hello_text};
    scene.site->default_host.trailing_slash = policy;
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

static void redirect_is_never_read_as_a_host(void **state)
{
    (void)state;
    static const struct handler twice = {.serve = serve_text, .ctx = hello_text};
    add_route(METHOD_GET, "//twice/", &twice);
    add_route(METHOD_GET, "//:name/x", &twice);
    begin_with(SLASH_REDIRECT);
    struct fake_peer *peer = client();
    say(peer, GET("//twice?q") GET("//evil.example/x/") GET("//%C3%A4/x/"));
    assert_string_equal(statuses(peer), "301 301 301");
    assert_true(output_has(peer, "Location: /.//twice/?q\r\n"));
    assert_true(output_has(peer, "Location: /.//evil.example/x\r\n"));
    assert_true(output_has(peer, "Location: /.//%C3%A4/x\r\n"));
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

#define PATH(method, path) method " " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static void add_named_route(const char *method, const char *path)
{
    char err[256];
    uint64_t methods = 0;
    struct router *router = scene.site->default_host.router;
    assert_int_equal(route_methods_add(router_method_names(router), method, strlen(method), &methods, err, sizeof err),
                     0);
    assert_int_equal(router_add(router, methods, path, &hello, "", err, sizeof err), 0);
}

/* RFC 9110 sections 15.5.6 and 15.6.2. */
static void a_method_is_unknown_until_a_route_names_it(void **state)
{
    (void)state;
    begin_with(SLASH_REDIRECT);
    struct fake_peer *peer = client();
    say(peer,
        PATH("PURGE", "/hello") PATH("PURGE", "/none") PATH("purge", "/hello") PATH("PURGE", "/a.txt") GET("/hello"));
    assert_string_equal(statuses(peer), "501 501 501 501 200");
}

static void a_method_that_a_route_names_is_known_on_every_path(void **state)
{
    (void)state;
    add_named_route("PURGE", "/cache/");
    begin_with(SLASH_REDIRECT);
    struct fake_peer *peer = client();
    say(peer, PATH("PURGE", "/cache/") PATH("PURGE", "/cache") PATH("PURGE", "/hello") PATH("PURGE", "/none"));
    assert_string_equal(statuses(peer), "200 308 405 405"); /* the last one is in a mount, which has files only */
    peer = client();
    say(peer, PATH("BAN", "/cache/") PATH("OPTIONS", "/cache/") PATH("OPTIONS", "*"));
    assert_string_equal(statuses(peer), "501 204 204");
    assert_true(output_has(peer, "Allow: GET, HEAD, OPTIONS, PURGE\r\n"));
    assert_true(output_has(peer, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, PURGE\r\n"));
}

static void a_route_for_all_methods_makes_each_of_them_known(void **state)
{
    (void)state;
    add_named_route("*", "/all");
    begin_with(SLASH_REDIRECT);
    struct fake_peer *peer = client();
    say(peer, PATH("BAN", "/all") PATH("X", "/all") PATH("OPTIONS", "/all") PATH("TRACE", "/all") PATH("X", "/hello"));
    assert_string_equal(statuses(peer), "200 200 200 200 405");
    peer = client();
    say(peer, PATH("OPTIONS", "*"));
    assert_true(output_has(peer, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"));
    peer = client();
    say(peer, PATH("CONNECT", "/all"));
    assert_string_equal(statuses(peer), "501");
}

/* A host of scene.site with a route GET /own that responds 200 with text. */
static struct vhost *add_host(const char *name, char *text)
{
    static struct handler handlers[4];
    static unsigned count;
    struct vhost *vhost = NULL;
    char err[256];
    struct handler *handler = &handlers[count++ % 4];
    *handler = (struct handler){.serve = serve_text, .ctx = text};
    assert_int_equal(site_add_host(scene.site, "", &vhost), 0);
    assert_int_equal(vhosts_add_name(scene.site->hosts, vhost, name, err, sizeof err), 0);
    assert_int_equal(router_add(vhost->router, METHOD_BIT(METHOD_GET), "/own", handler, "", err, sizeof err), 0);
    return vhost;
}

#define FOR(host, path) "GET " path " HTTP/1.1\r\nHost: " host "\r\n\r\n"

/* Each form of a host in RFC 9112 section 3.2 and RFC 9110 section 4.2.3. */
static void a_host_is_chosen_by_its_name(void **state)
{
    (void)state;
    static char one[] = "one\n", below[] = "below\n", six[] = "six\n";
    add_host("one.example", one);
    add_host("*.one.example", below);
    add_host("::1", six);
    begin_with(SLASH_STRICT);
    struct fake_peer *peer = client();
    say(peer, FOR("one.example", "/own") FOR("ONE.example.:8080", "/own") FOR("a.b.one.example", "/own")
                  FOR("[0:0::1]:80", "/own") FOR("two.example", "/own") FOR("", "/own"));
    assert_string_equal(statuses(peer), "200 200 200 200 404 404");
    peer = client();
    say(peer, FOR("a.one.example", "/own"));
    assert_true(output_has(peer, "below\n"));
    peer = client();
    say(peer, FOR("one.example", "http://[::1]:1/own")); /* the target says it, whatever Host is */
    assert_true(output_has(peer, "six\n"));
    peer = client();
    say(peer, "GET /own HTTP/1.0\r\n\r\n");
    assert_string_equal(statuses(peer), "404");
}

static void hosts_share_nothing_that_is_served(void **state)
{
    (void)state;
    static char one[] = "one\n";
    struct vhost *vhost = add_host("one.example", one);
    vhost->has_slash = true;
    vhost->trailing_slash = SLASH_IGNORE;
    tree_add_file(&scene.tree, "a.txt", "a");
    begin_with(SLASH_STRICT);
    struct fake_peer *peer = client();
    say(peer, FOR("one.example", "/own/") FOR("one.example", "/hello") FOR("one.example", "/a.txt") GET("/hello")
                  GET("/a.txt") GET("/own"));
    assert_string_equal(statuses(peer), "200 404 404 200 200 404");
    peer = client();
    say(peer, "POST /own HTTP/1.1\r\nHost: one.example\r\nContent-Length: 0\r\n\r\n"
              "OPTIONS /own HTTP/1.1\r\nHost: one.example\r\n\r\n"
              "DELETE /own HTTP/1.1\r\nHost: one.example\r\n\r\n");
    assert_string_equal(statuses(peer), "405 204 405");
    assert_true(output_has(peer, "Allow: GET, HEAD, OPTIONS\r\n"));
}

static void unknown_names_are_refused_if_the_site_says_so(void **state)
{
    (void)state;
    static char one[] = "one\n";
    add_host("one.example", one);
    scene.site->unknown_host = 421;
    begin_with(SLASH_STRICT);
    struct fake_peer *peer = client();
    say(peer, FOR("one.example", "/own") FOR("two.example", "/hello") FOR("", "/hello") FOR("one.example:1", "/own"));
    assert_string_equal(statuses(peer), "200 421 421 200"); /* the connection goes on */
    peer = client();
    say(peer, "GET /hello HTTP/1.0\r\n\r\n");
    assert_string_equal(statuses(peer), "421");
}

static void without_other_hosts_each_name_is_served(void **state)
{
    (void)state;
    scene.site->unknown_host = 404;
    begin_with(SLASH_STRICT);
    struct fake_peer *peer = client();
    say(peer, FOR("two.example", "/hello"));
    assert_string_equal(statuses(peer), "200");
}

static void limits_of_a_host_hold_for_its_requests(void **state)
{
    (void)state;
    static char one[] = "one\n";
    static const struct handler whole = {.serve = serve_text, .ctx = one, .body_mode = BODY_WHOLE};
    char err[256];
    struct vhost *vhost = add_host("one.example", one);
    assert_int_equal(vhost_set_limit(vhost, limits_find("max_body"), 4), 0);
    assert_int_equal(router_add(vhost->router, METHOD_BIT(METHOD_POST), "/whole", &whole, "", err, sizeof err), 0);
    assert_int_equal(router_add(scene.site->default_host.router, METHOD_BIT(METHOD_POST), "/whole", &whole, "", err,
                                sizeof err),
                     0);
    assert_int_equal(site_settle_hosts(scene.site, err, sizeof err), 0);
    begin_with(SLASH_STRICT);
    struct fake_peer *peer = client();
    say(peer, "POST /whole HTTP/1.1\r\nHost: one.example\r\nContent-Length: 4\r\n\r\nabcd"
              "POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"
              "POST /whole HTTP/1.1\r\nHost: one.example\r\nContent-Length: 5\r\n\r\nabcde");
    assert_string_equal(statuses(peer), "200 200 413");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SCENE_TEST(a_method_is_unknown_until_a_route_names_it),
        SCENE_TEST(a_method_that_a_route_names_is_known_on_every_path),
        SCENE_TEST(a_route_for_all_methods_makes_each_of_them_known),
        SCENE_TEST(a_host_is_chosen_by_its_name),
        SCENE_TEST(hosts_share_nothing_that_is_served),
        SCENE_TEST(unknown_names_are_refused_if_the_site_says_so),
        SCENE_TEST(without_other_hosts_each_name_is_served),
        SCENE_TEST(limits_of_a_host_hold_for_its_requests),
        SCENE_TEST(strict_paths_are_what_they_are),
        SCENE_TEST(redirect_goes_to_the_path_that_fits),
        SCENE_TEST(redirect_is_never_read_as_a_host),
        SCENE_TEST(redirect_keeps_method_and_query),
        SCENE_TEST(redirect_without_memory_is_503),
        SCENE_TEST(ignored_slash_finds_the_route),
        SCENE_TEST(options_for_all_paths_leaves_other_methods_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
