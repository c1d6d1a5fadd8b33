/* http/client/fetch.c over real sockets: requests and responses as they are, failures, and their limits. Streams and
 * gzip: socket_fetch_streams.c. Redirects, kept connections and other ways to servers: socket_fetch_ways.c. */

#include "core/gunzip.h"
#include "core/outbound.h"
#include "http/client/fetch.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fetch_scene.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void a_response_is_collected(void **state)
{
    char wanted[256];
    (void)state;
    scene.answers[0].text = OK_HELLO;
    const struct fetch_response *response = scene_get(&(struct fetch_request){0}, scene_url("/a b?c#d"));
    snprintf(wanted, sizeof wanted,
             "GET /a%%20b?c HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: evserve\r\nAccept: */*\r\n%s\r\n", scene.port,
             gunzip_is_there() ? "Accept-Encoding: gzip\r\n" : "");
    assert_string_equal(scene.requests[0], wanted);
    assert_int_equal(response->status, 200);
    assert_int_equal(response->minor_version, 1);
    assert_string_equal(response->reason, "OK");
    assert_string_equal(response->body, "hello");
    assert_int_equal(response->body_len, 5);
    assert_int_equal(response->field_count, 2);
    assert_string_equal(response->fields[0].name, "Server");
    assert_string_equal(response->fields[0].value, "x");
    assert_string_equal(response->url, scene_url("/a%20b?c"));
    assert_int_equal(scene.events[FETCH_HEAD] + scene.events[FETCH_READABLE], 0);
    scene_close();
}

static void a_connection_is_kept_for_the_next_request(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        scene.answers[i].text = OK_HELLO;
        const struct fetch_response *response = scene_get(&(struct fetch_request){0}, scene_url("/"));
        assert_string_equal(response->body, "hello");
        assert_int_equal(response->is_reused, i > 0);
        scene_close();
    }
    assert_int_equal(scene.accepted, 1);
    assert_int_equal(scene.outbound.kept.count, 1);

    scene.answers[3].text = OK_HELLO;
    scene_get(&(struct fetch_request){.closes = true}, scene_url("/"));
    assert_non_null(strstr(scene.requests[3], "\r\nConnection: close\r\n"));
    scene_close();
    assert_int_equal(scene.accepted, 2);
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_connection_is_not_kept_if_either_side_closes_or_says_more(void **state)
{
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 4\r\n\r\nmoremore",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        scene.answers[i].text = texts[i];
        assert_non_null(scene_get(&(struct fetch_request){0}, scene_url("/")));
        scene_close();
        assert_int_equal(scene.outbound.kept.count, 0);
    }
}

static void fields_and_bodies_are_sent(void **state)
{
    static const struct fetch_field fields[] = {
        {"Host", "example.org", 4, 11}, {"X-A", "1", 3, 1}, {"x-a", "", 3, 0}, {"user-agent", "me", 10, 2},
        {"ACCEPT", "text/html", 6, 9},
    };
    (void)state;
    scene.answers[0].text = scene.answers[1].text = scene.answers[2].text = OK_HELLO;
    struct fetch_request request = {.method = "POST",
                                    .method_len = 4,
                                    .keeps_coding = true,
                                    .fields = fields,
                                    .field_count = sizeof fields / sizeof fields[0],
                                    .body = "some\0text",
                                    .body_len = 9};
    scene_get(&request, scene_url("/"));
    assert_string_equal(scene.requests[0],
                        "POST / HTTP/1.1\r\nContent-Length: 9\r\nHost: example.org\r\nX-A: 1\r\nx-a: "
                        "\r\nuser-agent: me\r\nACCEPT: text/html\r\n\r\nsome");
    scene_close();
    request = (struct fetch_request){.method = "PUT", .method_len = 3};
    scene_get(&request, scene_url("/"));
    assert_non_null(strstr(scene.requests[1], "\r\nContent-Length: 0\r\n"));
    scene_close();
    request = (struct fetch_request){.method = "DELETE", .method_len = 6};
    scene_get(&request, scene_url("/"));
    assert_null(strstr(scene.requests[2], "Content-Length"));
    scene_close();
}

