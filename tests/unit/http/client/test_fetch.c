/* http/client/fetch.c on the fake kernel: what a request costs, time, slow servers, and failures of each call. Real
 * sockets: socket_fetch.c. */

#include "core/outbound.h"
#include "core/reactor.h"
#include "http/client/fetch.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static struct scene {
    struct reactor *reactor;
    struct outbound outbound;
    struct fake_server *server;
    struct fake_peer *peer; /* the last connection */
    struct fetch *fetch;
    int heads, ends;
    enum fetch_kind kind; /* of the last start that failed */
    char err[FETCH_FAILURE_MAX];
} scene; /* there is one test at a time */

static void on_event(struct fetch *fetch, enum fetch_event event, void *arg)
{
    (void)fetch;
    (void)arg;
    scene.heads += event == FETCH_HEAD;
    scene.ends += event == FETCH_DONE || event == FETCH_FAILED;
}

static int begin_scene(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8000)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fake_sys_reset();
    scene = (struct scene){.server = fake_server_create((struct sockaddr *)&address, sizeof address)};
    if (reactor_create(&scene.reactor, NULL) < 0) {
        return -1;
    }
    outbound_init(&scene.outbound, scene.reactor, NULL, NULL);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return begin_scene();
}

static int end_scene(void)
{
    fake_mem_fail_after(0, false);
    fake_sys_fail(0, 0);
    fetch_close(scene.fetch);
    scene.fetch = NULL;
    outbound_done(&scene.outbound);
    reactor_destroy(scene.reactor);
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return end_scene();
}

static enum fetch_kind begin(struct fetch_request request)
{
    request.url = "http://127.0.0.1:8000/";
    request.url_len = strlen(request.url);
    scene.heads = scene.ends = 0;
    return fetch_start(&scene.fetch, &scene.outbound, &request, on_event, NULL, scene.err, sizeof scene.err);
}

static void turn(void)
{
    (void)reactor_run_once(scene.reactor, 0);
    struct fake_peer *peer = fake_server_next(scene.server);
    scene.peer = peer != NULL ? peer : scene.peer;
}

static void turns(int count)
{
    for (int i = 0; i < count; i++) {
        turn();
    }
}

static void advance_ms(int64_t ms)
{
    fake_sys_advance_ms(ms);
    turn();
}

static void end(void)
{
    fetch_close(scene.fetch);
    scene.fetch = NULL;
}

static void a_kept_connection_costs_a_send_and_a_receive(void **state)
{
    (void)state;
    assert_int_equal(begin((struct fetch_request){0}), FETCH_SUCCESS);
    turns(2);
    fake_peer_send_text(scene.peer, HELLO);
    turns(2);
    assert_int_equal(scene.ends, 1);
    end();
    fake_sys_clear_trace();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(begin((struct fetch_request){0}), FETCH_SUCCESS);
        turn();
        fake_peer_send_text(scene.peer, HELLO);
        turn();
        assert_int_equal(scene.ends, 1);
        assert_true(fetch_response(scene.fetch)->is_reused);
        end();
    }
    assert_int_equal(fake_sys_count(FAKE_SEND), 10);
    assert_int_equal(fake_sys_count(FAKE_RECV), 10);
    assert_int_equal(fake_sys_count(FAKE_SENDV) + fake_sys_count(FAKE_SOCKET) + count_epoll_changes(), 0);
}

static void begin_in_turn(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    (void)arg;
    assert_int_equal(begin((struct fetch_request){0}), FETCH_SUCCESS);
}

static void what_came_before_the_request_is_not_its_response(void **state)
{
    (void)state;
    assert_int_equal(begin((struct fetch_request){0}), FETCH_SUCCESS);
    turns(2);
    fake_peer_send_text(scene.peer, HELLO);
    turns(2);
    end();
    struct fake_peer *former = scene.peer;
    assert_true(reactor_set_timeout(scene.reactor, 1, begin_in_turn, NULL) != 0);
    fake_peer_send_text(former, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    advance_ms(1); /* timers come first */
    assert_int_equal(scene.ends, 0);
    assert_true(fake_peer_saw_close(former));
    turns(2);
    fake_peer_send_text(scene.peer, HELLO);
    turns(2);
    assert_int_equal(fetch_response(scene.fetch)->status, 200);
    end();
}

static void assert_timed_out(const char *why)
{
    assert_int_equal(scene.ends, 1);
    assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_TIMED_OUT);
    assert_string_equal(fetch_failure(scene.fetch), why);
    end();
}

