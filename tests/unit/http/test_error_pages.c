/* Files in place of the server's own texts, on a whole server. */

#include "http/error_pages.h"
#include "http/vhost.h"
#include "tests/lib/server_scene.h"

static int add_page(const char *statuses, const char *file, bool for_proxied, char *err, size_t errlen)
{
    return error_pages_add(&scene.site->default_host.error_pages, scene.site->cache, scene.tree.fd, statuses, file,
                           for_proxied, err, errlen);
}

static void add(const char *statuses, const char *file)
{
    char err[512] = "";
    int rv = add_page(statuses, file, false, err, sizeof err);
    assert_string_equal(err, "");
    assert_int_equal(rv, 0);
}

static void serve_bare(struct exchange *exchange, void *ctx)
{
    response_send(exchange, *(const int *)ctx, NULL, NULL, 0);
}

static void serve_own_text(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_send(exchange, 404, "text/plain", "own", 3);
}

static void serve_error(struct exchange *exchange, void *ctx)
{
    response_add_field(exchange, "X-A", 3, "1", 1);
    response_refuse(exchange, *(const int *)ctx, "a detail");
}

static int status_404 = 404, status_403 = 403, status_500 = 500, status_204 = 204;
static const struct handler bare_404 = {.serve = serve_bare, .ctx = &status_404};
static const struct handler bare_204 = {.serve = serve_bare, .ctx = &status_204};
static const struct handler own_404 = {.serve = serve_own_text};
static const struct handler error_403 = {.serve = serve_error, .ctx = &status_403};
static const struct handler error_500 = {.serve = serve_error, .ctx = &status_500};

static void add_routes(void)
{
    add_usual_routes();
    add_route(METHOD_GET, "/bare", &bare_404);
    add_route(METHOD_GET, "/none", &bare_204);
    add_route(METHOD_GET, "/own", &own_404);
    add_route(METHOD_GET, "/403", &error_403);
    add_route(METHOD_GET, "/500", &error_500);
}

/* The content of the one response that a fresh client gets. */
static const char *content_of(const char *request, const char *status)
{
    struct fake_peer *peer = client();
    say(peer, request);
    assert_string_equal(statuses(peer), status);
    const char *content = strstr(fake_peer_output(peer, NULL), "\r\n\r\n");
    assert_non_null(content);
    return content + 4;
}

static void errors_get_their_pages(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "404.html", "<p>lost");
    tree_add_file(&scene.tree, "other.txt", "other");
    tree_add_file(&scene.tree, "5xx.json", "{}");
    add("404", "404.html");
    add("4xx", "other.txt");
    add("500, 502 5XX", "5xx.json");
    add_routes();
    scene_start();
    assert_string_equal(content_of(GET("/nothing/here"), "404"), "<p>lost");
    assert_string_equal(content_of(GET("/bare"), "404"), "<p>lost");
    assert_string_equal(content_of(GET("/none"), "204"), "");
    assert_string_equal(content_of(GET("/own"), "404"), "own");
    assert_string_equal(content_of(GET("/403"), "403"), "other");
    assert_string_equal(content_of(GET("/500"), "500"), "{}");
    assert_string_equal(content_of("DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n", "405"), "other");
    assert_string_equal(content_of("nonsense\r\n\r\n", "400"), "other");
    assert_string_equal(content_of("GET / HTTP/1.1\r\n\r\n", "400"), "other");
    assert_string_equal(content_of("FOO /hello HTTP/1.1\r\nHost: a\r\n\r\n", "501"), "{}");
    assert_string_equal(content_of(GET("/hello"), "200"), hello_text);
}

