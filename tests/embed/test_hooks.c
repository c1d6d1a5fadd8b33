/* What a host hears of all requests: before they are routed, when nothing fits, when the server sends an error page. */

#include "tests/lib/host.h"

#include <poll.h>
#include <stdatomic.h>

static atomic_int count; /* of what a test counts */

static int start_at_zero(void **state)
{
    atomic_store(&count, 0);
    return host_set_up(state);
}

#define HOOK_TEST(fn) cmocka_unit_test_setup_teardown(fn, start_at_zero, host_tear_down)

static void reply_text(evs_request *request, int status, const char *text)
{
    evs_reply(request, status, "text/plain", text, strlen(text));
}

static void serve_route(evs_request *request, void *arg)
{
    (void)arg;
    reply_text(request, 200, "route");
}

static void serve_abort(evs_request *request, void *arg)
{
    (void)arg;
    evs_abort(request);
}

/* Its texts are its own until it returns, though on_error is called in between, and asks for texts, too. */
static void serve_texts(evs_request *request, void *arg)
{
    (void)arg;
    const char *query = evs_query(request, "text");
    const char *cookie = evs_cookie(request, "c");
    const char *id = evs_param(request, "id");
    evs_abort(request);
    bool are_there = strcmp(query, "a query") == 0 && strcmp(cookie, "cookie") == 0 && strcmp(id, "7") == 0;
    atomic_fetch_add(&count, are_there && evs_query(request, "text") == query ? 100 : 10000);
}

static void note_gone(evs_request *request, int event, void *arg)
{
    (void)request;
    (void)arg;
    atomic_fetch_add(&count, event == EVS_GONE ? 100 : 10000);
}

static void serve_never(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, note_gone, NULL);
    evs_after(request, 100000);
}

static const struct evs_limits no_time = {.size = sizeof no_time, .handler_timeout_ms = 50};
static const struct evs_limits small_body = {.size = sizeof small_body, .max_body = 10};
static const struct evs_route routes[] = {
    {.route = "GET /route/:id", .serve = serve_route},
    {.route = "PUT /small", .serve = serve_route, .limits = &small_body},
    {.route = "GET /abort", .serve = serve_abort},
    {.route = "GET /texts/:id", .serve = serve_texts},
    {.route = "GET /never", .serve = serve_never, .limits = &no_time},
    {.route = NULL},
};

static const char script[] =
    "local app = require 'evserve'\n"
    "local folder = debug.getinfo(1, 'S').source:match('^@(.*)/')\n"
    "app.get('/lua', function() return 'lua' end)\n"
    "app.get('/fail', function() error('x') end)\n"
    "app.get('/own', function() return 'own', { server = 'script', ETag = '\"s\"' } end)\n"
    "app.get('/twice', function() return 'own', { ETag = '1', etag = '2' } end)\n"
    "app.get('/type', function() return 'own', { ['content-type'] = 'x/y' } end)\n"
    "app.get('/own-file', function() return app.file('file.txt', { root = folder, type = 'x/y' }), "
    "{ server = 'script' } end)\n";

/* Routes, a directory with file.txt, and Lua if it is there. */
static void use_site(void)
{
    const char *has_lua = getenv("EVSERVE_LUA");
    host_write("file.txt", "file");
    host.config.root = host.folder;
    host.config.routes = routes;
    if (has_lua == NULL || strcmp(has_lua, "0") != 0) {
        host.config.script = host_write("site.lua", script);
    }
}

static bool has_status(const char *answer, int status)
{
    char line[32];
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    return strncmp(answer, line, strlen(line)) == 0;
}

/* before */

static int ask_password(evs_request *request, void *arg)
{
    (void)arg;
    const char *given = evs_header(request, "Authorization");
    if (given != NULL && strcmp(given, "Basic eW91Om1l") == 0) {
        return 0;
    }
    evs_set_header(request, "WWW-Authenticate", "Basic realm=\"x\"");
    reply_text(request, 401, "who?");
    return 1;
}

static void before_guards_whatever_is_served(void **state)
{
    (void)state;
    static const char *const paths[] = {"/route/7", "/file.txt", "/", "/none", "/small", "/lua"};
    use_site();
    host.config.before = ask_password;
    host_serve();
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const char *answer = client_get(host.port, paths[i]);
        assert_true(has_status(answer, 401));
        assert_non_null(strstr(answer, "\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"));
        assert_string_equal(client_body(answer), "who?");
    }
    assert_string_equal(client_body(
                            client_ask(host.port, "GET /file.txt HTTP/1.0\r\nAuthorization: Basic eW91Om1l\r\n\r\n")),
                        "file");
    assert_string_equal(client_body(
                            client_ask(host.port, "GET /route/7 HTTP/1.0\r\nAuthorization: Basic eW91Om1l\r\n\r\n")),
                        "route");
}

