/* What functions of a request return when they refuse, and what becomes of the request then. */

#include "tests/lib/host.h"

#include <stdatomic.h>

enum { CALLS_MAX = 8 };

/* What the calls of a handler returned, and the events that came. */
static int results[CALLS_MAX];
static atomic_int result_count, gone, timers, handled;

static void note(int result)
{
    int at = result_count++;
    assert_true(at < CALLS_MAX);
    results[at] = result;
}

static void on_event(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_GONE) {
        assert_int_equal(evs_after(request, 0), -EALREADY);
        gone++;
    } else if (event == EVS_TIMER) {
        timers++;
    }
}

static void forget(void)
{
    result_count = gone = timers = handled = 0;
}

static void expect_results(int count, const int *expected)
{
    while (handled == 0) {
        usleep(1000);
    }
    assert_int_equal(result_count, count);
    for (int i = 0; i < count; i++) {
        if (results[i] != expected[i]) {
            fail_msg("call %d returned %d, not %d", i, results[i], expected[i]);
        }
    }
}

#define EXPECT(...) expect_results((int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (const int[]){__VA_ARGS__})

typedef void calls_fn(evs_request *request);

/* The calls of one test are the route's argument. */
struct scene {
    calls_fn *calls;
};

static void serve_calls(evs_request *request, void *arg)
{
    const struct scene *scene = arg;
    evs_on(request, on_event, NULL);
    scene->calls(request);
    handled = 1;
}

/* Ask for what calls answers. Returns the answer, all that came until the server closed. */
static const char *ask(calls_fn *calls, const char *method)
{
    static struct scene scene;
    static const struct evs_route routes[] = {{.route = "GET,POST /:any", .serve = serve_calls, .arg = &scene},
                                              {.route = NULL}};
    char request[256];
    scene.calls = calls;
    forget();
    if (host.server == NULL) {
        host.config.routes = routes;
        host_serve();
    }
    snprintf(request, sizeof request, "%s /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", method);
    return client_ask(host.port, request);
}

static void wait_for_gone(void)
{
    while (gone == 0) {
        usleep(1000);
    }
}

/* What is right returns 0. */

static void answer_all_right(evs_request *request)
{
    note(evs_begun(request));
    note(evs_begin(request, 200, "text/plain", 4));
    note(evs_begun(request));
    note(evs_write(request, "some", 4));
    note(evs_end(request));
    note(evs_begun(request));
}

static void reply_all_right(evs_request *request)
{
    note(evs_after(request, 3600000));
    note(evs_reply(request, 201, NULL, "some", 4));
    note(evs_begun(request));
}

static void empty_end(evs_request *request)
{
    note(evs_end(request));
}

static void give_up(evs_request *request)
{
    note(evs_abort(request));
    note(evs_begun(request));
}

static void calls_that_are_carried_out_return_0(void **state)
{
    (void)state;
    assert_string_equal(client_body(ask(answer_all_right, "GET")), "some");
    EXPECT(0, 0, 1, 1, 0, 2);
    assert_string_equal(client_body(ask(reply_all_right, "GET")), "some");
    EXPECT(0, 0, 2);
    assert_memory_equal(ask(empty_end, "GET"), "HTTP/1.1 204 ", 13);
    EXPECT(0);
    assert_memory_equal(ask(give_up, "GET"), "HTTP/1.1 500 ", 13);
    EXPECT(0, 2);
    assert_int_equal(gone, 0);
    host_stop(0);
    assert_string_equal(host.log, "");
}

/* What cannot be sent. */

static void reply_wrongly(evs_request *request)
{
    note(evs_reply(request, 99, NULL, NULL, 0));
    note(evs_begun(request));
}

static void begin_wrongly(evs_request *request)
{
    note(evs_set_header(request, "X-Own", "1"));
    note(evs_begin(request, 200, "a\nb", -1));
    note(evs_after(request, 0));
    note(evs_write(request, "some", 4));
}

static void write_wrongly(evs_request *request)
{
    note(evs_write(request, NULL, 5));
}

static void begin_wrongly_and_end(evs_request *request)
{
    note(evs_begin(request, 600, NULL, -1));
    note(evs_write(request, "some", 4));
    note(evs_end(request));
}

static void arguments_that_cannot_be_sent_are_einval_and_500(void **state)
{
    (void)state;
    assert_memory_equal(ask(reply_wrongly, "GET"), "HTTP/1.1 500 ", 13);
    EXPECT(-EINVAL, 2);
    const char *answer = ask(begin_wrongly, "GET");
    assert_memory_equal(answer, "HTTP/1.1 500 ", 13);
    assert_null(strstr(answer, "X-Own"));
    assert_string_equal(client_body(answer), "500 Internal Server Error\n");
    EXPECT(0, -EINVAL, -EALREADY, -1);
    wait_for_gone();
    assert_string_equal(client_body(ask(begin_wrongly, "HEAD")), "");
    EXPECT(0, -EINVAL, -EALREADY, -1);
    wait_for_gone();
    assert_memory_equal(ask(write_wrongly, "GET"), "HTTP/1.1 500 ", 13);
    EXPECT(-1);
    wait_for_gone();
    assert_int_equal(timers, 0);
    assert_string_equal(client_body(ask(begin_wrongly_and_end, "GET")), "500 Internal Server Error\n");
    EXPECT(-EINVAL, -1, 0);
    host_stop(0);
    assert_int_equal(gone, 0); /* evs_end() is the last of it */
    assert_true(host_has_logged("route /:any (evserve_config.routes[0]): evs_begin: the type has control characters"));
    assert_true(host_has_logged("evs_begin: the status is not between 200 and 599"));
}

/* Lengths. */