static void a_large_body_is_sent_from_where_it_is(void **state)
{
    static char body[300000];
    (void)state;
    memset(body, 'x', sizeof body);
    scene.answers[0].text = OK_HELLO;
    struct fetch_request request = {.method = "PUT", .method_len = 3, .body = body, .body_len = sizeof body};
    assert_non_null(scene_get(&request, scene_url("/")));
    assert_non_null(strstr(scene.requests[0], "Content-Length: 300000\r\n"));
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_large_response_is_collected(void **state)
{
    static char text[600100];
    int way;
    (void)state;
    for (way = 0; way < 2; way++) {
        size_t head = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\n%s\r\n", way == 0 ? "Content-Length: 600000\r\n" : "");
        for (size_t i = 0; i < 600000; i++) {
            text[head + i] = (char)('a' + i % 26);
        }
        scene.answers[way] = (struct scene_answer){.text = text, .len = head + 600000, .closes = way == 1};
        const struct fetch_response *response = scene_get(&(struct fetch_request){0}, scene_url("/"));
        assert_int_equal(response->body_len, 600000);
        assert_memory_equal(response->body, text + head, 600000);
        assert_int_equal(response->body[600000], '\0');
        scene_close();
    }
}

/* Each request is at a limit, and then one beyond it. */
static void requests_have_limits(void **state)
{
    enum { VALUE_MAX = FETCH_REQUEST_HEAD_MAX - 5 }; /* behind "A: ", and with its line end */
    static char value[VALUE_MAX + 1];
    static struct fetch_field many[FETCH_REQUEST_FIELDS_MAX + 1];
    const struct fetch_field fields[] = {{"A", value, 1, VALUE_MAX}, {"A", value, 1, VALUE_MAX + 1}};
    (void)state;
    memset(value, 'x', sizeof value);
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) {
        many[i] = (struct fetch_field){"A", "b", 1, 1};
    }
    struct fetch_request pairs[][2] = {
        {{.fields = &fields[0], .field_count = 1}, {.fields = &fields[1], .field_count = 1}},
        {{.fields = many, .field_count = FETCH_REQUEST_FIELDS_MAX},
         {.fields = many, .field_count = FETCH_REQUEST_FIELDS_MAX + 1}},
        {{.redirects = FETCH_REDIRECTS_MAX}, {.redirects = FETCH_REDIRECTS_MAX + 1}},
        {{.timeout_ms = FETCH_TIMEOUT_MAX_MS}, {.timeout_ms = FETCH_TIMEOUT_MAX_MS + 1}},
        {{.connect_timeout_ms = FETCH_TIMEOUT_MAX_MS}, {.connect_timeout_ms = FETCH_TIMEOUT_MAX_MS + 1}},
        {{.max_head = FETCH_RESPONSE_HEAD_MAX}, {.max_head = FETCH_RESPONSE_HEAD_MAX + 1}},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        assert_int_equal(scene_start(&pairs[i][0], scene_url("/")), FETCH_SUCCESS);
        scene_close();
        assert_int_equal(scene_start(&pairs[i][1], scene_url("/")), FETCH_BAD_REQUEST);
    }
}

static void a_request_that_cannot_be_one_is_refused(void **state)
{
    static const struct fetch_field bad[] = {
        {"A B", "", 3, 0},
        {"", "", 0, 0},
        {"A", "b\r\nC: d", 1, 7},
        {"A", "\0", 1, 1},
        {"Content-length", "5", 14, 1},
        {"Transfer-Encoding", "chunked", 17, 7},
        {"connection", "close", 10, 5},
        {"TE", "trailers", 2, 8},
        {"Upgrade", "x", 7, 1},
        {"Expect", "100-continue", 6, 12},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fetch_request request = {.fields = &bad[i], .field_count = 1};
        assert_int_equal(scene_start(&request, scene_url("/")), FETCH_BAD_REQUEST);
        assert_non_null(strstr(scene.err, "the header field"));
    }
    static const char *const methods[] = {"", "GET /", "CONNECT", "get", "Post", "A234567890123456789012345678901 "};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct fetch_request request = {.method = methods[i], .method_len = strlen(methods[i])};
        assert_int_equal(scene_start(&request, scene_url("/")), FETCH_BAD_REQUEST);
        assert_non_null(strstr(scene.err, "the method"));
    }
    struct fetch_request requests[] = {
        {.redirects = -2},
        {.cert_file = "x"},
        {.key_file = "x"},
        {.streams_body = true, .body = "x"},
        {.streams_body = true, .body_length = -2},
        {.unix_path = "a\0b", .unix_path_len = 3},
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        assert_int_equal(scene_start(&requests[i], scene_url("/")), FETCH_BAD_REQUEST);
    }
    assert_int_equal(scene_start(&(struct fetch_request){0}, "example.org"), FETCH_BAD_REQUEST);
    assert_string_equal(scene.err, "the URL \"example.org\" does not begin with http://, https:// or http+unix:");
    assert_int_equal(scene_start(&(struct fetch_request){0}, "http://a\r\nb/"), FETCH_BAD_REQUEST);
    assert_string_equal(scene.err, "the URL \"http://a\\x0d\\nb/\" has a host with a character that no host has");
    assert_int_equal(scene.accepted, 0);
    assert_int_equal(fake_mem_live() > 0, true);
}