static int add_fields(evs_request *request, void *arg)
{
    (void)arg;
    atomic_fetch_add(&count, 1);
    assert_null(evs_param(request, "id"));
    assert_int_equal(evs_set_header(request, "X-Before", evs_path(request)), 0);
    assert_int_equal(evs_add_header(request, "X-Also", "1"), 0);
    return 0;
}

static void fields_that_before_adds_are_in_every_response(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        const char *path;
        bool is_lua;
    } cases[] = {
        {"GET /route/7 HTTP/1.0\r\n\r\n", 200, "/route/7", false},
        {"GET /abort HTTP/1.0\r\n\r\n", 500, "/abort", false},
        {"PUT /small HTTP/1.0\r\nContent-Length: 11\r\n\r\nhello world", 413, "/small", false},
        {"POST /route/7 HTTP/1.0\r\n\r\n", 405, "/route/7", false},
        {"GET /file.txt HTTP/1.0\r\n\r\n", 200, "/file.txt", false},
        {"HEAD /file.txt HTTP/1.0\r\n\r\n", 200, "/file.txt", false},
        {"GET /file.txt HTTP/1.0\r\nIf-Match: \"x\"\r\n\r\n", 412, "/file.txt", false},
        {"GET /file.txt HTTP/1.0\r\nRange: bytes=1-2\r\n\r\n", 206, "/file.txt", false},
        {"PUT /file.txt HTTP/1.0\r\n\r\n", 405, "/file.txt", false},
        {"GET /none/../none HTTP/1.0\r\n\r\n", 404, "/none", false},
        {"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 204, "*", false},
        {"GET /lua HTTP/1.0\r\n\r\n", 200, "/lua", true},
        {"GET /fail HTTP/1.0\r\n\r\n", 500, "/fail", true},
    };
    use_site();
    host.config.before = add_fields;
    host_serve();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[64];
        if (cases[i].is_lua && host.config.script == NULL) {
            continue;
        }
        atomic_store(&count, 0);
        const char *answer = client_ask(host.port, cases[i].request);
        if (!has_status(answer, cases[i].status)) {
            fail_msg("%s gave %.40s", cases[i].request, answer);
        }
        snprintf(line, sizeof line, "\r\nX-Before: %s\r\n", cases[i].path);
        assert_non_null(strstr(answer, line));
        assert_non_null(strstr(answer, "\r\nX-Also: 1\r\n"));
        assert_int_equal(atomic_load(&count), 1);
    }
}

static int add_single_fields(evs_request *request, void *arg)
{
    (void)arg;
    assert_int_equal(evs_set_header(request, "Server", "host"), 0);
    assert_int_equal(evs_set_header(request, "Content-Type", "h/h"), 0);
    assert_int_equal(evs_set_header(request, "ETag", "\"h\""), 0);
    return 0;
}

static size_t count_of(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strcasestr(at, part)) != NULL; at += strlen(part)) {
        n++;
    }
    return n;
}

static void script_replaces_what_before_has_set_of_a_field_that_is_sent_once(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int status;
        const char *server;
        const char *tag;
        const char *type;
    } cases[] = {
        {"/own", 200, "script", "\"s\"", "text/plain; charset=utf-8"},
        {"/lua", 200, "host", "\"h\"", "text/plain; charset=utf-8"},
        {"/type", 200, "host", "\"h\"", "x/y"},
        {"/own-file", 200, "script", "\"4-", "x/y"},
        {"/twice", 500, "host", NULL, "text/plain; charset=utf-8"},
    };
    use_site();
    host.config.before = add_single_fields;
    if (host.config.script == NULL) {
        skip();
    }
    host_serve();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *answer = client_get(host.port, cases[i].path);
        char line[64];
        if (!has_status(answer, cases[i].status)) {
            fail_msg("%s gave %s", cases[i].path, answer);
        }
        snprintf(line, sizeof line, "server: %s\r\n", cases[i].server);
        assert_int_equal(count_of(answer, line), 1);
        assert_int_equal(count_of(answer, "\nserver:"), 1);
        snprintf(line, sizeof line, "content-type: %s\r\n", cases[i].type);
        assert_int_equal(count_of(answer, line), 1);
        assert_int_equal(count_of(answer, "content-type:"), 1);
        if (cases[i].tag != NULL) {
            snprintf(line, sizeof line, "etag: %s", cases[i].tag);
            assert_int_equal(count_of(answer, line), 1);
            assert_int_equal(count_of(answer, "etag:"), 1);
        }
    }
}