static void fields_of_the_error_stay_and_those_of_the_file_do_not(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "e.html", "<p>");
    add("4xx", "e.html");
    add_routes();
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET("/403"));
    assert_true(output_has(peer, "\r\nX-A: 1\r\n"));
    assert_true(output_has(peer, "\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert_false(output_has(peer, "ETag"));
    assert_false(output_has(peer, "Last-Modified"));
    assert_false(output_has(peer, "a detail"));
    say(peer, "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(output_has(peer, "\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    peer = client();
    say(peer, HEAD("/403"));
    assert_true(output_has(peer, "HTTP/1.1 403 Forbidden\r\n"));
    assert_true(output_has(peer, "\r\nContent-Length: 3\r\n"));
    assert_false(output_has(peer, "<p>"));
}

static void serve_bare_with_fields(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    response_add_field(exchange, "Content-Encoding", 16, "gzip", 4);
    response_add_field(exchange, "X-A", 3, "1", 1);
    response_send(exchange, 404, NULL, NULL, 0);
}

static void fields_about_content_that_a_handler_has_not_sent_are_not_those_of_the_page(void **state)
{
    (void)state;
    static const struct handler handler = {.serve = serve_bare_with_fields};
    tree_add_file(&scene.tree, "e.html", "<p>");
    add("404", "e.html");
    add_route(METHOD_GET, "/fields", &handler);
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET("/fields"));
    assert_true(output_has(peer, "\r\nX-A: 1\r\n"));
    assert_false(output_has(peer, "Content-Encoding"));
}

static void conditions_and_ranges_are_not_for_error_pages(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "e.html", "<p>");
    add("404", "e.html");
    add_routes();
    scene_start();
    assert_string_equal(content_of("GET /x HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\nIf-None-Match: *\r\n\r\n", "404"),
                        "<p>");
}

static void a_page_may_change_come_and_go(void **state)
{
    (void)state;
    add("404", "e.html");
    add_routes();
    error_pages_log_missing(scene.site->default_host.error_pages, &scene.log);
    assert_non_null(strstr(scene.log_text, "the error page e.html cannot be sent yet: No such file or directory"));
    scene_start();
    assert_string_equal(content_of(GET("/x"), "404"), "404 Not Found\n");
    tree_add_file(&scene.tree, "e.html", "one");
    assert_string_equal(content_of(GET("/x"), "404"), "one");
    tree_replace_file(&scene.tree, "e.html", "two");
    pass_ms(2000);
    assert_string_equal(content_of(GET("/x"), "404"), "two");
    tree_unlink(&scene.tree, "e.html");
    pass_ms(2000);
    assert_string_equal(content_of(GET("/x"), "404"), "404 Not Found\n");
    tree_add_dir(&scene.tree, "e.html");
    assert_string_equal(content_of(GET("/x"), "404"), "404 Not Found\n");
}

static void a_large_page_is_sent_from_its_file(void **state)
{
    (void)state;
    tree_add_filled(&scene.tree, "big.html", 'b', 3000000);
    add("4xx", "big.html");
    add_routes();
    scene_start();
    struct fake_peer *peer = client();
    say(peer, GET("/x") GET("/hello"));
    assert_string_equal(statuses(peer), "404 200");
    assert_int_equal(content_len(peer), 3000000 + strlen(hello_text));
    peer = client();
    say(peer, GET("/hello") "nonsense\r\n\r\n");
    assert_string_equal(statuses(peer), "200 400");
    assert_int_equal(content_len(peer), 3000000 + strlen(hello_text));
    peer = client();
    fake_peer_set_room(peer, 100000);
    say(peer, "nonsense\r\n\r\n");
    assert_false(is_closed(peer));
    fake_peer_add_room(peer, 10000000);
    settle();
    assert_int_equal(content_len(peer), 3000000);
}

/* A response of another server: some fields, and the status that ctx points to. */
static void serve_proxied(struct exchange *exchange, void *ctx)
{
    int status = *(const int *)ctx;
    response_add_field(exchange, "Content-Type", 12, "text/x-own", 10);
    response_add_field(exchange, "Content-Encoding", 16, "gzip", 4);
    response_add_field(exchange, "WWW-Authenticate", 16, "Basic", 5);
    if (!error_pages_replace(exchange, exchange->vhost->error_pages, status)) {
        response_send(exchange, status, NULL, "own", 3);
    }
}