static void a_request_has_one_host(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second; /* values of Host */
        bool is_good;
    } cases[] = {
        {"a.example:80", NULL, true},
        {"[::1]:80", NULL, true},
        {"", NULL, true},
        {"a", "a", false},
        {"a", "", false},
        {"a b", NULL, false},
        {"a/b", NULL, false},
        {"u@a", NULL, false},
        {"a, b", NULL, false},
        {"a\\b", NULL, false},
        {"a\tb", NULL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *values[] = {cases[i].first, cases[i].second};
        struct fetch_field fields[2];
        size_t count = 0;
        for (; count < 2 && values[count] != NULL; count++) {
            fields[count] = (struct fetch_field){.name = count == 0 ? "Host" : "host",
                                                 .name_len = 4,
                                                 .value = values[count],
                                                 .value_len = strlen(values[count])};
        }
        enum fetch_kind kind = begin((struct fetch_request){.fields = fields, .field_count = count});
        assert_int_equal(kind, cases[i].is_good ? FETCH_SUCCESS : FETCH_BAD_REQUEST);
        if (cases[i].is_good) {
            end();
        } else {
            assert_non_null(strstr(scene.err, "ost\" is "));
        }
    }
}

static void each_wait_has_its_end(void **state)
{
    (void)state;
    fake_server_set(scene.server, FAKE_SERVER_HANGS, 0);
    assert_int_equal(begin((struct fetch_request){0}), FETCH_SUCCESS);
    advance_ms(FETCH_CONNECT_TIMEOUT_MS - 1);
    assert_int_equal(scene.ends, 0);
    advance_ms(1);
    assert_timed_out("no connection to 127.0.0.1:8000 within 10000 ms (connect_timeout)");

    assert_int_equal(begin((struct fetch_request){.timeout_ms = 5000}), FETCH_SUCCESS);
    advance_ms(5000);
    assert_timed_out("no connection to 127.0.0.1:8000 within 5000 ms (timeout)");

    fake_server_set(scene.server, FAKE_SERVER_ACCEPTS, 0);
    turns(3);
    assert_int_equal(begin((struct fetch_request){0}), FETCH_SUCCESS);
    turns(2);
    advance_ms(FETCH_CONNECT_TIMEOUT_MS + 1);
    assert_int_equal(scene.ends, 0);
    advance_ms(FETCH_TIMEOUT_MS - FETCH_CONNECT_TIMEOUT_MS - 2);
    assert_int_equal(scene.ends, 0);
    fake_peer_send_text(scene.peer, "HTTP/1.1 200 OK\r\n"); /* a sign of life does not help */
    turn();
    advance_ms(1);
    assert_timed_out("no response from 127.0.0.1:8000 within 30000 ms (timeout)");
}

static void a_streamed_response_may_last_but_not_be_silent(void **state)
{
    const char *data;
    (void)state;
    assert_int_equal(begin((struct fetch_request){.streams_response = true, .timeout_ms = 1000}), FETCH_SUCCESS);
    turns(2);
    fake_peer_send_text(scene.peer, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n");
    turns(2);
    assert_int_equal(scene.heads, 1);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(fetch_read(scene.fetch, &data), -EAGAIN);
        turn();
        advance_ms(999);
        assert_int_equal(scene.ends, 0);
        fake_peer_send_text(scene.peer, "x");
        turn();
        advance_ms(5000); /* the reader takes its time */
        assert_int_equal(scene.ends, 0);
        assert_int_equal(fetch_read(scene.fetch, &data), 1);
        turn();
    }
    advance_ms(1000);
    assert_timed_out("127.0.0.1:8000 sent nothing more of its response for 1000 ms (timeout)");
}

static void a_response_may_come_in_any_pieces(void **state)
{
    static const char text[] = "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nT: u\r\n\r\n";
    size_t len = sizeof text - 1;
    (void)state;
    for (size_t at = 0; at < len; at++) {
        assert_int_equal(begin((struct fetch_request){0}), FETCH_SUCCESS);
        turns(2);
        if (at == 0) {
            fake_peer_send_in_pieces(scene.peer, text, len, 1);
        } else {
            fake_peer_send_split(scene.peer, text, len, at);
        }
        for (int i = 0; i < 300 && scene.ends == 0; i++) {
            turn();
        }
        assert_int_equal(fetch_failure_kind(scene.fetch), FETCH_SUCCESS);
        assert_string_equal(fetch_response(scene.fetch)->body, "hello, world");
        assert_int_equal(fetch_response(scene.fetch)->field_count, 2);
        assert_int_equal(scene.outbound.kept.count, 0 + (scene.ends == 1));
        end();
    }
}

