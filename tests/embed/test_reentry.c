/* Calls of the library from inside of its own callbacks: each ends, with an error that says why where it cannot do what
 * it is asked. */

#include "tests/lib/host.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static evserve *other;    /* a second server, of the tests that need one */
static atomic_int result; /* what a route was answered by the library, as a number */

static void reply_with_result(evs_request *request, int got)
{
    char text[32];
    result = got;
    snprintf(text, sizeof text, "%d", got);
    evs_reply(request, 200, "text/plain", text, strlen(text));
}

static void serve_poll(evs_request *request, void *arg)
{
    (void)arg;
    reply_with_result(request, evserve_poll(evs_server(request), -1));
}

static void serve_wait(evs_request *request, void *arg)
{
    (void)arg;
    reply_with_result(request, evserve_wait(evs_server(request)));
}

static void serve_free(evs_request *request, void *arg)
{
    (void)arg;
    evserve_free(evs_server(request));
    evs_reply(request, 200, "text/plain", "alive", 5);
}

static const struct evs_route routes[] = {{.route = "GET /poll", .serve = serve_poll},
                                          {.route = "GET /wait", .serve = serve_wait},
                                          {.route = "GET /free", .serve = serve_free},
                                          {.route = NULL}};

static void expect_number(const char *path, int number)
{
    char text[32];
    snprintf(text, sizeof text, "%d", number);
    host_expect(path, text);
}

