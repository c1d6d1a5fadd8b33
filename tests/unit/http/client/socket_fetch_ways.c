/* http/client/fetch.c over real sockets: redirects, kept connections, unix sockets, and servers that are denied. */

#include "core/destinations.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "core/tls_clients.h"
#include "http/client/fetch.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fetch_scene.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static void redirects_are_followed(void **state)
{
    static const struct {
        const char *method, *text, *wanted;
        bool has_body;
    } rows[] = {
        {"GET", REDIRECT("301", "/b"), "GET /b ", false},     {"POST", REDIRECT("301", "/b"), "GET /b ", false},
        {"POST", REDIRECT("302", "/b"), "GET /b ", false},    {"PUT", REDIRECT("302", "/b"), "PUT /b ", true},
        {"POST", REDIRECT("303", "/b"), "GET /b ", false},    {"PUT", REDIRECT("303", "/b"), "GET /b ", false},
        {"HEAD", REDIRECT("303", "/b"), "HEAD /b ", false},   {"POST", REDIRECT("307", "../b"), "POST /b ", true},
        {"POST", REDIRECT("308", "?c"), "POST /x/?c ", true},
    };
    static const struct fetch_field fields[] = {{"Content-Type", "text/x", 12, 6}, {"Authorization", "y", 13, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_head = strcmp(rows[i].method, "HEAD") == 0, is_get = strcmp(rows[i].method, "GET") == 0;
        struct fetch_request request = {.method = rows[i].method, .method_len = strlen(rows[i].method)};
        request.fields = fields;
        request.field_count = 2;
        request.body = is_head || is_get ? NULL : "body";
        request.body_len = is_head || is_get ? 0 : 4;
        scene.answered = 0;
        scene.answers[0].text = rows[i].text;
        scene.answers[1].text = is_head ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" : OK_HELLO;
        const struct fetch_response *response = scene_get(&request, scene_url("/x/"));
        assert_int_equal(response->redirects, 1);
        assert_int_equal(response->status, 200);
        assert_memory_equal(scene.requests[1], rows[i].wanted, strlen(rows[i].wanted));
        assert_int_equal(strstr(scene.requests[1], "\r\n\r\nbody") != NULL, rows[i].has_body);
        assert_int_equal(strstr(scene.requests[1], "Content-Type") != NULL, rows[i].has_body || is_get || is_head);
        assert_non_null(strstr(scene.requests[1], "Authorization: y"));
        scene_close();
    }
    assert_int_equal(scene.accepted, 1);
}

static void credentials_stay_with_their_origin(void **state)
{
    static const struct fetch_field fields[] = {{"Authorization", "y", 13, 1},
                                                {"cookie", "a=b", 6, 3},
                                                {"Host", "h", 4, 1},
                                                {"X", "z", 1, 1}};
    struct fetch_request request = {.fields = fields, .field_count = 4};
    char text[256], host[64];
    (void)state;
    snprintf(text, sizeof text, "HTTP/1.1 302 X\r\nLocation: http://127.0.0.2:%u/b\r\nContent-Length: 0\r\n\r\n",
             scene.port);
    close(scene.listener);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(scene.port)};
    scene_listen(AF_INET, (struct sockaddr *)&address, sizeof address);
    scene.answers[0].text = text;
    scene.answers[1].text = OK_HELLO;
    assert_int_equal(scene_get(&request, scene_url("/a"))->status, 200);
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.2:%u\r\n", scene.port);
    assert_non_null(strstr(scene.requests[0], "Authorization: y\r\ncookie: a=b\r\nHost: h\r\n"));
    assert_null(strstr(scene.requests[1], "Authorization"));
    assert_null(strstr(scene.requests[1], "cookie"));
    assert_non_null(strstr(scene.requests[1], host));
    assert_non_null(strstr(scene.requests[1], "\r\nX: z\r\n"));
    assert_int_equal(scene.accepted, 2);
}

