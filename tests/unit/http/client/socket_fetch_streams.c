/* http/client/fetch.c over real sockets: bodies and responses that come piece by piece, and gzip. */

#include "core/gunzip.h"
#include "core/outbound.h"
#include "core/reactor.h"
#include "http/client/fetch.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fetch_scene.h"
#include "tests/lib/gzip_texts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A response of this content, in chunks of 10 bytes or by its length. */
static void answer_in_gzip(const char *content, size_t len, bool in_chunks)
{
    static char text[8192];
    size_t at = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n");
    if (!in_chunks) {
        at += (size_t)sprintf(text + at, "Content-Length: %zu\r\n\r\n", len);
        memcpy(text + at, content, len);
        at += len;
    } else {
        at += (size_t)sprintf(text + at, "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t i = 0; i < len; i += 10) {
            size_t piece = len - i < 10 ? len - i : 10;
            at += (size_t)sprintf(text + at, "%zx\r\n", piece);
            memcpy(text + at, content + i, piece);
            at += piece + (size_t)sprintf(text + at + piece, "\r\n");
        }
        at += (size_t)sprintf(text + at, "0\r\n\r\n");
    }
    scene.answers[scene.answered] = (struct scene_answer){.text = text, .len = at};
}

static void a_body_is_streamed_in_chunks(void **state)
{
    struct fetch_request request = {.method = "POST", .method_len = 4, .streams_body = true, .body_length = -1};
    (void)state;
    scene.answers[0].text = OK_HELLO;
    assert_int_equal(scene_start(&request, scene_url("/")), FETCH_SUCCESS);
    assert_int_equal(fetch_write(scene.fetch, "hello ", 6), 0);
    assert_int_equal(fetch_write(scene.fetch, "", 0), 0);
    scene_turn(20);
    assert_int_equal(fetch_write(scene.fetch, "wonderful, wonderful world", 26), 0);
    assert_int_equal(fetch_write_end(scene.fetch), 0);
    assert_int_equal(fetch_write(scene.fetch, "x", 1), -EPIPE);
    scene_run();
    assert_int_equal(scene.events[FETCH_DONE], 1);
    assert_non_null(strstr(scene.requests[0], "Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n1a\r\nwonderful, "
                                              "wonderful world\r\n0\r\n\r\n"));
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_body_is_streamed_by_length(void **state)
{
    struct fetch_request request = {.method = "PUT", .method_len = 3, .streams_body = true, .body_length = 11};
    (void)state;
    scene.answers[0].text = OK_HELLO;
    assert_int_equal(scene_start(&request, scene_url("/")), FETCH_SUCCESS);
    assert_int_equal(fetch_write(scene.fetch, "hello world!", 12), -EMSGSIZE);
    assert_int_equal(fetch_write(scene.fetch, "hello ", 6), 0);
    assert_int_equal(fetch_write_end(scene.fetch), -EMSGSIZE);
    assert_int_equal(fetch_write(scene.fetch, "world", 5), 0);
    assert_int_equal(fetch_write_end(scene.fetch), 0);
    scene_run();
    assert_non_null(strstr(scene.requests[0], "Content-Length: 11\r\n"));
    assert_non_null(strstr(scene.requests[0], "\r\n\r\nhello world"));
}

static void a_slow_server_slows_the_writer_down(void **state)
{
    static char piece[40000];
    struct fetch_request request = {.method = "PUT", .method_len = 3, .streams_body = true, .body_length = -1};
    int rv = 0;
    (void)state;
    memset(piece, 'x', sizeof piece);
    scene.answers[0].text = OK_HELLO;
    assert_int_equal(scene_start(&request, scene_url("/")), FETCH_SUCCESS);
    for (int i = 0; i < 2000 && rv == 0; i++) { /* nobody reads */
        rv = fetch_write(scene.fetch, piece, sizeof piece);
        reactor_run_once(scene.reactor, 0);
    }
    assert_int_equal(rv, -EAGAIN);
    assert_int_equal(scene.events[FETCH_WRITABLE], 0);
    scene.answers_early = true; /* the server does not look at the body's end */
    while (scene.events[FETCH_WRITABLE] == 0) {
        scene_turn(1);
    }
    assert_int_equal(scene.events[FETCH_WRITABLE], 1);
    scene_run();
    assert_int_equal(scene.events[FETCH_DONE], 1);
    assert_int_equal(fetch_write(scene.fetch, "x", 1), -EPIPE);
    assert_int_equal(fetch_write_end(scene.fetch), -EPIPE);
    assert_int_equal(scene.outbound.kept.count, 0); /* the request was not complete */
}

static void a_response_is_streamed(void **state)
{
    static char text[300100];
    struct fetch_request request = {.streams_response = true};
    (void)state;
    size_t head = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n");
    for (size_t i = 0; i < 300000; i++) {
        text[head + i] = (char)('a' + i % 26);
    }
    scene.answers[0] = (struct scene_answer){.text = text, .len = head + 300000};
    scene.reads = true;
    assert_int_equal(scene_start(&request, scene_url("/")), FETCH_SUCCESS);
    assert_null(fetch_response(scene.fetch));
    scene_run();
    assert_int_equal(scene.events[FETCH_HEAD], 1);
    assert_true(scene.events[FETCH_READABLE] > 0);
    assert_int_equal(scene.events[FETCH_DONE], 1);
    assert_int_equal(scene.read, 300000);
    assert_memory_equal(scene.content, text + head, 300000);
    assert_int_equal(scene.read_rv, 0);
    assert_null(fetch_response(scene.fetch)->body);
    assert_int_equal(fetch_response(scene.fetch)->status, 200);
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_slow_reader_slows_the_server_down(void **state)
{
    static char text[TEXT_MAX - 200];
    struct fetch_request request = {.streams_response = true, .timeout_ms = 30};
    const char *data;
    (void)state;
    size_t head = (size_t)sprintf(text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", 1000000);
    memset(text + head, 'x', 1000000);
    memcpy(text + head + 1000000, "\r\n0\r\n\r\n", 7);
    scene.answers[0] = (struct scene_answer){.text = text, .len = head + 1000007};
    assert_int_equal(scene_start(&request, scene_url("/")), FETCH_SUCCESS);
    scene_turn(200);
    usleep(40000); /* the time does not run while the reader has something to read */
    scene_turn(200);
    assert_int_equal(scene.ends, 0);
    assert_int_equal(scene.events[FETCH_HEAD], 1);
    assert_int_equal(scene.events[FETCH_READABLE], 0);
    size_t all = 0;
    for (int i = 0; i < 3000; i++) {
        ssize_t len = fetch_read(scene.fetch, &data);
        if (len == 0) {
            break;
        }
        assert_true(len == -EAGAIN || (len > 0 && len < 100000));
        all += len > 0 ? (size_t)len : 0;
        scene_serve();
        reactor_run_once(scene.reactor, 0);
    }
    assert_int_equal(all, 1000000);
    assert_int_equal(scene.events[FETCH_DONE], 1);
}

static void a_streamed_response_that_fails_is_read_to_where_it_came(void **state)
{
    struct fetch_request request = {.streams_response = true};
    (void)state;
    scene.answers[0] = (struct scene_answer){.text = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
                                             .closes = true};
    assert_int_equal(scene_start(&request, scene_url("/")), FETCH_SUCCESS);
    scene_run();
    assert_int_equal(scene.events[FETCH_HEAD], 1);
    assert_int_equal(scene.events[FETCH_FAILED], 1);
    scene_read();
    assert_int_equal(scene.read, 5);
    assert_int_equal(scene.read_rv, -EIO);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_CUT);
    assert_int_equal(fetch_response(scene.fetch)->status, 200);
    scene_close();
    /* Silence in the middle. */
    scene.answers[1].text = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello";
    request.timeout_ms = 20;
    scene.reads = true;
    assert_int_equal(scene_start(&request, scene_url("/")), FETCH_SUCCESS);
    scene_run();
    assert_int_equal(scene.read, 5);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_TIMED_OUT);
}

static void gzip_is_decoded(void **state)
{
    struct fetch_request request = {0};
    (void)state;
    if (!gunzip_is_there()) {
        skip();
    }
    for (int in_chunks = 0; in_chunks < 2; in_chunks++) {
        answer_in_gzip(gzip_hello, sizeof gzip_hello - 1, in_chunks);
        const struct fetch_response *response = scene_get(&request, scene_url("/"));
        assert_string_equal(response->body, "hello, hello, hello\n");
        assert_true(response->is_decoded);
        assert_non_null(strstr(scene.requests[scene.answered - 1], "\r\nAccept-Encoding: gzip\r\n"));
        scene_close();
        answer_in_gzip(gzip_many, sizeof gzip_many - 1, in_chunks);
        assert_int_equal(scene_get(&request, scene_url("/"))->body_len, 300000);
        scene_close();
    }
    request.max_body = 299999;
    answer_in_gzip(gzip_many, sizeof gzip_many - 1, false);
    scene_fails(&request, scene_url("/"), FETCH_TOO_LARGE, "the body from %s has more than 299999 bytes (max_body)");
    request.max_body = 0;
    answer_in_gzip(gzip_many, sizeof gzip_many - 2, false);
    scene_fails(&request, scene_url("/"), FETCH_MALFORMED,
                "malformed response from %s: its content is not in gzip, or damaged");
    answer_in_gzip("plain", 5, false);
    scene_fails(&request, scene_url("/"), FETCH_MALFORMED,
                "malformed response from %s: its content is not in gzip, or damaged");
    request.keeps_coding = true;
    answer_in_gzip(gzip_hello, sizeof gzip_hello - 1, false);
    const struct fetch_response *response = scene_get(&request, scene_url("/"));
    assert_int_equal(response->body_len, sizeof gzip_hello - 1);
    assert_false(response->is_decoded);
    assert_null(strstr(scene.requests[scene.answered - 1], "Accept-Encoding"));
}

static void gzip_that_makes_much_of_little_takes_several_turns(void **state)
{
    enum { TIMES = 12 };
    static char members[TIMES * sizeof gzip_many];
    size_t len = sizeof gzip_many - 1;
    (void)state;
    if (!gunzip_is_there()) {
        skip();
    }
    for (size_t i = 0; i < TIMES; i++) {
        memcpy(members + i * len, gzip_many, len);
    }
    for (int in_chunks = 0; in_chunks < 2; in_chunks++) {
        answer_in_gzip(members, TIMES * len, in_chunks);
        assert_int_equal(scene_start(&(struct fetch_request){0}, scene_url("/")), FETCH_SUCCESS);
        uint64_t tasks = reactor_counts(scene.reactor).tasks;
        scene_run();
        assert_true(reactor_counts(scene.reactor).tasks - tasks >= 2);
        const struct fetch_response *response = fetch_response(scene.fetch);
        assert_int_equal(response->body_len, TIMES * 300000);
        for (size_t i = 0; i < response->body_len; i++) {
            assert_int_equal(response->body[i], 'x');
        }
        scene_close();
        assert_int_equal(scene.outbound.kept.count, 1);
    }
    /* The end of the connection is behind them. */
    answer_in_gzip(members, TIMES * len, false);
    scene.answers[scene.answered].len -= 1;
    scene.answers[scene.answered].closes = true;
    scene_fails(&(struct fetch_request){0}, scene_url("/"), FETCH_CUT,
                "%s closed the connection in the middle of the response's content");
    assert_int_equal(scene.accepted, 1);
}

static void streamed_gzip_is_decoded_as_it_is_read(void **state)
{
    struct fetch_request request = {.streams_response = true};
    (void)state;
    if (!gunzip_is_there()) {
        skip();
    }
    scene.reads = true;
    for (int in_chunks = 0; in_chunks < 2; in_chunks++) {
        answer_in_gzip(gzip_many, sizeof gzip_many - 1, in_chunks);
        assert_int_equal(scene_get(&request, scene_url("/"))->is_decoded, true);
        assert_int_equal(scene.read, 300000);
        assert_int_equal(scene.read_rv, 0);
        scene_close();
    }
    answer_in_gzip(gzip_many, sizeof gzip_many - 2, false);
    scene_get(&request, scene_url("/"));
    assert_int_equal(scene.read_rv, -EIO);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_MALFORMED);
    scene_close();
    answer_in_gzip("plain", 5, true);
    scene_get(&request, scene_url("/"));
    assert_int_equal(scene.read_rv, -EIO);
    scene_close();
    request.max_body = 100000;
    answer_in_gzip(gzip_many, sizeof gzip_many - 1, false);
    scene_get(&request, scene_url("/"));
    assert_int_equal(scene.read_rv, -EIO);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_TOO_LARGE);
    assert_true(scene.read <= 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_body_is_streamed_in_chunks, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_body_is_streamed_by_length, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_slow_server_slows_the_writer_down, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_response_is_streamed, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_slow_reader_slows_the_server_down, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(a_streamed_response_that_fails_is_read_to_where_it_came, scene_begin,
                                        scene_end),
        cmocka_unit_test_setup_teardown(gzip_is_decoded, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(gzip_that_makes_much_of_little_takes_several_turns, scene_begin, scene_end),
        cmocka_unit_test_setup_teardown(streamed_gzip_is_decoded_as_it_is_read, scene_begin, scene_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
