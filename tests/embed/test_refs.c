/* Content that is not copied: evs_reply_ref() and evs_write_ref(), whose release comes exactly once, whatever the
 * end. */

#include "tests/lib/host.h"

#include <stdatomic.h>
#include <sys/resource.h>

enum { LONG = 300000, SHORT = 100, STREAMS = 1000 };

static char content[LONG];
static atomic_int releases, gone;

static void on_release(void *arg)
{
    assert_ptr_equal(arg, content);
    releases++;
}

static void wait_for(const atomic_int *number, int value)
{
    for (int i = 0; i < 5000 && *number != value; i++) {
        usleep(1000);
    }
    assert_int_equal(*number, value);
}

static void serve(const struct evs_route *routes)
{
    releases = gone = 0;
    memset(content, 'r', sizeof content);
    host.config.routes = routes;
    host_serve();
}

/* Whole answers. */

static void serve_reply(evs_request *request, void *arg)
{
    size_t len = strcmp(evs_path(request), "/long") == 0 ? (size_t)LONG : (size_t)SHORT;
    assert_int_equal(evs_reply_ref(request, 200, "text/plain", content, len, arg == NULL ? on_release : NULL, content),
                     0);
}

static void serve_mistakes(evs_request *request, void *arg)
{
    (void)arg;
    const char *path = evs_path(request);
    if (strcmp(path, "/twice") == 0) {
        assert_int_equal(evs_begin(request, 200, "text/plain", -1), 0);
        assert_int_equal(evs_reply_ref(request, 200, NULL, content, LONG, on_release, content), -EALREADY);
    } else if (strcmp(path, "/status") == 0) {
        assert_int_equal(evs_reply_ref(request, 99, NULL, content, LONG, on_release, content), -EINVAL);
    } else {
        assert_int_equal(evs_reply_ref(request, 200, "a\nb", content, SHORT, on_release, content), -EINVAL);
    }
}

static char own_memory[] = "static";

static void reply_is_sent_from_where_it_is_and_released_once(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /long", .serve = serve_reply},
                                       {.route = "GET /short", .serve = serve_reply},
                                       {.route = "GET /static", .serve = serve_reply, .arg = own_memory},
                                       {.route = "GET /twice", .serve = serve_mistakes},
                                       {.route = "GET /status", .serve = serve_mistakes},
                                       {.route = "GET /type", .serve = serve_mistakes},
                                       {.route = NULL}};
    static char answer[LONG + 4096];
    static const char *const requests[] = {"GET /long",  "GET /short",  "HEAD /long",
                                           "GET /twice", "GET /status", "GET /type"};
    static const size_t lengths[] = {LONG, SHORT, 0};
    serve(routes);
    for (int i = 0; i < 6; i++) {
        char request[128];
        snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", requests[i]);
        int fd = client_connect(host.port);
        assert_true(client_send(fd, request));
        size_t len = client_read_all(fd, answer, sizeof answer);
        close(fd);
        if (i < 3) {
            size_t head_len = (size_t)(client_body(answer) - answer);
            assert_int_equal(len - head_len, lengths[i]);
            assert_memory_equal(answer + head_len, content, lengths[i]);
        }
        wait_for(&releases, i + 1);
    }
    host_expect("/static", (content[SHORT] = '\0', content));
    assert_int_equal(releases, 6);
}

/* Streams. */

static void on_event(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_GONE) {
        gone++;
    } else if (event == EVS_DRAIN) {
        evs_end(request);
    }
}

/* Writes more than the client takes, and waits for it. */
static void serve_stream(evs_request *request, void *arg)
{
    (void)arg;
    int rv = 1, pieces = 0;
    evs_on(request, on_event, NULL);
    while (rv == 1) {
        rv = evs_write_ref(request, content, 20000, on_release, content);
        pieces++;
    }
    bool is_head = strcmp(evs_method(request), "HEAD") == 0; /* which wants no content */
    assert_int_equal(rv, is_head ? -1 : 0);
    assert_int_equal(pieces, is_head ? 1 : 4); /* above the mark of 64 KiB */
}

static void serve_more_than_announced(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, on_event, NULL);
    assert_int_equal(evs_begin(request, 200, NULL, 10000), 0);
    assert_int_equal(evs_write_ref(request, content, 6000, on_release, content), 1);
    assert_int_equal(evs_write_ref(request, content, 6000, on_release, content), -1);
}

static void serve_null(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, on_event, NULL);
    assert_int_equal(evs_write_ref(request, NULL, 6000, on_release, content), -1);
}