static void redirects_have_limits(void **state)
{
    struct fetch_request request = {.redirects = 2};
    (void)state;
    for (int i = 0; i < 12; i++) {
        scene.answers[i].text = REDIRECT("302", "/again");
    }
    scene_fails(&request, scene_url("/"), FETCH_REDIRECTED, "%s redirects again, after 2 redirects");
    request.redirects = -1;
    assert_int_equal(scene_get(&request, scene_url("/"))->status, 302);
    scene_close();
    scene.answers[4].text = REDIRECT("302", "ftp://x/");
    request.redirects = 0;
    scene_fails(&request, scene_url("/"), FETCH_REDIRECTED,
                "%s redirects to ftp://x/, which does not begin with http://, https:// or http+unix:");
    scene.answers[5].text = REDIRECT("302", "http+unix:/run/docker.sock:/");
    scene_fails(&request, scene_url("/"), FETCH_REDIRECTED,
                "%s redirects to http+unix:/run/docker.sock:/, which leads to or from a unix socket");
    scene.answers[6].text = "HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(scene_get(&request, scene_url("/"))->status, 302);
    scene_close();
    scene.answers[7].text = REDIRECT("304", "/x");
    assert_int_equal(scene_get(&request, scene_url("/"))->status, 304);
    scene_close();
    /* One whose content does not come at once is left. */
    scene.answers[8].text = "HTTP/1.1 302 X\r\nLocation: /x\r\nContent-Length: 500\r\n\r\n";
    scene.answers[9].text = OK_HELLO;
    assert_int_equal(scene_get(&request, scene_url("/"))->status, 200);
    scene_close();
    /* What no host can be called is the server's mistake, not the request's. */
    scene.answers[10].text = REDIRECT("302", "http://a..b/");
    scene_fails(&request, scene_url("/"), FETCH_REDIRECTED, "cannot connect to a..b: \"a..b\" is no name of a host");
    assert_int_equal(scene_start(&request, "http://a..b/"), FETCH_BAD_REQUEST);
}

static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        size_t first = scene.answered;
        size_t before = scene.accepted;
        scene.answers[first].text = OK_HELLO;
        scene.answers[first + 1] = (struct scene_answer){.closes = resets == 0, .resets = resets == 1};
        scene.answers[first + 2].text = OK_HELLO;
        scene_get(&(struct fetch_request){.closes = false}, scene_url("/"));
        scene_close();
        const struct fetch_response *response = scene_get(&(struct fetch_request){0}, scene_url("/"));
        assert_string_equal(response->body, "hello");
        assert_false(response->is_reused);
        scene_close();
        assert_int_equal(scene.accepted, before + (resets == 0 ? 2 : 1));
        assert_int_equal(scene.answered, first + 3);
    }
    /* What may have had an effect is not repeated. */
    size_t first = scene.answered;
    scene.answers[first].closes = true;
    struct fetch_request post = {.method = "POST", .method_len = 4};
    scene_fails(&post, scene_url("/"), FETCH_CUT, "%s closed the connection before any byte of the response");
    assert_int_equal(scene.answered, first + 1);
}

static void a_unix_socket_is_reached(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64], url[128];
    (void)state;
    int len = snprintf(name, sizeof name, "@evserve-fetch-%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)len - 1);
    close(scene.listener);
    scene_listen(AF_UNIX, (struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len));
    scene.answers[0].text = REDIRECT("302", "b");
    scene.answers[1].text = scene.answers[2].text = OK_HELLO;
    snprintf(url, sizeof url, "http+unix:%s:/a", name);
    assert_int_equal(scene_get(&(struct fetch_request){0}, url)->status, 200);
    assert_memory_equal(scene.requests[1], "GET /b HTTP/1.1\r\nHost: localhost\r\n", 34);
    scene_close();
    struct fetch_request request = {.unix_path = name, .unix_path_len = (size_t)len};
    assert_int_equal(scene_get(&request, "http://docker:99/v1")->status, 200);
    assert_memory_equal(scene.requests[2], "GET /v1 HTTP/1.1\r\nHost: docker:99\r\n", 35);
    scene_close();
    scene.answers[3].text = REDIRECT("302", "http://127.0.0.1/");
    assert_int_equal(scene_start(&request, "http://docker:99/v1"), FETCH_SUCCESS);
    scene_run();
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_REDIRECTED);
}

