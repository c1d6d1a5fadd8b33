/* http/rules/rule_redirect.c: paths that have moved. */

#include "http/rules/rule_redirect.h"
#include "tests/lib/server_scene.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static int try(const char *pattern, const char *target, int status, char err[512])
{
    err[0] = '\0';
    return rule_redirect_add(&scene.site->default_host.rules, pattern, target, status, "site.lua:1", err, 512);
}

static void add(const char *pattern, const char *target, int status)
{
    char err[512];
    if (try(pattern, target, status, err) < 0) {
        fail_msg("%s", err);
    }
}

/* Status and Location of the response to a request. */
static const char *answer_to(const char *target)
{
    static char text[512];
    char request[512], copy[4096];
    struct fake_peer *peer = client();
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    say(peer, request);
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    snprintf(copy, sizeof copy, "%.*s", (int)(len < sizeof copy ? len : sizeof copy - 1), output);
    const char *at = strstr(copy, "Location: ");
    at = at == NULL ? "" : at + strlen("Location: ");
    snprintf(text, sizeof text, "%s %.*s", statuses(peer), (int)strcspn(at, "\r"), at);
    return text;
}

static void targets_are_put_together(void **state)
{
    (void)state;
    add("/old/*rest", "/new/*rest", 301);
    add("/old/exact", "/x", 302);
    add("/hello", "/routes-come-later", 307);
    add("/a.txt", "/files-too", 303);
    add("/u/:id{int}", "https://example.org:8443/users?id=:id&x=1#top", 308);
    add("/u/:name", "//cdn.example.org/:name.html", 301);
    add("/swap/:a/:b", "/:b-:a/", 301);
    add("/r/*", "/*", 301);
    add("/q/*rest", "/?from=*rest", 301);
    add("/host/*rest", "https://[::1]:80/*rest", 301);
    add("/bare", "http://example.org", 301);
    add("/colon", "/%3Aid%2A", 301);
    add("/f", "/page#:id*", 301);
    add("/gone/*", NULL, 410);
    add("/\xC3\xA4", "/%C3%A4/", 301);
    scene_begin();
    static const struct {
        const char *target, *answer;
    } cases[] = {
        {"/old/", "301 /new/"},
        {"/old/a/b?x=1&y", "301 /new/a/b?x=1&y"},
        {"/old/a%20b/%C3%A4;c", "301 /new/a%20b/%C3%A4%3Bc"},
        {"/old/a%0d%0aX:y", "301 /new/a%0D%0AX%3Ay"},
        {"/old/../old/x", "301 /new/x"},
        {"/old/exact", "302 /x"},
        {"/old", "404 "},
        {"/hello?", "307 /routes-come-later"},
        {"/a.txt", "303 /files-too"},
        {"/u/7", "308 https://example.org:8443/users?id=7&x=1#top"},
        {"/u/7?k=v", "308 https://example.org:8443/users?id=7&x=1&k=v#top"},
        {"/u/seven", "301 //cdn.example.org/seven.html"},
        {"/u/a?b", "301 //cdn.example.org/a.html?b"},
        {"/swap/1/2", "301 /2-1/"},
        {"/r//evil.example/", "301 /.//evil.example/"},
        {"/r/%5cevil", "301 /%5Cevil"},
        {"/r/x", "301 /x"},
        {"/q/a/b&c=d", "301 /?from=a%2Fb%26c%3Dd"},
        {"/host/a", "301 https://[::1]:80/a"},
        {"/bare", "301 http://example.org"},
        {"/bare?q", "301 http://example.org?q"},
        {"/colon", "301 /%3Aid%2A"},
        {"/f?x", "301 /page?x#:id*"},
        {"/gone/x", "410 "},
        {"/%C3%A4", "301 /%C3%A4/"},
        {"/other", "404 "},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *answer = answer_to(cases[i].target);
        if (strcmp(answer, cases[i].answer) != 0) {
            fail_msg("%s: \"%s\" instead of \"%s\"", cases[i].target, answer, cases[i].answer);
        }
    }
    struct fake_peer *peer = client();
    say(peer, "POST /old/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(statuses(peer), "301 204");
}

static void mistakes_are_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *target;
        int status;
        const char *text;
    } cases[] = {
        {"/a", "/b", 200, "status 301, 302, 303, 307, 308 or 410 expected, got 200"},
        {"/a", "/b", 410, "status 410 says that the path is gone, so it has no target"},
        {"/a", NULL, 301, "status 301 needs a target"},
        {"a", "/b", 301, "\"a\""},
        {"/:", "/b", 301, "/:"},
        {"/a", "", 301, "percent-encoded, expected, got \"\""},
        {"/a", "b", 301, "got \"b\""},
        {"/a", "ftp://example.org/", 301, "got \"ftp"},
        {"/a", "javascript:alert(1)", 301, "got \"javascript"},
        {"/a", "https:///x", 301, "got \"https:///x\""},
        {"/a", "https://:80/", 301, "got \"https://:80/\""},
        {"/a", "https://user@example.org/", 301, "got \"https://user@"},
        {"/a", "/b c", 301, "got \"/b c\""},
        {"/a", "/b\r\nX: y", 301, "percent-encoded, expected"},
        {"/a", "/\\evil", 301, "percent-encoded, expected"},
        {"/a", "/\xC3\xA4", 301, "percent-encoded, expected"},
        {"/a", "/50%", 301, "got \"/50%\""},
        {"/a", "/a", 301, "\"/a\" would be redirected to itself"},
        {"/a/:id", "/b/:name", 301,
         "the target \"/b/:name\" has \":name\", which is no parameter of \"/a/:id\"; a plain \":\" is written %3A"},
        {"/a/:id", "/b/*", 301, "has \"*\", which is no parameter of \"/a/:id\"; a plain \"*\" is written %2A"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char err[512];
        assert_int_equal(try(cases[i].pattern, cases[i].target, cases[i].status, err), -EINVAL);
        if (strstr(err, cases[i].text) == NULL) {
            fail_msg("%s", err);
        }
    }
    char err[512];
    add("/twice/:a", "/b", 301);
    assert_int_equal(try("/twice/:b", "/c", 301, err), -EEXIST);
    assert_string_equal(err, "\"/twice/:b\" is redirected already");
}