static void before_hears_nothing_of_malformed_requests(void **state)
{
    (void)state;
    use_site();
    host.config.before = add_fields;
    host_serve();
    assert_true(has_status(client_ask(host.port, "nonsense\r\n\r\n"), 400));
    assert_true(has_status(client_get(host.port, "/%zz"), 400));
    assert_true(has_status(client_ask(host.port, "GET / HTTP/1.1\r\n\r\n"), 400));
    assert_int_equal(atomic_load(&count), 0);
}

static void count_one(void *arg)
{
    (void)arg;
    atomic_fetch_add(&count, 1);
}

static void answer_on_timer(evs_request *request, int event, void *arg)
{
    (void)arg;
    if (event == EVS_TIMER) {
        reply_text(request, 403, "later");
    }
}

/* Answers later, or lets it go on with a timer and a done left behind. */
static int decide_later(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, answer_on_timer, NULL);
    evs_on_done(request, count_one, NULL);
    evs_after(request, 1);
    return strcmp(evs_path(request), "/route/7") == 0 || strcmp(evs_path(request), "/lua") == 0 ? 0 : 1;
}

static void wait_for_count(int wanted)
{
    for (int i = 0; i < 6000 && atomic_load(&count) < wanted; i++) {
        poll(NULL, 0, 10);
    }
    assert_int_equal(atomic_load(&count), wanted);
}

static void before_may_answer_later_and_keeps_what_asks_for_the_end(void **state)
{
    (void)state;
    use_site();
    host.config.before = decide_later;
    host_serve();
    host_expect("/file.txt", "later");
    wait_for_count(1);
    host_expect("/route/7", "route");
    wait_for_count(2);
    if (host.config.script != NULL) {
        host_expect("/lua", "lua");
        wait_for_count(3);
    }
}

static int forget_to_answer(evs_request *request, void *arg)
{
    (void)arg;
    return strcmp(evs_path(request), "/none") != 0;
}

static void forget_to_answer_at_all(evs_request *request, void *arg)
{
    (void)request, (void)arg;
}

static void hook_that_never_answers_is_named_in_the_log(void **state)
{
    (void)state;
    host.config.before = forget_to_answer;
    host.config.not_found = forget_to_answer_at_all;
    host.config.handler_timeout_ms = 50;
    host_serve();
    assert_true(has_status(client_get(host.port, "/two"), 503));
    assert_true(has_status(client_get(host.port, "/none"), 503));
    assert_true(host_has_logged("evserve_config.before, for /two: 503, since it returned 1 and did not answer within "
                                "50 ms (handler_timeout) [client 127.0.0.1:"));
    assert_true(host_has_logged("evserve_config.not_found, for /none: 503, since its handler did not answer within "
                                "50 ms (handler_timeout) [client 127.0.0.1:"));
}

static int answer_and_return(evs_request *request, void *arg)
{
    const int *result = arg;
    if (strcmp(evs_path(request), "/answered") == 0) {
        reply_text(request, 403, "answered");
        return *result;
    }
    evs_on(request, answer_on_timer, NULL);
    evs_after(request, 1);
    return *result;
}

static void answer_of_before_counts_whatever_it_returns(void **state)
{
    (void)state;
    static int result;
    host.config.before = answer_and_return;
    host.config.arg = &result;
    host.config.log = NULL;
    host_serve();
    const int results[] = {0, 1, 7, -1};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        result = results[i];
        host_expect("/answered", "answered");
        if (result != 0) {
            host_expect("/later", "later");
        }
    }
}

/* A thread of the host's, which looks the password up somewhere. */
struct lookup {
    evserve *server;
    evs_ticket ticket;
    pthread_t thread;
    atomic_bool is_asked;
};

static void *look_up(void *arg)
{
    struct lookup *lookup = arg;
    evserve_reply_to(lookup->server, lookup->ticket, 403, "text/plain", "looked up", 9);
    return NULL;
}

static int ask_thread(evs_request *request, void *arg)
{
    struct lookup *lookup = arg;
    lookup->server = evs_server(request);
    lookup->ticket = evs_defer(request);
    atomic_store(&lookup->is_asked, pthread_create(&lookup->thread, NULL, look_up, lookup) == 0);
    return 1;
}