static void serve_aborted(evs_request *request, void *arg)
{
    (void)arg;
    assert_int_equal(evs_write_ref(request, content, 6000, on_release, content), 1);
    assert_int_equal(evs_abort(request), 0);
}

static const struct evs_route stream_routes[] = {{.route = "GET /stream", .serve = serve_stream},
                                                 {.route = "GET /more", .serve = serve_more_than_announced},
                                                 {.route = "GET /null", .serve = serve_null},
                                                 {.route = "GET /aborted", .serve = serve_aborted},
                                                 {.route = NULL}};

static void stream_is_drained_and_released(void **state)
{
    (void)state;
    static char answer[LONG];
    serve(stream_routes);
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /stream HTTP/1.0\r\n\r\n"));
    size_t len = client_read_all(fd, answer, sizeof answer);
    close(fd);
    size_t head_len = (size_t)(client_body(answer) - answer);
    assert_int_equal(len - head_len, 80000);
    assert_memory_equal(answer + head_len, content, 80000);
    wait_for(&releases, 4);
    assert_int_equal(gone, 0);
}

static void stream_that_does_not_end_well_is_released(void **state)
{
    (void)state;
    serve(stream_routes);
    (void)client_ask(host.port, "HEAD /stream HTTP/1.0\r\n\r\n");
    (void)client_get(host.port, "/more");
    wait_for(&releases, 3);
    wait_for(&gone, 2);
    (void)client_get(host.port, "/null");
    wait_for(&releases, 4);
    wait_for(&gone, 3);
    (void)client_get(host.port, "/aborted");
    wait_for(&releases, 5);
}

/* A client with a small window, which takes nothing. */
static int connect_slow(void)
{
    int fd = client_connect(host.port);
    int bytes = 1024;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
    return fd;
}

static atomic_int held_writes;

static void serve_held(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, on_event, NULL);
    for (int i = 0; i < 12; i++) { /* below write_cap, which the test has raised; more than sockets take */
        assert_true(evs_write_ref(request, content, LONG, on_release, content) >= 0);
    }
    held_writes = 12;
}

static const struct evs_route held_routes[] = {{.route = "GET /held", .serve = serve_held}, {.route = NULL}};

static int begin_held(void)
{
    held_writes = 0;
    host.config.write_cap = 64 << 20;
    host.config.write_high_mark = 32 << 20;
    serve(held_routes);
    int fd = connect_slow();
    assert_true(client_send(fd, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_for(&held_writes, 12);
    return fd;
}

static void client_that_leaves_midway_releases_everything(void **state)
{
    (void)state;
    int fd = begin_held();
    assert_true(releases < 12);
    close(fd);
    wait_for(&releases, 12);
    wait_for(&gone, 1);
}

static void server_that_stops_or_is_freed_releases_everything(void **state)
{
    (void)state;
    int fd = begin_held();
    host_stop(0);
    evserve_free(host.server);
    host.server = NULL;
    assert_int_equal(releases, 12);
    close(fd);
}

/* One buffer for a thousand clients. */

struct message {
    unsigned refs; /* one thread: it need not be atomic */
    size_t len;
    char text[];
};

static atomic_int streams_open, messages_freed;
static evs_request *streams[STREAMS]; /* of the server's thread, as is all that follows */

static void put_message(void *arg)
{
    struct message *message = arg;
    if (--message->refs == 0) {
        free(message);
        messages_freed++;
    }
}

static void serve_events(evs_request *request, void *arg)
{
    (void)arg;
    streams[streams_open] = request;
    evs_begin(request, 200, "text/event-stream", -1);
    streams_open++;
}

static void broadcast(void *arg)
{
    struct message *message = arg;
    message->refs++; /* ours, while we write */
    for (int i = 0; i < streams_open; i++) {
        message->refs++;
        assert_int_equal(evs_write_ref(streams[i], message->text, message->len, put_message, message), 1);
    }
    put_message(message);
}

static void end_streams(void *arg)
{
    (void)arg;
    for (int i = 0; i < streams_open; i++) {
        assert_int_equal(evs_end(streams[i]), 0);
    }
}

static void one_buffer_goes_to_a_thousand_streams(void **state)
{
    (void)state;
    static const struct evs_route routes[] = {{.route = "GET /events", .serve = serve_events}, {.route = NULL}};
    static int fds[STREAMS];
    static char answer[32768];
    struct rlimit fds_allowed;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &fds_allowed), 0);
    if (fds_allowed.rlim_max < 2 * STREAMS + 100) {
        skip();
    }
    fds_allowed.rlim_cur = fds_allowed.rlim_max < 65536 ? fds_allowed.rlim_max : 65536;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &fds_allowed), 0);
    streams_open = messages_freed = 0;
    serve(routes);
    for (int i = 0; i < STREAMS; i++) {
        fds[i] = client_connect(host.port);
        assert_true(client_send(fds[i], "GET /events HTTP/1.0\r\n\r\n"));
    }
    wait_for(&streams_open, STREAMS);
    struct message *message = malloc(sizeof *message + 16000);
    assert_non_null(message);
    message->refs = 0;
    message->len = 16000;
    memset(message->text, 'm', message->len);
    assert_int_equal(evserve_post(host.server, broadcast, message), 0);
    assert_int_equal(evserve_post(host.server, end_streams, NULL), 0);
    for (int i = 0; i < STREAMS; i++) {
        size_t len = client_read_all(fds[i], answer, sizeof answer);
        size_t head_len = (size_t)(client_body(answer) - answer);
        assert_int_equal(len - head_len, 16000);
        assert_int_equal(answer[head_len], 'm');
        assert_int_equal(answer[len - 1], 'm');
        close(fds[i]);
    }
    wait_for(&messages_freed, 1);
}