static void write_too_much(evs_request *request)
{
    note(evs_begin(request, 200, NULL, 3));
    note(evs_write(request, "some", 4));
    note(evs_begun(request));
    note(evs_end(request));
}

static void write_too_much_and_wait(evs_request *request)
{
    note(evs_begin(request, 200, NULL, 3));
    note(evs_write(request, "some", 4));
}

static void write_too_little(evs_request *request)
{
    note(evs_begin(request, 200, NULL, 5));
    note(evs_write(request, "some", 4));
    note(evs_end(request));
}

static void other_content_than_announced_is_logged_and_cut(void **state)
{
    (void)state;
    assert_string_equal(client_body(ask(write_too_much, "GET")), "");
    EXPECT(0, -1, 2, -EPIPE);
    assert_string_equal(client_body(ask(write_too_much_and_wait, "GET")), "");
    EXPECT(0, -1);
    wait_for_gone();
    assert_string_equal(client_body(ask(write_too_little, "GET")), "some");
    EXPECT(0, 1, -EINVAL);
    assert_memory_equal(ask(write_too_little, "HEAD"), "HTTP/1.1 200 ", 13);
    EXPECT(0, -1, 0);
    host_stop(0);
    assert_true(host_has_logged("evs_write: more content than evs_begin() announced"));
    assert_true(host_has_logged("evs_end: less content than evs_begin() announced"));
}

/* Too late. */

static void answer_twice(evs_request *request)
{
    note(evs_reply(request, 200, NULL, "first", 5));
    note(evs_reply(request, 200, NULL, "second", 6));
    note(evs_begin(request, 200, NULL, -1));
    note(evs_write(request, "third", 5));
    note(evs_end(request));
    note(evs_abort(request));
    note(evs_file(request, host.folder, "x"));
    note(evs_after(request, 0));
}

static void begin_twice(evs_request *request)
{
    note(evs_begin(request, 200, NULL, -1));
    note(evs_write(request, "some", 4));
    note(evs_begin(request, 200, NULL, -1));
    note(evs_begun(request));
}

static void reply_into_a_stream(evs_request *request)
{
    note(evs_write(request, "some", 4));
    note(evs_reply(request, 200, NULL, "other", 5));
}

static void first_answer_stands_and_later_ones_are_ealready(void **state)
{
    (void)state;
    assert_string_equal(client_body(ask(answer_twice, "GET")), "first");
    EXPECT(0, -EALREADY, -EALREADY, -1, -EALREADY, -EALREADY, -EALREADY, -EALREADY);
    const char *answer = ask(begin_twice, "GET");
    assert_non_null(strstr(answer, "some"));
    assert_null(strstr(answer, "\r\n0\r\n"));
    EXPECT(0, 1, -EALREADY, 2);
    wait_for_gone();
    answer = ask(reply_into_a_stream, "GET");
    assert_null(strstr(answer, "other"));
    assert_null(strstr(answer, "\r\n0\r\n"));
    EXPECT(1, -EALREADY);
    host_stop(0);
    assert_int_equal(gone + timers, 0);
    assert_true(host_has_logged("evs_reply: the response has already begun"));
    assert_true(host_has_logged("evs_begin: the response has already begun"));
    assert_true(host_has_logged("evs_file: the response has already begun"));
    assert_true(host_has_logged("evs_write: the response is already complete"));
    assert_true(host_has_logged("evs_end: the response is already complete"));
    assert_true(host_has_logged("evs_abort: the response is already complete"));
}

/* What is more than the client may owe. */

static char mebibyte[1 << 20];

static void write_too_large_a_piece(evs_request *request)
{
    note(evs_write(request, mebibyte, sizeof mebibyte));
    note(evs_write(request, mebibyte, sizeof mebibyte)); /* its own line would be one too many */
}

static void refer_to_too_large_a_piece(evs_request *request)
{
    note(evs_write_ref(request, mebibyte, sizeof mebibyte, NULL, NULL));
}

static void write_on_after_0(evs_request *request)
{
    int rv = 1;
    for (int i = 0; i < 256 && rv >= 0; i++) {
        rv = evs_write(request, mebibyte, 4096);
    }
    note(rv);
}

static void count_line(void *arg, int level, const char *line)
{
    atomic_int *warnings = arg;
    host_keep_line(NULL, level, line);
    *warnings += level == EVSERVE_LOG_WARN;
}

static void stream_that_is_cut_at_write_cap_is_a_warning_with_its_route(void **state)
{
    (void)state;
    static atomic_int warnings;
    host.config.log = count_line;
    host.config.arg = &warnings;
    assert_null(strstr(ask(write_too_large_a_piece, "GET"), "\r\n0\r\n"));
    EXPECT(-1, -1);
    ask(refer_to_too_large_a_piece, "GET");
    EXPECT(-1);
    ask(write_on_after_0, "GET");
    EXPECT(-1);
    host_stop(0);
    assert_int_equal(warnings, 3);
    assert_true(host_has_logged("route /:any (evserve_config.routes[0]): evs_write: the client is cut, since "));
    assert_true(host_has_logged(" 1048576 more exceed write_cap (262144 bytes): after 0 wait for EVS_DRAIN"));
    assert_true(host_has_logged("evs_write_ref: the client is cut, since "));
    assert_true(host_has_logged(" 4096 more exceed write_cap (262144 bytes)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(calls_that_are_carried_out_return_0),
        HOST_TEST(arguments_that_cannot_be_sent_are_einval_and_500),
        HOST_TEST(other_content_than_announced_is_logged_and_cut),
        HOST_TEST(first_answer_stands_and_later_ones_are_ealready),
        HOST_TEST(stream_that_is_cut_at_write_cap_is_a_warning_with_its_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