/* Responses of all requests together, whatever max_body says of each. */
static void responses_have_a_limit_together(void **state)
{
    struct fetch_request request = {0};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        scene.answers[i].text = OK_HELLO;
    }
    assert_int_equal(scene_get(&request, scene_url("/"))->body_len, 5);
    scene.outbound.held_max = scene.outbound.held_bytes;
    assert_true(scene.outbound.held_max > 0);
    scene_close();
    assert_int_equal(scene.outbound.held_bytes, 0);
    assert_int_equal(scene_get(&request, scene_url("/"))->body_len, 5);
    scene_close();
    scene.outbound.held_max--;
    assert_int_equal(scene_start(&request, scene_url("/")), FETCH_SUCCESS);
    scene_turn(100);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_NO_MEMORY);
    assert_non_null(strstr(fetch_failure(scene.fetch), "fill the memory that they may have together"));
    scene_close();
    assert_int_equal(scene.outbound.held_bytes, 0);
}

static void what_the_server_does_wrong_is_said(void **state)
{
    struct fetch_request request = {0};
    (void)state;
    scene.answers[0] = (struct scene_answer){.text = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
                                             .closes = true};
    scene_fails(&request, scene_url("/"), FETCH_CUT,
                "%s closed the connection in the middle of the response's content");
    scene.answers[1].closes = true;
    scene_fails(&request, scene_url("/"), FETCH_CUT, "%s closed the connection before any byte of the response");
    scene.answers[2].resets = true;
    scene_fails(&request, scene_url("/"), FETCH_CUT, "the connection to %s broke: Connection reset by peer");
    scene.answers[3].text = "SSH-2.0-OpenSSH_9\r\n";
    scene_fails(&request, scene_url("/"), FETCH_MALFORMED,
                "malformed response from %s: what came does not begin with HTTP/");
    scene.answers[4].text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    scene_fails(&request, scene_url("/"), FETCH_MALFORMED,
                "malformed response from %s: both Transfer-Encoding and Content-Length");
    scene.answers[5].text = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n";
    request.max_body = 10;
    scene_fails(&request, scene_url("/"), FETCH_TOO_LARGE, "the body from %s has more than 10 bytes (max_body)");
    scene.answers[6].text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n";
    scene_fails(&request, scene_url("/"), FETCH_TOO_LARGE, "the body from %s has more than 10 bytes (max_body)");
    scene.answers[7] = (struct scene_answer){.text = "HTTP/1.1 200 OK\r\n\r\nhello worl", .closes = true};
    assert_int_equal(scene_get(&request, scene_url("/"))->body_len, 10);
    scene_close();
    scene.answers[8].text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    request.max_head = 30;
    scene_fails(&request, scene_url("/"), FETCH_TOO_LARGE, "response from %s: header fields too long (max_head)");
    assert_int_equal(scene.outbound.kept.count, 0);
}

static void nobody_there_is_said(void **state)
{
    (void)state;
    close(scene.listener);
    scene_fails(&(struct fetch_request){0}, scene_url("/"), FETCH_NOT_REACHED,
                "cannot connect to %s: Connection refused");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    scene_listen(AF_INET, (struct sockaddr *)&address, sizeof address);
    scene_fails(&(struct fetch_request){0}, "http+unix:/nowhere/x:/", FETCH_NOT_REACHED,
                "cannot connect to /nowhere/x: No such file or directory");
}

static void silence_has_an_end(void **state)
{
    struct fetch_request request = {.timeout_ms = 20};
    (void)state;
    scene_fails(&request, scene_url("/"), FETCH_TIMED_OUT, "no response from %s within 20 ms (timeout)");
    scene.answers[1].text = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello";
    scene_fails(&request, scene_url("/"), FETCH_TIMED_OUT, "%s did not complete its response within 20 ms (timeout)");
}

static void an_owner_may_close_at_any_time(void **state)
{
    (void)state;
    for (int event = FETCH_HEAD; event <= FETCH_DONE; event++) {
        struct fetch_request request = {.streams_response = event != FETCH_DONE};
        scene.close_at = event;
        scene.reads = true;
        scene.answers[scene.answered].text = OK_HELLO;
        if (event != FETCH_WRITABLE && event != FETCH_READABLE) {
            scene_get(&request, scene_url("/"));
            assert_null(scene.fetch);
        }
    }
    for (int turns = 0; turns < 6; turns++) {
        size_t answered = scene.answered;
        scene.close_at = -1;
        scene.answers[answered].text = OK_HELLO;
        assert_int_equal(scene_start(&(struct fetch_request){0}, scene_url("/")), FETCH_SUCCESS);
        scene_turn(turns);
        scene_close();
        for (int i = 0; i < 5; i++) {
            scene_serve();
            reactor_run_once(scene.reactor, 0);
        }
    }
    fetch_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_response_is_collected, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_connection_is_kept_for_the_next_request, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_connection_is_not_kept_if_either_side_closes_or_says_more, scene_begin,
                                        scene_end),
        cmocka_unit_test_setup_teardown(fields_and_bodies_are_sent, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_large_body_is_sent_from_where_it_is, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_large_response_is_collected, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(requests_have_limits, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_request_that_cannot_be_one_is_refused, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(responses_have_a_limit_together, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(what_the_server_does_wrong_is_said, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(nobody_there_is_said, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(silence_has_an_end, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(an_owner_may_close_at_any_time, scene_begin, scene_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
