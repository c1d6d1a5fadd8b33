/* How a request in C ends that its host has not answered: its client leaves, its time is over, the server stops. What
 * the host is told, in which order, and never in the middle of a call of its own. */

#include "tests/lib/host.h"

#include <stdatomic.h>
#include <sys/socket.h>

enum { CLIENTS = 20, FOR_EVER_MS = 600000 };

/* One test at a time; the server's thread writes, the test reads. */
static atomic_int begun, gone, stopping, gone_untold, calls_inside, events_inside;
static char content[100000];

/* What a handler does, and what it does when it is told that the server stops: the route's argument. */
enum { BEGIN = 1, END_WHEN_STOPPING = 2, LISTEN_LATER = 4, ANSWER_LATER = 8 };
static const int hold = 0, begin = BEGIN, stream = BEGIN | END_WHEN_STOPPING, ignore = BEGIN;
static const int later = LISTEN_LATER | BEGIN | END_WHEN_STOPPING, answer = ANSWER_LATER;

struct visit {
    int kind;
    bool is_told; /* EVS_STOPPING came */
};

static void on_event(evs_request *request, int event, void *arg)
{
    struct visit *visit = arg;
    events_inside += calls_inside > 0 ? 1 : 0;
    if (event == EVS_GONE) {
        gone_untold += visit->is_told ? 0 : 1;
        gone++;
        free(visit);
    } else if (event == EVS_STOPPING) {
        assert_false(visit->is_told);
        visit->is_told = true;
        stopping++;
        if (visit->kind & END_WHEN_STOPPING) {
            free(visit);
            evs_end(request);
        }
    } else if (event == EVS_TIMER && (visit->kind & ANSWER_LATER)) {
        free(visit);
        evs_reply(request, 200, "text/plain", "later\n", 6);
    }
}

/* A request whose host does not listen yet, and what its visit will be. */
static evs_request *unheard;
static struct visit *unheard_visit;

static void listen_now(void *arg)
{
    (void)arg;
    evs_on(unheard, on_event, unheard_visit);
}

static void serve(evs_request *request, void *arg)
{
    struct visit *visit = calloc(1, sizeof *visit);
    visit->kind = *(const int *)arg;
    if (visit->kind & LISTEN_LATER) {
        unheard = request;
        unheard_visit = visit;
    } else {
        evs_on(request, on_event, visit);
    }
    if (visit->kind & BEGIN) {
        evs_begin(request, 200, "text/plain", -1);
    }
    if (visit->kind & ANSWER_LATER) {
        evs_after(request, 50);
    }
    begun++;
}

/* Each call of the library is counted while it lasts. */
#define INSIDE(call)                                                                                                   \
    do {                                                                                                               \
        calls_inside++;                                                                                                \
        call;                                                                                                          \
        calls_inside--;                                                                                                \
    } while (0)

/* Everything after which a request is gone. */
static void serve_badly(evs_request *request, void *arg)
{
    int result = 1;
    const char *how = evs_param(request, "how");
    struct visit *visit = calloc(1, sizeof *visit);
    (void)arg;
    INSIDE(evs_on(request, on_event, visit));
    if (strcmp(how, "too-much") == 0) {
        INSIDE(evs_begin(request, 200, NULL, 10));
        INSIDE(result = evs_write(request, "eleven bytes", 11));
    } else if (strcmp(how, "null") == 0) {
        INSIDE(result = evs_write(request, NULL, 1));
    } else {
        for (int i = 0; result >= 0; i++) { /* to a client that does not read, or wants nothing (HEAD) */
            assert_true(i < 10000);
            INSIDE(result = evs_write(request, content, sizeof content));
        }
    }
    INSIDE(result = evs_write(request, "more", 4));
    assert_int_equal(result, -1);
    begun++;
}

static void forget(void)
{
    begun = gone = stopping = gone_untold = calls_inside = events_inside = 0;
}

static void wait_for(atomic_int *number, int value)
{
    for (int i = 0; *number < value; i++) {
        assert_true(i < CLIENT_LIMIT_S * 1000);
        usleep(1000);
    }
}