static void there_are_limits(void **state)
{
    (void)state;
    char err[512], target[REDIRECT_TARGET_MAX + 2], pattern[64];
    memset(target, 'a', sizeof target);
    target[0] = '/';
    target[REDIRECT_TARGET_MAX + 1] = '\0';
    assert_int_equal(try("/a", target, 301, err), -EINVAL);
    target[REDIRECT_TARGET_MAX] = '\0';
    add("/a", target, 301);
    target[0] = '\0';
    for (int i = 0; i < ROUTE_PARAMS_MAX; i++) {
        strcat(target, "/:id");
    }
    add("/b/:id", target, 301);
    strcat(target, "/:id");
    assert_int_equal(try("/c/:id", target, 301, err), -EINVAL);
    assert_non_null(strstr(err, "has more than 16 parameters"));
    for (int i = 2; i < REDIRECTS_MAX; i++) {
        snprintf(pattern, sizeof pattern, "/many/%d", i);
        add(pattern, "/x", 301);
    }
    assert_int_equal(try("/one", "/x", 301, err), -ENOSPC);
    assert_string_equal(err, "\"/one\" is one too many: at most 10000 redirects");
    scene_begin();
    assert_string_equal(answer_to("/many/9999"), "301 /x");
}

static void without_memory_it_is_an_error(void **state)
{
    (void)state;
    char err[512];
    int rv = -ENOMEM;
    for (uint64_t n = 1; rv == -ENOMEM; n++) {
        fake_mem_fail_after(n, false);
        rv = try("/old/*rest", "/new/*rest", 301, err);
        fake_mem_fail_after(0, false);
        assert_true(n < 100);
    }
    assert_int_equal(rv, 0);
    scene_begin();
    for (uint64_t n = 1;; n++) {
        struct fake_peer *peer = client();
        fake_mem_fail_after(n, false);
        say(peer, GET("/old/x"));
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_true(is_closed(peer) || output_has(peer, "HTTP/1.1 50") || output_has(peer, "Location: /new/x\r\n"));
        if (!has_failed) {
            break;
        }
        assert_true(n < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(targets_are_put_together),
        SCENE_TEST(mistakes_are_quoted),
        SCENE_TEST(there_are_limits),
        SCENE_TEST(without_memory_it_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