static void before_may_leave_the_answer_to_another_thread(void **state)
{
    (void)state;
    static struct lookup lookup;
    use_site();
    host.config.log = NULL;
    host.config.script = NULL;
    host.config.arg = &lookup;
    host.config.before = ask_thread;
    host_serve();
    host_expect("/file.txt", "looked up");
    assert_true(atomic_load(&lookup.is_asked));
    pthread_join(lookup.thread, NULL);
}

static void body_of_a_request_that_before_answers_is_dropped(void **state)
{
    (void)state;
    use_site();
    host.config.before = ask_password;
    host_serve();
    char answers[8192];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "PUT /small HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
                                "GET /file.txt HTTP/1.1\r\nHost: h\r\nAuthorization: Basic eW91Om1l\r\n"
                                "Connection: close\r\n\r\n"));
    client_read_all(fd, answers, sizeof answers);
    close(fd);
    assert_true(has_status(answers, 401));
    assert_non_null(strstr(answers, "\r\n\r\nwho?HTTP/1.1 200 "));
}

/* not_found */

static void serve_lost(evs_request *request, void *arg)
{
    (void)arg;
    assert_null(evs_param(request, "id"));
    if (strcmp(evs_query_string(request), "later") == 0) {
        evs_on(request, answer_on_timer, NULL);
        evs_after(request, 1);
        return;
    }
    reply_text(request, 404, evs_path(request));
}

