/* The end of requests, as a host hears of it: evs_on_done() of one, config.finished of all. */

#include "tests/lib/host.h"

#include <poll.h>
#include <stdatomic.h>

static char told[4096]; /* a line for each outcome, or a word for each evs_on_done() */
static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;

static void tell(const char *text)
{
    pthread_mutex_lock(&told_lock);
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%s", text);
    pthread_mutex_unlock(&told_lock);
}

/* Wait until as many lines or words have been told: they come just after the client has its answer. */
static void wait_for_told(const char *text)
{
    bool is_there = false;
    for (int i = 0; i < 6000 && !is_there; i++) {
        pthread_mutex_lock(&told_lock);
        is_there = strlen(told) >= strlen(text);
        pthread_mutex_unlock(&told_lock);
        poll(NULL, 0, is_there ? 0 : 10);
    }
    assert_string_equal(told, text);
    told[0] = '\0';
}

static int forget(void **state)
{
    told[0] = '\0';
    return host_set_up(state);
}

#define TOLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, forget, host_tear_down)

/* finished */

static const char *const ends[] = {[EVS_END_GONE] = "gone",
                                   [EVS_END_COMPLETE] = "complete",
                                   [EVS_END_TIMEOUT] = "timeout",
                                   [EVS_END_ABORTED] = "aborted",
                                   [EVS_END_STOPPED] = "stopped"};

static _Atomic uint64_t told_bytes;

static void keep_outcome(void *arg, const struct evs_outcome *outcome)
{
    (void)arg;
    char line[512];
    const char *agent = outcome->request == NULL ? "(no head)" : evs_header(outcome->request, "User-Agent");
    assert_int_equal(outcome->size, sizeof *outcome);
    snprintf(line, sizeof line, "%s %s %d %s %s %s %d\n", outcome->method, outcome->target, outcome->status,
             outcome->route == NULL ? "-" : outcome->route, ends[outcome->end], agent == NULL ? "-" : agent,
             strncmp(outcome->peer, "127.0.0.1:", 10) == 0);
    tell(line);
    atomic_fetch_add(&told_bytes, outcome->bytes);
}

static void serve_hello(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 200, "text/plain", "hello", 5);
}

static void serve_nothing(evs_request *request, void *arg)
{
    (void)request;
    atomic_store((atomic_bool *)arg, true);
}

static void answers_of_all_kinds_are_told(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /hello/:name", .serve = serve_hello}, {.route = NULL}};
    host_write("file.txt", "content");
    host.config.routes = routes;
    host.config.root = host.folder;
    host.config.finished = keep_outcome;
    host_serve();
    size_t bytes = 0;
    atomic_store(&told_bytes, 0);
    bytes += strlen(client_ask(host.port, "GET /hello/you?a=1 HTTP/1.0\r\nUser-Agent: me\r\n\r\n"));
    bytes += strlen(client_get(host.port, "/file.txt"));
    bytes += strlen(client_get(host.port, "/none"));
    bytes += strlen(client_ask(host.port, "nonsense\r\n\r\n"));
    wait_for_told("GET /hello/you?a=1 200 /hello/:name complete me 1\n"
                  "GET /file.txt 200 - complete - 1\n"
                  "GET /none 404 - complete - 1\n"
                  "nonsense  400 - complete (no head) 1\n");
    assert_int_equal(atomic_load(&told_bytes), bytes);
}

static atomic_int refusals;

static void ask_for_more(void *arg, const struct evs_outcome *outcome)
{
    (void)arg;
    if (outcome->request != NULL && evs_after(outcome->request, 0) == -EALREADY && evs_defer(outcome->request) == 0) {
        refusals++;
    }
    tell("x");
}

/* The third client leaves before its request is there, so nothing has answered it. */
static void nothing_that_finished_asks_for_outlives_the_request(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET,POST /hello", .serve = serve_hello}, {.route = NULL}};
    host.config.routes = routes;
    host.config.finished = ask_for_more;
    refusals = 0;
    host_serve();
    client_get(host.port, "/hello");
    client_get(host.port, "/none");
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart"));
    close(fd);
    wait_for_told("xxx");
    assert_int_equal(refusals, 3);
    assert_non_null(strstr(client_get(host.port, "/hello"), "hello"));
}