/* What the host keeps for a request: content and all. on_done frees it, so its release must not come after that. */
struct visit {
    char content[LONG];
    int to_release;
};

static atomic_int visits;

static void release_of_visit(void *arg)
{
    struct visit *visit = arg;
    visit->to_release--;
}

static void end_visit(void *arg)
{
    struct visit *visit = arg;
    assert_int_equal(visit->to_release, 0);
    free(visit);
    visits--;
}

static void serve_visit(evs_request *request, void *arg)
{
    struct visit *visit = calloc(1, sizeof *visit);
    visits++;
    assert_int_equal(evs_on_done(request, end_visit, visit), 0);
    visit->to_release = 1;
    if (arg != NULL) {
        evs_reply_ref(request, 200, NULL, visit->content, LONG, release_of_visit, visit);
        return;
    }
    for (int i = 0; i < 3; i++) {
        visit->to_release += i > 0 ? 1 : 0;
        evs_write_ref(request, visit->content, LONG / 10, release_of_visit, visit);
    }
    evs_write_ref(request, visit->content, LONG / 10, NULL, NULL);
}

static void content_is_released_before_the_functions_of_the_end(void **state)
{
    (void)state;
    static const struct evs_limits brief = {.size = sizeof brief, .write_timeout_ms = 50, .stream_timeout_ms = 50};
    const struct evs_route routes[] = {
        {.route = "GET /reply", .serve = serve_visit, .arg = own_memory},
        {.route = "GET /stream", .serve = serve_visit},
        {.route = "GET /brief/reply", .serve = serve_visit, .arg = own_memory, .limits = &brief},
        {.route = "GET /brief/stream", .serve = serve_visit, .limits = &brief},
        {.route = NULL}};
    static const char *const paths[] = {"/reply", "/stream", "/brief/reply", "/brief/stream"};
    visits = 0;
    serve(routes);
    for (int i = 0; i < 12; i++) {
        char request[128], some[1024];
        int least = 4096;
        int fd = client_connect(host.port);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i % 4]);
        assert_true(client_send(fd, request));
        client_read_until(fd, some, sizeof some, "\r\n\r\n");
        if (i < 8) { /* it leaves midway: with a reset, or in order */
            struct linger reset = {.l_onoff = i < 4, .l_linger = 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            close(fd);
        } else if (i < 10) {
            host_stop(0); /* the server does not wait */
            close(fd);
            wait_for(&visits, 0);
            evserve_free(host.server);
            host.server = NULL;
            serve(routes);
        } else { /* it reads no more */
            wait_for(&visits, 0);
            close(fd);
        }
        wait_for(&visits, 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        HOST_TEST(reply_is_sent_from_where_it_is_and_released_once),
        HOST_TEST(stream_is_drained_and_released),
        HOST_TEST(stream_that_does_not_end_well_is_released),
        HOST_TEST(client_that_leaves_midway_releases_everything),
        HOST_TEST(server_that_stops_or_is_freed_releases_everything),
        HOST_TEST(content_is_released_before_the_functions_of_the_end),
        HOST_TEST(one_buffer_goes_to_a_thousand_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