static void what_nothing_fits_goes_to_not_found(void **state)
{
    (void)state;
    for (int has_root = 0; has_root < 2; has_root++) {
        use_site();
        host.config.root = has_root ? host.folder : NULL;
        host.config.not_found = serve_lost;
        host_serve();
        host_expect("/route/7", "route");
        host_expect("/none", "/none");
        host_expect("/other?later", "later");
        const char *answer = client_ask(host.port, "HEAD /none HTTP/1.0\r\n\r\n");
        assert_true(has_status(answer, 404));
        assert_non_null(strstr(answer, "\r\nContent-Length: 5\r\n"));
        assert_true(has_status(client_ask(host.port, "PUT /route/7 HTTP/1.0\r\n\r\n"), 405));
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void files_of_a_mount_come_before_not_found(void **state)
{
    (void)state;
    host_write("lost.html", "lost");
    const struct evs_field headers[] = {{"X-Mount", "1"}, {NULL, NULL}};
    const struct evs_mount mounts[] = {{.prefix = "/a", .dir = host.folder, .not_found = "lost.html"},
                                       {.prefix = "/b", .dir = host.folder, .fallback = "lost.html"},
                                       {.prefix = "/c", .dir = host.folder, .headers = headers},
                                       {.prefix = NULL}};
    host.config.mounts = mounts;
    host.config.not_found = serve_lost;
    host_serve();
    host_expect("/a/none", "lost");
    host_expect("/b/none", "lost");
    host_expect("/c/none", "/c/none");
    assert_non_null(strstr(client_get(host.port, "/c/none"), "\r\nX-Mount: 1\r\n"));
    host_expect("/d/none", "/d/none");
}

/* on_error */

static void send_error_page(evs_request *request, int status, void *arg)
{
    (void)arg;
    char page[64];
    const char *how = evs_query_string(request);
    (void)evs_query(request, "text");
    int len = snprintf(page, sizeof page, "page of %d", status);
    atomic_fetch_add(&count, 1);
    if (strcmp(how, "none") == 0) {
        evs_after(request, 1);
    } else if (strcmp(how, "abort") == 0) {
        evs_abort(request);
    } else if (strcmp(how, "open") == 0) {
        evs_write(request, page, (size_t)len);
    } else if (strcmp(how, "pieces") == 0) {
        evs_begin(request, status, "text/plain", -1);
        if (evs_write(request, page, (size_t)len) >= 0) {
            evs_end(request);
        }
    } else {
        evs_reply(request, status, "text/plain", page, (size_t)len);
    }
}

static void host_sends_the_pages_of_errors(void **state)
{
    (void)state;
    use_site();
    host.config.on_error = send_error_page;
    host_serve();
    host_expect("/none", "page of 404");
    host_expect("/abort", "page of 500");
    host_expect("/none?pieces", "page of 404");
    const char *answer = client_ask(host.port, "POST /route/7 HTTP/1.0\r\n\r\n");
    assert_true(has_status(answer, 405));
    assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    assert_string_equal(client_body(answer), "page of 405");
    answer = client_ask(host.port, "PUT /small HTTP/1.0\r\nContent-Length: 11\r\n\r\nhello world");
    assert_true(has_status(answer, 413));
    assert_string_equal(client_body(answer), "page of 413");
    answer = client_ask(host.port, "PUT /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "b\r\nhello world\r\n0\r\n\r\n");
    assert_string_equal(client_body(answer), "page of 413");
    answer = client_ask(host.port, "GET /file.txt HTTP/1.0\r\nRange: bytes=9-\r\n\r\n");
    assert_true(has_status(answer, 416));
    assert_string_equal(client_body(answer), "page of 416");
    answer = client_ask(host.port, "BREW /file.txt HTTP/1.0\r\n\r\n");
    assert_true(has_status(answer, 501));
    answer = client_ask(host.port, "HEAD /none?pieces HTTP/1.0\r\n\r\n");
    assert_true(has_status(answer, 404));
    assert_string_equal(client_body(answer), "");
    if (host.config.script != NULL) {
        host_expect("/fail", "page of 500");
    }
}

static void texts_of_a_handler_outlive_the_page_of_its_error(void **state)
{
    (void)state;
    use_site();
    host.config.on_error = send_error_page;
    host_serve();
    const char *answer = client_ask(host.port,
                                    "GET /texts/7?text=a+query HTTP/1.1\r\nHost: h\r\nCookie: c=cookie\r\n\r\n"
                                    "GET /texts/7?text=a+query HTTP/1.0\r\nCookie: c=cookie\r\n\r\n");
    assert_non_null(strstr(answer, "page of 500HTTP/1.1 500 "));
    assert_int_equal(atomic_load(&count), 202);
}

static void without_a_page_of_the_host_the_servers_follows(void **state)
{
    (void)state;
    use_site();
    host.config.on_error = send_error_page;
    host_serve();
    host_expect("/none?none", "404 Not Found\n");
    assert_int_equal(atomic_load(&count), 1);
    host_expect("/none?abort", "500 Internal Server Error\n"); /* the error in on_error is not asked about again */
    assert_int_equal(atomic_load(&count), 2);
    host_expect("/file.txt", "file");
}

static void handler_whose_time_is_over_is_told_also_when_the_host_sends_the_page(void **state)
{
    (void)state;
    use_site();
    host.config.on_error = send_error_page;
    host_serve();
    host_expect("/never", "page of 503");
    assert_int_equal(atomic_load(&count), 101); /* asked once, gone once */
    host_expect("/never?none", "503 Service Unavailable\n");
    assert_int_equal(atomic_load(&count), 202);
    host_expect("/file.txt", "file");
}

static void page_that_stays_open_is_cut_and_said_so(void **state)
{
    (void)state;
    use_site();
    host.config.on_error = send_error_page;
    host_serve();
    const char *answer = client_ask(host.port, "GET /none?open HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_null(strstr(answer, "\r\n0\r\n\r\n"));
    assert_true(host_has_logged("response to /none: on_error: the response must be complete when it returns"));
}

static void malformed_requests_have_the_servers_page(void **state)
{
    (void)state;
    use_site();
    host.config.on_error = send_error_page;
    host_serve();
    assert_non_null(strstr(client_ask(host.port, "nonsense\r\n\r\n"), "\r\n\r\n400 Bad Request\n"));
    assert_non_null(strstr(client_get(host.port, "/%zz"), "\r\n\r\n400 Bad Request\n"));
    assert_non_null(strstr(client_ask(host.port, "PUT /small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                                 "x\r\n"),
                           "\r\n\r\n400 Bad Request\n"));
    assert_int_equal(atomic_load(&count), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(before_guards_whatever_is_served),
        HOOK_TEST(fields_that_before_adds_are_in_every_response),
        HOOK_TEST(script_replaces_what_before_has_set_of_a_field_that_is_sent_once),
        HOOK_TEST(before_hears_nothing_of_malformed_requests),
        HOOK_TEST(before_may_answer_later_and_keeps_what_asks_for_the_end),
        HOOK_TEST(before_may_leave_the_answer_to_another_thread),
        HOOK_TEST(hook_that_never_answers_is_named_in_the_log),
        HOOK_TEST(answer_of_before_counts_whatever_it_returns),
        HOOK_TEST(body_of_a_request_that_before_answers_is_dropped),
        HOOK_TEST(what_nothing_fits_goes_to_not_found),
        HOOK_TEST(files_of_a_mount_come_before_not_found),
        HOOK_TEST(host_sends_the_pages_of_errors),
        HOOK_TEST(texts_of_a_handler_outlive_the_page_of_its_error),
        HOOK_TEST(without_a_page_of_the_host_the_servers_follows),
        HOOK_TEST(handler_whose_time_is_over_is_told_also_when_the_host_sends_the_page),
        HOOK_TEST(page_that_stays_open_is_cut_and_said_so),
        HOOK_TEST(malformed_requests_have_the_servers_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