/* Whatever TLS it would have had. */
static void no_fd_left_is_no_connection(void **state)
{
    struct fetch_request request = {.trusts_anybody = true};
    struct rlimit before, none;
    (void)state;
    static const char *const urls[] = {"http://127.0.0.1:1/", "https://127.0.0.1:1/"};
    size_t count = tls_clients_prepare() ? 2 : 1;
    for (size_t i = 0; i < count; i++) {
        scene_get(&request, urls[i]); /* what TLS needs is loaded meanwhile */
        assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_NOT_REACHED);
        scene_close();
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        enum fetch_kind kind = scene_start(&request, urls[i]);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(kind, FETCH_NOT_REACHED);
        assert_non_null(strstr(scene.err, "Too many open files"));
    }
}

static void too_many_connections_are_refused(void **state)
{
    struct fetch *fetches[3] = {0};
    struct fetch_request request = {0};
    (void)state;
    scene.outbound.links.max = 2;
    for (int i = 0; i < 3; i++) {
        enum fetch_kind kind = scene_start(&request, scene_url("/"));
        assert_int_equal(kind, i < 2 ? FETCH_SUCCESS : FETCH_BUSY);
        fetches[i] = i < 2 ? scene.fetch : NULL;
    }
    assert_non_null(strstr(scene.err, "2 connections to other servers are open"));
    fetch_close(fetches[0]);
    fetch_close(fetches[1]);
    scene.fetch = NULL;
}

static void denied_servers_are_named_so(void **state)
{
    struct destinations *denied;
    enum fetch_kind kind;
    (void)state;
    assert_int_equal(destinations_parse_denied(&denied, "private", scene.err, sizeof scene.err), 0);
    scene.outbound.links.policy.denied = denied;
    const char *urls[] = {scene_url("/"), "http+unix:/x:/", "http://localhost/"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        kind = scene_start(&(struct fetch_request){0}, urls[i]);
        if (kind == FETCH_SUCCESS) {
            scene_run();
            kind = fetch_failure_kind(scene.fetch);
            snprintf(scene.err, sizeof scene.err, "%s", fetch_failure(scene.fetch));
        }
        assert_int_equal(kind, FETCH_DENIED);
        assert_non_null(strstr(scene.err, "deny_connect"));
        scene_close();
    }
    assert_int_equal(scene.accepted, 0);
    scene.outbound.links.policy.denied = NULL;
    destinations_destroy(denied);
}

/* A redirect, a kept connection, and a body, with each allocation failing once. */
static void without_memory_a_fetch_fails_and_leaves_nothing(void **state)
{
    uint64_t n = 0;
    (void)state;
    size_t before = 0;
    do {
        struct fetch_request request = {.method = "PUT", .method_len = 3, .body = "x", .body_len = 1};
        scene.answered = 0;
        scene.answers[0].text = REDIRECT("307", "/b");
        scene.answers[1].text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        kept_links_done(&scene.outbound.kept);
        before = fake_mem_live();
        fake_mem_fail_after(++n, false);
        enum fetch_kind kind = scene_start(&request, scene_url("/"));
        if (kind == FETCH_SUCCESS) {
            scene_run();
            kind = fetch_failure_kind(scene.fetch);
            if (kind == FETCH_SUCCESS) {
                assert_string_equal(fetch_response(scene.fetch)->body, "hello");
            } else {
                assert_null(fetch_response(scene.fetch));
            }
        }
        assert_true(kind == FETCH_SUCCESS || kind == FETCH_NO_MEMORY || kind == FETCH_NOT_REACHED || kind == FETCH_CUT);
        scene_close();
        kept_links_done(&scene.outbound.kept);
        if (n > 1) {
            assert_true(fake_mem_live() <= before + 8); /* the reactor's own tables may have grown */
        }
        for (int i = 0; i < 4; i++) {
            scene_serve();
            reactor_run_once(scene.reactor, 0);
        }
        for (size_t i = 0; i < scene.accepted; i++) {
            if (scene.peers[i].fd >= 0) {
                close(scene.peers[i].fd);
            }
            free(scene.peers[i].request);
        }
        scene.accepted = 0;
    } while (fake_mem_failed());
    assert_true(n > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(redirects_are_followed, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(credentials_stay_with_their_origin, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(redirects_have_limits, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_kept_connection_that_was_closed_is_replaced, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_unix_socket_is_reached, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(no_fd_left_is_no_connection, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(too_many_connections_are_refused, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(denied_servers_are_named_so, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(without_memory_a_fetch_fails_and_leaves_nothing, scene_begin, scene_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