static void lua_routes_are_told_with_their_pattern(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.get('/lua/:id', function() return 'lua' end)\n"
                                                "app.get('/fail', function() error('x') end)\n");
    host.config.finished = keep_outcome;
    host_serve();
    client_get(host.port, "/lua/7");
    client_get(host.port, "/fail");
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
    client_get(host.port, "/lua/8");
    wait_for_told("GET /lua/7 200 /lua/:id complete - 1\n"
                  "GET /fail 500 /fail complete - 1\n"
                  "GET /lua/8 200 /lua/:id complete - 1\n");
}

static void request_that_a_stop_cuts_is_told_in_every_mode(void **state)
{
    (void)state;
    for (unsigned reactors = 0; reactors < 3; reactors++) {
        atomic_bool is_asked = false;
        const struct evs_route routes[] = {{.route = "GET /never", .serve = serve_nothing, .arg = &is_asked},
                                           {.route = NULL}};
        host.config.routes = routes;
        host.config.finished = keep_outcome;
        host.config.reactors = reactors;
        host_serve();
        int fd = client_connect(host.port);
        assert_true(client_send(fd, "GET /never HTTP/1.1\r\nHost: h\r\n\r\n"));
        while (!atomic_load(&is_asked)) {
            poll(NULL, 0, 1);
        }
        host_stop(0);
        close(fd);
        evserve_free(host.server);
        host.server = NULL;
        wait_for_told("GET /never 0 /never stopped - 1\n");
    }
}

/* evs_on_done */

static void say_word(void *arg)
{
    tell(arg);
}

static char one[] = "one ", two[] = "two ", gone[] = "gone ";

static void serve_with_state(evs_request *request, void *arg)
{
    assert_int_equal(evs_on_done(request, say_word, one), 0);
    assert_int_equal(evs_on_done(request, say_word, two), 0);
    serve_hello(request, arg);
}

static void on_event(evs_request *request, int event, void *arg)
{
    if (event == EVS_GONE) {
        tell(arg);
    } else if (event == EVS_TIMER) {
        evs_reply(request, 200, "text/plain", "later", 5);
    }
}

static void serve_later(evs_request *request, void *arg)
{
    evs_on(request, on_event, gone);
    evs_on_done(request, say_word, one);
    if (arg == NULL) {
        evs_after(request, 1);
    } else {
        serve_nothing(request, arg);
    }
}

static void serve_many(evs_request *request, void *arg)
{
    (void)arg;
    assert_int_equal(evs_on_done(request, NULL, one), -EINVAL);
    for (int i = 0; i < EVS_DONE_MAX; i++) {
        assert_int_equal(evs_on_done(request, say_word, one), 0);
    }
    assert_int_equal(evs_on_done(request, say_word, two), -ENOBUFS);
    evs_abort(request);
}

static void done_comes_once_when_the_answer_is_sent(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /now", .serve = serve_with_state},
                                       {.route = "GET /later", .serve = serve_later},
                                       {.route = "GET /many", .serve = serve_many},
                                       {.route = "GET /none", .serve = serve_hello},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    host_expect("/now", "hello");
    wait_for_told("two one ");
    host_expect("/later", "later");
    wait_for_told("one ");
    assert_memory_equal(client_get(host.port, "/many"), "HTTP/1.1 500 ", 13);
    wait_for_told("one one one one one one one one ");
    client_ask(host.port, "GET /now HTTP/1.1\r\nHost: h\r\n\r\nGET /none HTTP/1.1\r\nHost: h\r\n\r\n"
                          "GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    wait_for_told("two one two one ");
}

static void done_comes_after_gone_also_when_the_server_is_freed(void **state)
{
    (void)state;
    atomic_bool is_asked = false;
    const struct evs_route routes[] = {{.route = "GET /later", .serve = serve_later, .arg = &is_asked},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_start();
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n"));
    for (int i = 0; i < 1000 && !atomic_load(&is_asked); i++) {
        assert_int_equal(evserve_poll(host.server, 100), 1);
    }
    assert_string_equal(told, "");
    evserve_free(host.server);
    host.server = NULL;
    close(fd);
    assert_string_equal(told, "gone one ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TOLD_TEST(answers_of_all_kinds_are_told),
        TOLD_TEST(nothing_that_finished_asks_for_outlives_the_request),
        TOLD_TEST(lua_routes_are_told_with_their_pattern),
        TOLD_TEST(request_that_a_stop_cuts_is_told_in_every_mode),
        TOLD_TEST(done_comes_once_when_the_answer_is_sent),
        TOLD_TEST(done_comes_after_gone_also_when_the_server_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
