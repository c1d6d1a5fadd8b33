/* A host whose thread has the least stack: scripts that recurse through C are stopped before its end, on this thread
 * and on one that has a larger stack. Without a script much less will do. */

#include "tests/lib/host.h"

static const char site[] =
    "local app = require 'evserve'\n"
    "app.set { handler_cpu = '30s' }\n"
    "local function gsub() string.gsub('x', 'x', gsub) end\n"
    "app.get('/gsub', function() gsub() end)\n"
    "local function wrap() coroutine.wrap(wrap)() end\n"
    "app.get('/wrap', function() wrap() end)\n"
    "local shown = setmetatable({}, { __tostring = function(self) return string.format('%s', self) end })\n"
    "app.get('/format', function() return string.format('%s', shown) end)\n"
    "local text = ('local function f() '):rep(190) .. ('end '):rep(190)\n"
    "local function parse() assert(load(text)) string.gsub('x', 'x', parse) end\n"
    "app.get('/parse', function() parse() end)\n"
    "app.get('/load', function() return load(text) and 'loaded' end)\n"
    "app.get('/ok', function() return 'ok' end)\n";

/* ThreadSanitizer keeps its own state of a thread on the thread's stack. AddressSanitizer makes frames larger, which
 * only the least stack of all notices. */
#ifdef __SANITIZE_THREAD__
enum { SANITIZER_BYTES = 1024 << 10, FRAME_BYTES = 0 };
#elif defined __SANITIZE_ADDRESS__
enum { SANITIZER_BYTES = 0, FRAME_BYTES = 128 << 10 };
#else
enum { SANITIZER_BYTES = 0, FRAME_BYTES = 0 };
#endif

/* What the header promises for a thread without a script, and the thread-local variables of this program: the client
 * has 64 KiB of them, which the C library takes from each thread's stack. */
enum { PLAIN_BYTES = 64 << 10, LOCAL_BYTES = 68 << 10 };

/* Serve with evserve_wait() on a thread with a stack of so many bytes. */
static void serve_on(size_t stack_bytes)
{
    pthread_attr_t attr;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, stack_bytes), 0);
    assert_int_equal(pthread_create(&host.thread, &attr, host_wait, NULL), 0);
    pthread_attr_destroy(&attr);
    host.is_serving = true;
}

static void check_overflow(const char *path)
{
    assert_non_null(strstr(client_get(host.port, path), " 500 "));
    assert_string_equal(client_body(client_get(host.port, "/ok")), "ok");
}

static void check_answers(void)
{
    check_overflow("/gsub");
    check_overflow("/format");
    check_overflow("/parse");
    assert_string_equal(client_body(client_get(host.port, "/load")), "loaded");
    assert_true(host_has_logged("stack overflow ("));
}

static void thread_with_the_least_stack_serves_scripts_that_recurse(void **state)
{
    (void)state;
    host_needs_lua();
    host.config.script = host_write("site.lua", site);
    host_start(); /* the script is loaded on this thread, whose stack is another one */
    serve_on(EVSERVE_STACK_LEAST + SANITIZER_BYTES);
    check_answers();
    check_overflow("/wrap"); /* with a large stack this takes long, as each level makes a coroutine */
}

static void thread_with_a_large_stack_uses_more_of_it(void **state)
{
    (void)state;
    host_needs_lua();
    if (SANITIZER_BYTES > 0) {
        skip(); /* it takes a minute there, and no second thread is concerned */
    }
    host.config.script = host_write("site.lua", site);
    host_start();
    serve_on(16 << 20);
    check_answers();
    assert_true(host_has_logged("of the 16384 KiB of C stack") || host_has_logged("of the 16380 KiB of C stack"));
}

static void serve_plain(evs_request *request, void *arg)
{
    (void)arg;
    evs_query(request, "a");
    evs_write(request, "plain", 5);
    evs_end(request);
}

static void serve_file(evs_request *request, void *arg)
{
    (void)arg;
    evs_file(request, host.folder, evs_param(request, "path"));
}

static void serve_refused(evs_request *request, void *arg)
{
    (void)arg;
    evs_reply(request, 99, NULL, NULL, 0); /* a long line in the log */
}

static void thread_without_a_script_needs_no_more_than_64_kib(void **state)
{
    (void)state;
    static const struct evs_route routes[] = {{.route = "* /plain", .serve = serve_plain},
                                              {.route = "GET /file/*path", .serve = serve_file},
                                              {.route = "GET /refused", .serve = serve_refused},
                                              {.route = NULL}};
    const struct evs_mount mounts[] = {{.prefix = "/list", .dir = host.folder, .list = 1}, {.prefix = NULL}};
    static const struct {
        const char *request, *expected;
    } cases[] = {
        {"GET /plain?a=%20", " 200 "}, {"POST /plain", " 200 "},
        {"GET /file/a.txt", " 200 "},  {"GET /file/..%2f..%2fa", " 400 "},
        {"GET /refused", " 500 "},     {"GET /list/", " 200 "},
        {"GET /list", " 301 "},        {"GET /list/a.txt", " 200 "},
        {"GET /list/none", " 404 "},   {"DELETE /file/a.txt", " 405 "},
        {"BREW /plain x y", " 400 "},
    };
    host_write("a.txt", "text");
    host.config.routes = routes;
    host.config.mounts = mounts;
    host.config.log_level = EVSERVE_LOG_DEBUG;
    host_start();
    serve_on(PLAIN_BYTES + LOCAL_BYTES + SANITIZER_BYTES + FRAME_BYTES);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char request[256];
        snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nRange: bytes=0-0,2-2\r\n\r\n",
                 cases[i].request);
        const char *answer = client_ask(host.port, request);
        if (strstr(answer, cases[i].expected) == NULL && strstr(answer, " 206 ") == NULL) {
            fail_msg("%s: %.40s", cases[i].request, answer);
        }
    }
    assert_int_equal(evserve_reload(host.server, host.err, sizeof host.err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(thread_with_the_least_stack_serves_scripts_that_recurse),
        HOST_TEST(thread_with_a_large_stack_uses_more_of_it),
        HOST_TEST(thread_without_a_script_needs_no_more_than_64_kib),
    };
    return cmocka_run_group_tests_name("stack", tests, NULL, NULL);
}