static void a_large_body_waits_for_room(void **state)
{
    static char body[100000];
    size_t len;
    (void)state;
    memset(body, 'b', sizeof body);
    fake_server_set(scene.server, FAKE_SERVER_ACCEPTS, 0);
    struct fetch_request request = {.method = "PUT", .method_len = 3, .body = body, .body_len = sizeof body};
    assert_int_equal(begin(request), FETCH_SUCCESS);
    while (scene.peer == NULL) {
        turn();
    }
    fake_peer_set_window(scene.peer, 1000);
    for (int i = 0; i < 300; i++) {
        turn();
    }
    const char *output = fake_peer_output(scene.peer, &len);
    const char *end_of_head = strstr(output, "\r\n\r\n");
    assert_non_null(end_of_head);
    assert_int_equal(len - (size_t)(end_of_head + 4 - output), sizeof body);
    assert_memory_equal(end_of_head + 4, body, sizeof body);
    fake_peer_send_text(scene.peer, HELLO);
    turns(2);
    assert_int_equal(scene.ends, 1);
    assert_int_equal(scene.outbound.kept.count, 1);
}

static void a_response_before_the_whole_request_is_taken(void **state)
{
    (void)state;
    struct fetch_request request = {.method = "PUT", .method_len = 3, .streams_body = true, .body_length = -1};
    assert_int_equal(begin(request), FETCH_SUCCESS);
    assert_int_equal(fetch_write(scene.fetch, "some", 4), 0);
    turns(3);
    fake_peer_send_text(scene.peer, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    turns(3);
    assert_int_equal(scene.ends, 1);
    assert_int_equal(fetch_response(scene.fetch)->status, 413);
    assert_int_equal(fetch_write(scene.fetch, "more", 4), -EPIPE);
    assert_int_equal(scene.outbound.kept.count, 0);
}

/* A request, a redirect on the kept connection, and the next request on it. Returns how it ended. */
static enum fetch_kind play(void)
{
    static const char *const answers[] = {"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", HELLO,
                                          "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"};
    size_t answered = 0, seen = 0;
    struct fake_peer *asked = NULL;
    enum fetch_kind kind = FETCH_SUCCESS;

    for (int i = 0; kind == FETCH_SUCCESS && i < 2; i++) {
        kind = begin((struct fetch_request){.method = "PUT", .method_len = 3, .body = "x", .body_len = 1});
        for (int turn_count = 0; kind == FETCH_SUCCESS && scene.ends == 0 && turn_count < 60; turn_count++) {
            size_t len = 0;
            turn();
            if (scene.peer != asked) {
                asked = scene.peer;
                seen = 0;
            }
            if (scene.peer != NULL) {
                (void)fake_peer_output(scene.peer, &len);
            }
            if (len > seen && answered < 3) {
                seen = len;
                fake_peer_send_text(scene.peer, answers[answered]);
                if (answered++ == 2) {
                    fake_peer_shutdown(scene.peer);
                }
            }
        }
        if (kind == FETCH_SUCCESS && scene.ends == 0) {
            advance_ms(FETCH_TIMEOUT_MS + 1); /* an event was lost with the call that failed */
            turns(2);
        }
        if (kind == FETCH_SUCCESS) {
            assert_int_equal(scene.ends, 1);
            kind = fetch_failure_kind(scene.fetch);
        }
        if (kind == FETCH_SUCCESS) {
            assert_string_equal(fetch_response(scene.fetch)->body, "hello");
        } else if (scene.fetch != NULL) {
            assert_true(strlen(fetch_failure(scene.fetch)) > 0);
        }
        end();
    }
    return kind;
}

static void every_system_call_may_fail(void **state)
{
    static const int errors[] = {-EIO, -ENOMEM, -ECONNRESET, -EPIPE, -EMFILE};
    int failed = 0;
    (void)state;
    assert_int_equal(play(), FETCH_SUCCESS);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        for (uint64_t n = 1;; n++) {
            assert_int_equal(end_scene(), 0);
            assert_int_equal(begin_scene(), 0);
            fake_sys_fail(n, errors[i]);
            enum fetch_kind kind = play();
            bool has_failed = fake_sys_failed();
            failed += kind != FETCH_SUCCESS;
            if (!has_failed) {
                assert_int_equal(kind, FETCH_SUCCESS);
                break;
            }
        }
    }
    assert_true(failed > 10);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (int forever = 0; forever < 2; forever++) {
        for (uint64_t n = 1;; n++) {
            assert_int_equal(end_scene(), 0);
            assert_int_equal(begin_scene(), 0);
            fake_mem_fail_after(n, forever == 1);
            enum fetch_kind kind = play();
            bool has_failed = fake_mem_failed();
            fake_mem_fail_after(0, false);
            if (!has_failed) {
                assert_int_equal(kind, FETCH_SUCCESS);
                break;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kept_connection_costs_a_send_and_a_receive, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_came_before_the_request_is_not_its_response, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_request_has_one_host, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_wait_has_its_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_streamed_response_may_last_but_not_be_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_response_may_come_in_any_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_large_body_waits_for_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_response_before_the_whole_request_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_system_call_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