/* A client that has asked, and whose request is being served. */
static int ask(const char *method_and_path)
{
    char request[256];
    int before = begun;
    int fd = client_connect(host.port);
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: a\r\n\r\n", method_and_path);
    assert_true(client_send(fd, request));
    wait_for(&begun, before + 1);
    return fd;
}

static const struct evs_limits brief = {.size = sizeof brief, .handler_timeout_ms = 50, .stream_timeout_ms = 50};

static void use_routes(void)
{
    static const struct evs_route routes[] = {
        {.route = "GET /hold", .serve = serve, .arg = (void *)(uintptr_t)&hold},
        {.route = "GET /begin", .serve = serve, .arg = (void *)(uintptr_t)&begin},
        {.route = "GET /stream", .serve = serve, .arg = (void *)(uintptr_t)&stream},
        {.route = "GET /ignore", .serve = serve, .arg = (void *)(uintptr_t)&ignore},
        {.route = "GET /later", .serve = serve, .arg = (void *)(uintptr_t)&later},
        {.route = "GET /answer", .serve = serve, .arg = (void *)(uintptr_t)&answer},
        {.route = "GET /half-close", .serve = serve, .arg = (void *)(uintptr_t)&answer, .flags = EVS_HALF_CLOSE},
        {.route = "GET /brief/hold", .serve = serve, .arg = (void *)(uintptr_t)&hold, .limits = &brief},
        {.route = "GET /brief/begin", .serve = serve, .arg = (void *)(uintptr_t)&begin, .limits = &brief},
        {.route = "GET /bad/:how", .serve = serve_badly},
        {.route = NULL},
    };
    forget();
    host.config.routes = routes;
    host_serve();
}

/* Clients that leave. */

static void client_that_closes_while_its_request_waits_is_gone(void **state)
{
    (void)state;
    use_routes();
    for (int i = 0; i < CLIENTS; i++) {
        close(ask(i % 2 == 0 ? "GET /hold" : "GET /begin"));
        wait_for(&gone, i + 1);
    }
    struct evs_stats stats = {.size = sizeof stats};
    for (int i = 0; evserve_stats(host.server, &stats) == 0 && stats.active > 0; i++) {
        assert_true(i < CLIENT_LIMIT_S * 1000);
        usleep(1000);
    }
}

static void client_that_shuts_its_side_is_answered_where_the_route_says_so(void **state)
{
    (void)state;
    char reply[1024];
    use_routes();
    int fd = ask("GET /half-close");
    shutdown(fd, SHUT_WR);
    client_read_all(fd, reply, sizeof reply);
    close(fd);
    assert_string_equal(client_body(reply), "later\n");
    fd = ask("GET /answer");
    shutdown(fd, SHUT_WR);
    assert_int_equal(client_read_all(fd, reply, sizeof reply), 0);
    close(fd);
    assert_int_equal(gone, 1);
}

static void flag_that_does_not_exist_is_refused(void **state)
{
    (void)state;
    static const struct evs_route routes[] = {
        {.route = "GET /", .serve = serve, .flags = EVS_HALF_CLOSE | EVS_STREAM_BODY | 128}, {.route = NULL}};
    host.config.routes = routes;
    host_must_not_start("evserve_config.routes[0]: \"GET /\" has flags that do not exist: 0x83");
}

/* Handlers that are late. */

static void late_handler_is_gone_and_its_client_reads_503(void **state)
{
    (void)state;
    char reply[1024];
    use_routes();
    int fd = ask("GET /brief/hold");
    client_read_until(fd, reply, sizeof reply, "503 Service Unavailable\n");
    assert_non_null(strstr(reply, "HTTP/1.1 503 "));
    assert_null(strstr(reply, "Connection: close"));
    wait_for(&gone, 1);
    assert_true(host_has_logged("route /brief/hold (evserve_config.routes[7]): 503, since its handler did not answer "
                                "within 50 ms (handler_timeout) [client 127.0.0.1:"));
    close(fd);
}

static void say_busy(evs_request *request, int status, void *arg)
{
    (void)arg;
    evs_reply(request, status, "text/plain", "busy\n", 5);
}