static void only_some_are_for_other_servers(void **state)
{
    (void)state;
    static int status_200 = 200;
    static const struct handler proxied_403 = {.serve = serve_proxied, .ctx = &status_403};
    static const struct handler proxied_404 = {.serve = serve_proxied, .ctx = &status_404};
    static const struct handler proxied_500 = {.serve = serve_proxied, .ctx = &status_500};
    static const struct handler proxied_200 = {.serve = serve_proxied, .ctx = &status_200};
    tree_add_file(&scene.tree, "a.html", "<p>a");
    tree_add_file(&scene.tree, "b.html", "<p>b");
    assert_int_equal(add_page("403", "a.html", true, NULL, 0), 0);
    assert_int_equal(add_page("5xx", "b.html", false, NULL, 0), 0);
    assert_int_equal(add_page("404", "missing.html", true, NULL, 0), 0);
    const struct error_pages *pages = scene.site->default_host.error_pages;
    assert_string_equal(error_pages_directory(pages, 0), ".");
    assert_null(error_pages_directory(pages, 3));
    assert_null(error_pages_directory(NULL, 0));
    add_route(METHOD_GET, "/403", &proxied_403);
    add_route(METHOD_GET, "/404", &proxied_404);
    add_route(METHOD_GET, "/500", &proxied_500);
    add_route(METHOD_GET, "/200", &proxied_200);
    scene_start();
    assert_string_equal(content_of(GET("/404"), "404"), "own");
    assert_string_equal(content_of(GET("/500"), "500"), "own");
    assert_string_equal(content_of(GET("/200"), "200"), "own");
    struct fake_peer *peer = client();
    say(peer, GET("/403"));
    assert_true(output_has(peer, "\r\n\r\n<p>a"));
    assert_true(output_has(peer, "\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert_true(output_has(peer, "\r\nWWW-Authenticate: Basic\r\n"));
    assert_false(output_has(peer, "gzip"));
    assert_false(output_has(peer, "x-own"));
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *statuses, *file;
        int error;
        const char *text;
    } wrong[] = {
        {"", "e.html", -EINVAL, "a status from 400 to 599, \"4xx\" or \"5xx\" expected"},
        {"200", "e.html", -EINVAL, "a status from 400 to 599, \"4xx\" or \"5xx\" expected, got \"200\""},
        {"404 3xx", "e.html", -EINVAL, "a status from 400 to 599, \"4xx\" or \"5xx\" expected, got \"3xx\""},
        {"4x4", "e.html", -EINVAL, "a status from 400 to 599, \"4xx\" or \"5xx\" expected, got \"4x4\""},
        {"404", "", -EINVAL, "a file such as \"404.html\" expected, got \"\""},
        {"404", "pages/", -EINVAL, "a file such as \"404.html\" expected, got \"pages/\""},
        {"404", "..", -EINVAL, "a file such as \"404.html\" expected, got \"..\""},
        {"500 410", "f.html", -EEXIST, "410 has a page already, \"e.html\""},
        {"5xx", "missing/e.html", -ENOENT, NULL},
    };
    char err[512];
    add("410 4xx", "e.html");
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(add_page(wrong[i].statuses, wrong[i].file, false, err, sizeof err), wrong[i].error);
        assert_non_null(strstr(err, wrong[i].text == NULL ? "missing" : wrong[i].text));
    }
    for (int n = 1; n < ERROR_PAGES_MAX; n++) {
        char status[8];
        snprintf(status, sizeof status, "%d", 500 + n);
        add(status, "e.html");
    }
    assert_int_equal(add_page("5xx", "e.html", false, err, sizeof err), -ENOSPC);
    assert_string_equal(err, "\"e.html\" is one too many: at most 64 pages");
}

static void no_memory_leaves_the_text(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "e.html", "<p>");
    for (uint64_t n = 1;; n++) {
        fake_mem_fail_after(n, false);
        int rv = add_page("404", "e.html", false, NULL, 0);
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, has_failed ? -ENOMEM : 0);
        if (!has_failed) {
            break;
        }
    }
    add_routes();
    scene_start();
    for (uint64_t n = 1; n < 20; n++) { /* whichever allocation fails, there is one response or a closed connection */
        struct fake_peer *peer = client();
        fake_mem_fail_after(n, false);
        say(peer, GET("/x"));
        fake_mem_fail_after(0, false);
        const char *got = statuses(peer);
        assert_true(strcmp(got, "404") == 0 || strcmp(got, "503") == 0 || (got[0] == '\0' && is_closed(peer)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(errors_get_their_pages),
        SCENE_TEST(fields_of_the_error_stay_and_those_of_the_file_do_not),
        SCENE_TEST(fields_about_content_that_a_handler_has_not_sent_are_not_those_of_the_page),
        SCENE_TEST(conditions_and_ranges_are_not_for_error_pages),
        SCENE_TEST(a_page_may_change_come_and_go),
        SCENE_TEST(a_large_page_is_sent_from_its_file),
        SCENE_TEST(only_some_are_for_other_servers),
        SCENE_TEST(mistakes_are_refused),
        SCENE_TEST(no_memory_leaves_the_text),
    };
    return cmocka_run_group_tests_name("error_pages", tests, NULL, NULL);
}
