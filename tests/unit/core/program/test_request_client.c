/* core/program/request_client.c: the bytes of a request, and answers taken apart whatever way they come. */

#include "core/program/request_client.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/sys.h"

static struct fake_peer *peer; /* the server */
static int fd;                 /* the client's end */
static struct request_client *client;
static char told[4096]; /* what was handed over */
static size_t told_len;

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    peer = fake_peer_create(-1);
    fd = fake_peer_fd(peer);
    client = NULL;
    told_len = 0;
    told[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    request_client_destroy(client);
    sys_close(fd);
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

static void on_answer(void *arg, const char *data, size_t len)
{
    assert_ptr_equal(arg, told);
    assert_true(len > 0 && told_len + len < sizeof told);
    memcpy(told + told_len, data, len);
    told_len += len;
    told[told_len] = '\0';
}

static void begin(const struct request_text *text)
{
    assert_int_equal(request_client_create(&client, fd, text, on_answer, told), 0);
}

static void begin_get(const char *request)
{
    begin(&(struct request_text){.request = request});
}

/* Let the client work until it waits for nothing more, or nothing more comes. */
static enum request_progress work(void)
{
    enum request_progress progress = REQUEST_WAITS;
    for (int i = 0; i < 2000 && progress == REQUEST_WAITS; i++) {
        struct epoll_event event;
        int epoll_fd = sys_epoll_create(); /* a wait lets the next segment arrive */
        assert_int_equal(sys_epoll_add(epoll_fd, fd, EPOLLIN, 0), 0);
        (void)sys_epoll_wait(epoll_fd, &event, 1, 0);
        sys_close(epoll_fd);
        progress = request_client_advance(client);
    }
    return progress;
}

static void request_is_made_of_what_is_given(void **state)
{
    (void)state;
    static const char *const accept_line[] = {"Accept: text/html", "X-A: 1"};
    static const char *const host[] = {"HOST: here"};
    static const char *const length[] = {"content-length: 2"};
    static const char *const coding[] = {"Transfer-Encoding: chunked"};
    static const struct {
        struct request_text text;
        const char *bytes;
    } rows[] = {
        {{.request = "GET /a?b=c"}, "GET /a?b=c HTTP/1.1\r\nHost: localhost\r\n\r\n"},
        {{.request = "/a"}, "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"},
        {{.request = "/", .headers = accept_line, .header_count = 2},
         "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nX-A: 1\r\n\r\n"},
        {{.request = "/", .headers = host, .header_count = 1}, "GET / HTTP/1.1\r\nHOST: here\r\n\r\n"},
        {{.request = "PUT /", .body = "a\0b", .body_len = 3},
         "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\na\0b"},
        {{.request = "PUT /", .body = "", .body_len = 0},
         "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"},
        {{.request = "PUT /", .body = "ab", .body_len = 2, .headers = length, .header_count = 1},
         "PUT / HTTP/1.1\r\nHost: localhost\r\ncontent-length: 2\r\n\r\nab"},
        {{.request = "PUT /", .body = "0\r\n\r\n", .body_len = 5, .headers = coding, .header_count = 1},
         "PUT / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len;
        begin(&rows[i].text);
        assert_true(request_client_wants_room(client));
        assert_int_equal(request_client_advance(client), REQUEST_WAITS);
        assert_false(request_client_wants_room(client));
        const char *bytes = fake_peer_output(peer, &len);
        assert_string_equal(bytes, rows[i].bytes);
        assert_true(len >= rows[i].text.body_len);
        assert_memory_equal(bytes + len - rows[i].text.body_len, rows[i].text.body == NULL ? "" : rows[i].text.body,
                            rows[i].text.body_len);
        fake_peer_forget_output(peer);
        request_client_destroy(client);
        client = NULL;
    }
}

/* What answers are, and what is handed over of them; whole, byte by byte, and in two at every place. */
static const struct {
    const char *request, *answer;
    bool is_closed; /* behind it */
    const char *told;
    enum request_progress progress;
    int status;
} answers[] = {
    {"/", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
     REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd", false, "HTTP/1.1 200 OK\ncontent-length: 3\n\nabc",
     REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false, "HTTP/1.1 404 Not Found\nContent-Length: 0\n\n",
     REQUEST_ANSWERED, 404},
    {"HEAD /", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false, "HTTP/1.1 200 OK\nContent-Length: 3\n\n",
     REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 204 No Content\r\n\r\n", false, "HTTP/1.1 204 No Content\n\n", REQUEST_ANSWERED, 204},
    {"/", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", false,
     "HTTP/1.1 304 Not Modified\nContent-Length: 3\n\n", REQUEST_ANSWERED, 304},
    {"/", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", false,
     "HTTP/1.1 200 OK\nContent-Length: 1\n\na", REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", false,
     "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nabc0123456789", REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: b\r\nC: d\r\n\r\n", false,
     "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\na", REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", true, "HTTP/1.1 200 OK\nConnection: close\n\nabc",
     REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", true, "HTTP/1.1 200 OK\nContent-Length: 4\n\nabc",
     REQUEST_CUT, 200},
    {"/", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true,
     "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nabc", REQUEST_CUT, 200},
    {"/", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n0\r\n\r\n", false,
     "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nab", REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\na", false,
     "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 9\n\na", REQUEST_ANSWERED, 200},
    {"/", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na", false, "", REQUEST_CUT, 200},
    {"/", "HTTP/1.1 200 OK\r\nContent-", true, "", REQUEST_CUT, 0},
    {"/", "", true, "", REQUEST_CUT, 0},
    {"/", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1g\r\n", false,
     "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", REQUEST_CUT, 200},
    {"/", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n", false,
     "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", REQUEST_CUT, 200},
};

static void check_answer(size_t row, size_t split)
{
    tear_down(NULL);
    set_up(NULL);
    begin_get(answers[row].request);
    size_t len = strlen(answers[row].answer);
    if (split == 0) {
        fake_peer_send_in_pieces(peer, answers[row].answer, len, 1);
    } else {
        fake_peer_send_split(peer, answers[row].answer, len, split);
    }
    if (answers[row].is_closed) {
        fake_peer_shutdown(peer);
    }
    assert_int_equal(work(), answers[row].progress);
    assert_string_equal(told, answers[row].told);
    assert_int_equal(request_client_status(client), answers[row].status);
}

static void answers_are_taken_apart_wherever_they_are_split(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof answers / sizeof answers[0]; row++) {
        for (size_t split = 0; split < strlen(answers[row].answer); split++) {
            check_answer(row, split);
        }
    }
}

static void request_is_sent_as_there_is_room(void **state)
{
    (void)state;
    size_t len;
    begin_get("/a");
    fake_peer_set_room(peer, 10);
    assert_int_equal(request_client_advance(client), REQUEST_WAITS);
    assert_true(request_client_wants_room(client));
    assert_int_equal(request_client_advance(client), REQUEST_WAITS);
    assert_string_equal(fake_peer_output(peer, &len), "GET /a HTT");
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    assert_int_equal(request_client_advance(client), REQUEST_WAITS);
    assert_false(request_client_wants_room(client));
    assert_string_equal(fake_peer_output(peer, &len), "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static void answer_to_a_request_that_is_not_taken_is_read(void **state)
{
    (void)state;
    begin_get("/a");
    fake_peer_send_text(peer, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    fake_sys_fail_op(FAKE_SEND, 0, 1, -EPIPE);
    assert_int_equal(work(), REQUEST_ANSWERED);
    assert_false(request_client_wants_room(client));
    assert_int_equal(request_client_status(client), 413);
}

static void interrupted_calls_are_made_again(void **state)
{
    (void)state;
    begin_get("/a");
    fake_sys_fail_op(FAKE_SEND, 0, 1, -EINTR);
    fake_sys_fail_op(FAKE_RECV, 0, 1, -EINTR);
    fake_peer_send_text(peer, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_int_equal(request_client_advance(client), REQUEST_WAITS);
    assert_int_equal(request_client_advance(client), REQUEST_ANSWERED);
    assert_false(request_client_wants_room(client));
}

static void reset_connection_is_cut(void **state)
{
    (void)state;
    begin_get("/a");
    fake_peer_reset(peer, -ECONNRESET);
    assert_int_equal(work(), REQUEST_CUT);
}

/* A head of so many bytes, its empty line included. */
static enum request_progress take_head_of(size_t len)
{
    tear_down(NULL);
    set_up(NULL);
    begin(&(struct request_text){.request = "HEAD /"});
    static const char first[] = "HTTP/1.1 103 Hints\r\nX: ";
    char *head = malloc(len + 1);
    assert_non_null(head);
    memset(head, 'x', len);
    memcpy(head, first, sizeof first - 1);
    memcpy(head + len - 4, "\r\n\r\n", 5);
    fake_peer_send(peer, head, len);
    free(head);
    fake_peer_send_text(peer, "HTTP/1.1 204 No Content\r\n\r\n");
    fake_peer_shutdown(peer);
    return work();
}

static void head_may_have_64_kib_less_one(void **state)
{
    (void)state;
    assert_int_equal(take_head_of(65535), REQUEST_ANSWERED);
    assert_string_equal(told, "HTTP/1.1 204 No Content\n\n");
    assert_int_equal(take_head_of(65536), REQUEST_CUT);
    assert_string_equal(told, "");
}

static void without_memory_there_is_no_client(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(request_client_create(&client, fd, &(struct request_text){.request = "/"}, on_answer, told),
                         -ENOMEM);
        assert_true(fake_mem_failed());
        assert_null(client);
        assert_int_equal(fake_mem_live(), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(request_is_made_of_what_is_given), TEST(answers_are_taken_apart_wherever_they_are_split),
        TEST(request_is_sent_as_there_is_room), TEST(answer_to_a_request_that_is_not_taken_is_read),
        TEST(interrupted_calls_are_made_again), TEST(reset_connection_is_cut),
        TEST(head_may_have_64_kib_less_one),    TEST(without_memory_there_is_no_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