static void late_handler_is_gone_before_the_host_sends_its_page(void **state)
{
    (void)state;
    host.config.on_error = say_busy;
    use_routes();
    char reply[1024];
    for (int i = 0; i < 3; i++) {
        int fd = ask("GET /brief/hold");
        client_read_until(fd, reply, sizeof reply, "busy\n");
        assert_non_null(strstr(reply, "HTTP/1.1 503 "));
        assert_string_equal(client_body(reply), "busy\n");
        wait_for(&gone, i + 1);
        close(fd);
    }
}

static void late_handler_of_a_script_is_gone_before_the_host_sends_its_page(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.on_error = say_busy;
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.get('/lua', { handler_timeout = '50ms' }, function()\n"
                                                "    local ok, err = pcall(app.sleep, '1h')\n"
                                                "    app.log('info', 'ended: ' .. tostring(err))\n"
                                                "    error(err, 0)\n"
                                                "end)\n");
    use_routes();
    char reply[1024];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /lua HTTP/1.1\r\nHost: a\r\n\r\n"));
    client_read_until(fd, reply, sizeof reply, "busy\n");
    assert_non_null(strstr(reply, "HTTP/1.1 503 "));
    assert_true(host_has_logged("ended: the client has gone\n"));
    close(fd);
}

static void silent_stream_is_gone_and_its_client_sees_a_cut(void **state)
{
    (void)state;
    char reply[1024];
    use_routes();
    int fd = ask("GET /brief/begin");
    client_read_all(fd, reply, sizeof reply);
    assert_string_equal(client_body(reply), ""); /* not even the last chunk */
    wait_for(&gone, 1);
    assert_true(
        host_has_logged("route /brief/begin (evserve_config.routes[8]): cut, since its stream wrote nothing for "
                        "50 ms (stream_timeout) [client 127.0.0.1:"));
    close(fd);
}

/* When what is said. */

static void begin_sends_the_head_though_no_content_follows(void **state)
{
    (void)state;
    char reply[1024];
    use_routes();
    int fd = ask("GET /begin");
    client_read_until(fd, reply, sizeof reply, "\r\n\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 200 OK\r\n"));
    assert_string_equal(client_body(reply), "");
    close(fd);
    wait_for(&gone, 1);
}

static void gone_never_comes_inside_a_call_of_the_host(void **state)
{
    (void)state;
    static const char *const how[] = {"GET /bad/too-much", "GET /bad/null", "GET /bad/endless", "HEAD /bad/endless"};
    use_routes();
    for (int i = 0; i < 4; i++) {
        int fd = ask(how[i]);
        wait_for(&gone, i + 1);
        close(fd);
    }
    assert_int_equal(events_inside, 0);
}

/* What was asked for when EVS_GONE came; the server's thread writes, the test reads. */
static atomic_int asked, late_events, after_result;
static _Atomic(evs_ticket) late_ticket;

static void ask_when_gone(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event != EVS_GONE) {
        late_events++;
        return;
    }
    after_result = evs_after(request, 1);
    late_ticket = evs_defer(request);
    evs_begin(request, 99, NULL, -1); /* refused, and EVS_GONE would follow */
    after_result = evs_after(request, 1) == after_result ? after_result : 1;
    asked++;
}

static void serve_until_gone(evs_request *request, void *arg)
{
    evs_on(request, ask_when_gone, NULL);
    if (arg != NULL) {
        evs_write(request, "x", 1); /* -1 with HEAD: EVS_GONE comes by itself */
    }
    begun++;
}

static void nothing_that_is_asked_for_at_the_end_outlives_it(void **state)
{
    (void)state;
    static const struct evs_route routes[] = {
        {.route = "GET /hold", .serve = serve_until_gone},
        {.route = "GET /write", .serve = serve_until_gone, .arg = content},
        {.route = "GET /brief", .serve = serve_until_gone, .limits = &brief},
        {.route = "GET /brief/write", .serve = serve_until_gone, .arg = content, .limits = &brief},
        {.route = "GET /next", .serve = serve, .arg = (void *)(uintptr_t)&answer},
        {.route = NULL},
    };
    static const struct {
        const char *request;
        bool closes;
    } ways[] = {{"GET /hold", true},
                {"GET /write", true},
                {"HEAD /write", false},
                {"GET /brief", false},
                {"GET /brief/write", false}};
    forget();
    asked = late_events = 0;
    host.config.routes = routes;
    host_serve();
    for (int i = 0; i < (int)(sizeof ways / sizeof ways[0]); i++) {
        int fd = ask(ways[i].request);
        if (ways[i].closes) {
            close(fd);
        }
        wait_for(&asked, i + 1);
        assert_int_equal(after_result, -EALREADY);
        assert_true(late_ticket == 0);
        host_expect("/next", "later\n"); /* it has the memory of the request that is gone, and a timer */
        if (!ways[i].closes) {
            close(fd);
        }
    }
    assert_int_equal(late_events, 0);
}