static void server_does_not_run_in_its_own_callback(void **state)
{
    (void)state;
    host.config.routes = routes;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        host.config.reactors = reactors;
        host_serve();
        expect_number("/poll", reactors == 0 ? -EBUSY : -EINVAL);
        expect_number("/wait", -EBUSY);
        host_stop(60000);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void server_is_not_freed_in_its_own_callback(void **state)
{
    (void)state;
    host.config.routes = routes;
    for (unsigned reactors = 0; reactors < 2; reactors++) {
        host.config.reactors = reactors;
        host.log[0] = '\0';
        host_serve();
        host_expect("/free", "alive");
        host_expect("/free", "alive");
        assert_true(host_has_logged("evserve_free() was called while the server is running"));
        host_stop(60000);
        evserve_free(host.server);
        host.server = NULL;
    }
}

/* A request that waits when the server is freed. */

static evs_request *waiting;

static void call_server_at_its_end(evs_request *request, int event, void *arg)
{
    (void)arg;
    assert_int_equal(event, EVS_GONE);
    result = evserve_poll(evs_server(request), 0);
    assert_int_equal(evserve_wait(evs_server(request)), -EBUSY);
    evserve_free(evs_server(request));
    waiting = NULL;
}

static void serve_late(evs_request *request, void *arg)
{
    (void)arg;
    waiting = request;
    evs_on(request, call_server_at_its_end, NULL);
}

static void server_does_not_run_while_it_is_freed(void **state)
{
    (void)state;
    static const struct evs_route late[] = {{.route = "GET /", .serve = serve_late}, {.route = NULL}};
    host.config.routes = late;
    host_start();
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.0\r\n\r\n"));
    while (waiting == NULL) {
        assert_int_equal(evserve_poll(host.server, -1), 1);
    }
    evserve_free(host.server);
    host.server = NULL;
    assert_null(waiting);
    assert_int_equal(result, -EBUSY);
    assert_true(host_has_logged("evserve_free() was called while the server is running"));
    close(fd);
}

/* The script's start polls the server that loads it: the thread that reloads has the loop for so long. */
static int poll_while_loading(struct lua_State *L, void *arg)
{
    (void)L;
    (void)arg;
    result = host.server == NULL ? 0 : evserve_poll(host.server, -1);
    return 0;
}

static void server_does_not_run_while_its_script_is_loaded(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.script = host_write("site.lua", "");
    host.config.lua_init = poll_while_loading;
    host_start();
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    assert_int_equal(result, -EBUSY);
}

/* Two servers, each on a thread of its own, reload each other. */

static atomic_int meeting; /* handlers that have begun */

static void serve_reload(evs_request *request, void *arg)
{
    char err[EVSERVE_ERROR_MAX];
    evserve **whom = arg;
    meeting++;
    while (meeting < 2) {
        sched_yield();
    }
    reply_with_result(request, evserve_reload(*whom, err, sizeof err));
}

static const struct evs_route to_other[] = {{.route = "GET /", .serve = serve_reload, .arg = &other}, {.route = NULL}};
static const struct evs_route to_host[] = {{.route = "GET /", .serve = serve_reload, .arg = &host.server},
                                           {.route = NULL}};

static void *ask_other(void *arg)
{
    const int *port = arg;
    assert_string_equal(client_body(client_get(*port, "/")), "0");
    return NULL;
}

static void servers_reload_each_other_in_handlers(void **state)
{
    (void)state;
    struct evserve_config config = host.config;
    config.routes = to_host;
    config.reactors = 1;
    host.config.routes = to_other;
    host.config.reactors = 1;
    host_start();
    other = evserve_start(&config, host.err, sizeof host.err);
    assert_non_null(other);
    int port = evserve_port(other, 0);
    for (int round = 0; round < 50; round++) {
        pthread_t asking;
        meeting = 0;
        assert_int_equal(pthread_create(&asking, NULL, ask_other, &port), 0);
        host_expect("/", "0");
        pthread_join(asking, NULL);
    }
    evserve_free(other);
    other = NULL;
}

/* A callback that never returns. The end of its thread unwinds the stack in the same way as an exception of C++ does;
 * with musl it does not unwind. */

static void *poll_once(void *arg)
{
    (void)arg;
    while (evserve_poll(host.server, -1) == 1) {
    }
    return NULL;
}

static void exit_thread(void *arg)
{
    (void)arg;
    pthread_exit(NULL);
}

static void count_call(void *arg)
{
    int *calls = arg;
    (*calls)++;
}

static void server_whose_loop_was_unwound_has_ended(void **state)
{
    (void)state;
    pthread_t thread;
    int calls = 0;
#if !defined __GLIBC__
    skip();
#endif
    host_start();
    assert_int_equal(evserve_post(host.server, exit_thread, NULL), 0);
    assert_int_equal(evserve_post(host.server, count_call, &calls), 0);
    assert_int_equal(pthread_create(&thread, NULL, poll_once, NULL), 0);
    pthread_join(thread, NULL);
    assert_true(host_has_logged("unwound the event loop of the server"));
    assert_int_equal(evserve_poll(host.server, -1), -ENOTRECOVERABLE);
    assert_int_equal(evserve_wait(host.server), -ENOTRECOVERABLE);
    assert_int_equal(evserve_post(host.server, count_call, &calls), -ESHUTDOWN);
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), -ESHUTDOWN);
    assert_int_equal(calls, 0);
    evserve_free(host.server);
    host.server = NULL;
    assert_int_equal(calls, 1); /* what was accepted is called */
}

/* The thread is gone as if it had never been there: its stack is not unwound, as with musl. */
static void end_without_unwinding(void *arg)
{
    (void)arg;
    syscall(SYS_exit, 0);
}

static void server_whose_thread_has_vanished_can_be_freed(void **state)
{
    (void)state;
#if defined __SANITIZE_THREAD__ || !defined __GLIBC__ /* pthread_join(3) of TSan and musl waits for pthread_exit(3) */
    skip();
#endif
    host.config.reactors = 1;
    host_start();
    assert_int_equal(evserve_post(host.server, end_without_unwinding, NULL), 0);
    evserve_free(host.server);
    host.server = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(server_does_not_run_in_its_own_callback),
        HOST_TEST(server_is_not_freed_in_its_own_callback),
        HOST_TEST(server_does_not_run_while_it_is_freed),
        HOST_TEST(server_does_not_run_while_its_script_is_loaded),
        HOST_TEST(servers_reload_each_other_in_handlers),
        HOST_TEST(server_whose_loop_was_unwound_has_ended),
        HOST_TEST(server_whose_thread_has_vanished_can_be_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