/* Stopping. */

static void streams_are_told_once_that_the_server_stops(void **state)
{
    (void)state;
    char reply[1024];
    int fds[CLIENTS];
    use_routes();
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = ask("GET /stream");
    }
    assert_int_equal(stopping, 0);
    evserve_stop(host.server, FOR_EVER_MS);
    assert_int_equal(host_stop(FOR_EVER_MS), 0); /* asked twice, told once */
    assert_int_equal(stopping, CLIENTS);
    assert_int_equal(gone, 0);
    for (int i = 0; i < CLIENTS; i++) {
        client_read_all(fds[i], reply, sizeof reply);
        assert_string_equal(client_body(reply), "0\r\n\r\n"); /* an end in order */
        close(fds[i]);
    }
}

static void what_does_not_end_is_gone_at_the_deadline(void **state)
{
    (void)state;
    use_routes();
    int fds[] = {ask("GET /ignore"), ask("GET /hold"), ask("GET /stream")};
    assert_int_equal(host_stop(100), 2);
    assert_int_equal(stopping, 3);
    assert_int_equal(gone, 2);
    assert_int_equal(gone_untold, 0);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static void host_that_listens_after_the_stop_began_is_told_then(void **state)
{
    (void)state;
    use_routes();
    int fd = ask("GET /later");
    evserve_stop(host.server, FOR_EVER_MS);
    usleep(20000);
    assert_int_equal(stopping, 0);
    assert_int_equal(evserve_post(host.server, listen_now, NULL), 0);
    assert_int_equal(host_stop(FOR_EVER_MS), 0);
    assert_int_equal(stopping, 1);
    close(fd);
}

static void reload_tells_the_requests_of_before(void **state)
{
    (void)state;
    use_routes();
    int ended = ask("GET /stream");
    int kept = ask("GET /ignore");
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    wait_for(&stopping, 2);
    int newer = ask("GET /stream");
    usleep(20000);
    assert_int_equal(stopping, 2);
    assert_int_equal(host_stop(100), 1);
    assert_int_equal(stopping, 3); /* the newer one */
    assert_int_equal(gone, 1);
    close(ended);
    close(kept);
    close(newer);
}

static void threads_tell_their_own_requests(void **state)
{
    (void)state;
    int fds[CLIENTS];
    host.config.reactors = 3;
    use_routes();
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = ask("GET /stream");
    }
    assert_int_equal(host_stop(FOR_EVER_MS), 0);
    assert_int_equal(stopping, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        close(fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(client_that_closes_while_its_request_waits_is_gone),
        HOST_TEST(client_that_shuts_its_side_is_answered_where_the_route_says_so),
        HOST_TEST(flag_that_does_not_exist_is_refused),
        HOST_TEST(late_handler_is_gone_and_its_client_reads_503),
        HOST_TEST(late_handler_is_gone_before_the_host_sends_its_page),
        HOST_TEST(late_handler_of_a_script_is_gone_before_the_host_sends_its_page),
        HOST_TEST(silent_stream_is_gone_and_its_client_sees_a_cut),
        HOST_TEST(begin_sends_the_head_though_no_content_follows),
        HOST_TEST(gone_never_comes_inside_a_call_of_the_host),
        HOST_TEST(nothing_that_is_asked_for_at_the_end_outlives_it),
        HOST_TEST(streams_are_told_once_that_the_server_stops),
        HOST_TEST(what_does_not_end_is_gone_at_the_deadline),
        HOST_TEST(host_that_listens_after_the_stop_began_is_told_then),
        HOST_TEST(reload_tells_the_requests_of_before),
        HOST_TEST(threads_tell_their_own_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
