/* Routes in C: what a request tells, the ways to answer, and what happens meanwhile. */

#include "tests/lib/gzip_texts.h"
#include "tests/lib/host.h"

#include <stdatomic.h>

static void reply_text(evs_request *request, const char *text)
{
    evs_reply(request, 200, "text/plain", text, strlen(text));
}

static void serve_text(evs_request *request, void *arg)
{
    reply_text(request, arg);
}

static char hello[] = "hello";

/* What requests tell. */

static const char *or_none(const char *text)
{
    return text == NULL ? "(none)" : text;
}

static void serve_description(evs_request *request, void *arg)
{
    (void)arg;
    char text[2048], peer[64];
    size_t body_len;
    const char *body = evs_body(request, &body_len);
    const char *name = "", *value = "", *last = "";
    unsigned fields = 0;
    while (evs_header_at(request, fields, &name, &value) != 0) {
        last = name;
        fields++;
    }
    assert_ptr_equal(evs_query(request, "a"), evs_query(request, "a"));
    const char *a = evs_query(request, "a");
    int len = snprintf(text, sizeof text,
                       "%s|%s|%s|%s|id=%s|rest=%s|no=%s|a=%s|b=%s|c d=%s|X-One=%s|X-None=%s|%u,%s|%zu:%.*s|%d",
                       evs_method(request), evs_target(request), evs_path(request), evs_query_string(request),
                       or_none(evs_param(request, "id")), or_none(evs_param(request, "rest")),
                       or_none(evs_param(request, "no")), or_none(a), or_none(evs_query(request, "b")),
                       or_none(evs_query(request, "c d")), or_none(evs_header(request, "x-one")),
                       or_none(evs_header(request, "X-None")), fields, last, body_len, (int)body_len, body,
                       strncmp(evs_peer(request, peer, sizeof peer), "127.0.0.1:", 10) == 0);
    evs_reply(request, 200, "text/plain", text, (size_t)len);
}

static void request_tells_all_it_has(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET,POST /items/x-:id.gz/*rest", .serve = serve_description},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    assert_string_equal(
        client_body(client_ask(host.port,
                               "POST /items/./x-7%20.gz/a/b?a=1%202&b&c+d=x%26y&a=3 HTTP/1.1\r\nHost: h\r\n"
                               "X-One: 1 2 \t\r\nX-one: 3\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody")),
        "POST|/items/./x-7%20.gz/a/b?a=1%202&b&c+d=x%26y&a=3|/items/x-7 .gz/a/b|a=1%202&b&c+d=x%26y&a=3|id=7 |rest=a/b|"
        "no=(none)|a=1 2|b=|c d=x&y|X-One=1 2|X-None=(none)|5,Content-Length|4:body|1");
    assert_string_equal(client_body(client_get(host.port, "/items/x-1.gz/")),
                        "GET|/items/x-1.gz/|/items/x-1.gz/||id=1|rest=|no=(none)|a=(none)|b=(none)|c d=(none)|"
                        "X-One=(none)|X-None=(none)|0,|0:|1");
}

static void texts_of_pipelined_requests_do_not_mix(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /:id", .serve = serve_description}, {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    char answer[4096];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET /long-name?a=long-value HTTP/1.1\r\nHost: h\r\nX-One: 11111\r\n\r\n"
                                "GET /x?b=2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    client_read_all(fd, answer, sizeof answer);
    close(fd);
    assert_non_null(
        strstr(answer, "|id=long-name|rest=(none)|no=(none)|a=long-value|b=(none)|c d=(none)|X-One=11111|"));
    assert_non_null(strstr(answer, "|id=x|rest=(none)|no=(none)|a=(none)|b=2|c d=(none)|X-One=(none)|"));
}

/* Routes. */

static void other_methods_are_405_and_head_comes_from_get(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /hello", .serve = serve_text, .arg = hello},
                                       {.route = "PUT,DELETE /hello", .serve = serve_text, .arg = hello},
                                       {.route = "* /any", .serve = serve_text, .arg = hello},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    host_expect("/hello", "hello");
    const char *answer = client_ask(host.port, "POST /hello HTTP/1.0\r\n\r\n");
    assert_memory_equal(answer, "HTTP/1.1 405 ", 13);
    assert_non_null(strstr(answer, "Allow: GET, HEAD, PUT, DELETE, OPTIONS\r\n"));
    answer = client_ask(host.port, "HEAD /hello HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(answer, "Content-Length: 5\r\n"));
    assert_string_equal(client_body(answer), "");
    assert_string_equal(client_body(client_ask(host.port, "DELETE /hello HTTP/1.0\r\n\r\n")), "hello");
    assert_string_equal(client_body(client_ask(host.port, "PATCH /any HTTP/1.0\r\n\r\n")), "hello");
    assert_memory_equal(client_get(host.port, "/nothing"), "HTTP/1.1 404 ", 13);
}

static void bad_routes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *route, *what;
    } cases[] = {
        {"get /x",
         "evserve_config.routes[1]: \"get /x\": \"get\" is not a method: methods are case-sensitive, write GET"},
        {"GET,CONNECT /x", "CONNECT is for proxies"},
        {"G(T /x", "\"G(T\" is not a method: a method is a token of 1 to 32 characters, such as GET or PROPFIND"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567 /x", "is not a method"},
        {"GET,,PUT /x", "\"\" is not a method"},
        {"GET, /x", "\"\" is not a method"},
        {" /x", "\"\" is not a method"},
        {"/x", "evserve_config.routes[1]: \"/x\" must be methods and a path, as in \"GET /users/:id\""},
        {"GET", "must be methods and a path"},
        {"GET x", "must be methods and a path"},
        {"", "must be methods and a path"},
        {"GET /:a/:a", "evserve_config.routes[1]"},
        {"PUT,GET /hello",
         "evserve_config.routes[1]: route GET /hello is already registered at evserve_config.routes[0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct evs_route routes[] = {{.route = "GET /hello", .serve = serve_text, .arg = hello},
                                           {.route = cases[i].route, .serve = serve_text},
                                           {.route = NULL}};
        host.config.routes = routes;
        host_must_not_start(cases[i].what);
    }
    const struct evs_route flags[] = {{.route = "PUT /", .serve = serve_text, .arg = hello, .flags = 130},
                                      {.route = NULL}};
    host.config.routes = flags;
    host_must_not_start("evserve_config.routes[0]: \"PUT /\" has flags that do not exist: 0x82");
    const struct evs_route routes[] = {{.route = "GET /hello"}, {.route = NULL}};
    host.config.routes = routes;
    host_must_not_start("evserve_config.routes[0]: \"GET /hello\" has no function");
}

static void routes_of_c_and_lua_stand_side_by_side(void **state)
{
    (void)state;
    host_needs_lua();
    const struct evs_route routes[] = {{.route = "GET /c", .serve = serve_text, .arg = hello}, {.route = NULL}};
    host.config.routes = routes;
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.get('/lua', function() return 'lua' end)\n"
                                                "app.post('/c', function() return 'posted' end)\n");
    host_serve();
    host_expect("/c", "hello");
    host_expect("/lua", "lua");
    assert_string_equal(client_body(client_ask(host.port, "POST /c HTTP/1.0\r\n\r\n")), "posted");
    host_stop(0);
    evserve_free(host.server);
    host.config.script = host_write("site.lua", "local app = require 'evserve'\n"
                                                "app.get('/c', function() return 'lua' end)\n");
    host_must_not_start("site.lua:2: route GET /c is already registered at evserve_config.routes[0]");
}

/* Methods. */

static void serve_method_and_body(evs_request *request, void *arg)
{
    (void)arg;
    char text[256];
    size_t len;
    const char *body = evs_body(request, &len);
    int text_len = snprintf(text, sizeof text, "%s %s:%.*s", evs_method(request), evs_param(request, "rest"), (int)len,
                            body);
    assert_ptr_equal(evs_method(request), evs_method(request));
    evs_reply(request, 200, "text/plain", text, (size_t)text_len);
}

static void routes_take_any_method(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "* /any/*rest", .serve = serve_method_and_body},
                                       {.route = "PROPFIND /dav/*rest", .serve = serve_method_and_body},
                                       {.route = "PURGE,GET /dav/*rest", .serve = serve_method_and_body},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    static const struct {
        const char *request, *answer;
    } rows[] = {
        {"PROPFIND /dav/a HTTP/1.1\r\nContent-Length: 2\r\n", "PROPFIND a:ab"},
        {"PURGE /dav/b HTTP/1.1\r\nContent-Length: 2\r\n", "PURGE b:ab"},
        {"GET /dav/b HTTP/1.1\r\n", "GET b:"},
        {"QUERY /any/c HTTP/1.1\r\nContent-Length: 2\r\n", "QUERY c:ab"},
        {"query /any/d HTTP/1.1\r\nContent-Length: 2\r\n", "query d:ab"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456 /any/ HTTP/1.1\r\n", "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456 :"},
        {"OPTIONS /any/ HTTP/1.1\r\n", "OPTIONS :"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char request[256];
        bool has_body = strstr(rows[i].request, "Length") != NULL;
        snprintf(request, sizeof request, "%sHost: a\r\nConnection: close\r\n\r\n%s", rows[i].request,
                 has_body ? "ab" : "");
        assert_string_equal(client_body(client_ask(host.port, request)), rows[i].answer);
    }
    const char *answer = client_ask(host.port, "PUT /dav/a HTTP/1.0\r\n\r\n");
    assert_memory_equal(answer, "HTTP/1.1 405 ", 13);
    assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD, OPTIONS, PROPFIND, PURGE\r\n"));
    assert_memory_equal(client_ask(host.port, "CONNECT /any/a HTTP/1.0\r\n\r\n"), "HTTP/1.1 501 ", 13);
}

/* Header fields. */

static void serve_headers(evs_request *request, void *arg)
{
    (void)arg;
    assert_int_equal(evs_set_header(request, "X-One", "1"), 0);
    assert_int_equal(evs_set_header(request, "X-Other", "o"), 0);
    assert_int_equal(evs_add_header(request, "Set-Cookie", "a=1"), 0);
    assert_int_equal(evs_add_header(request, "set-cookie", "b=2"), 0);
    assert_int_equal(evs_set_header(request, "x-one", "2"), 0);
    assert_int_equal(evs_set_header(request, "X", "x"), 0);
    assert_int_equal(evs_set_header(request, "X-One", "a\r\nb"), -EINVAL);
    assert_int_equal(evs_set_header(request, "X One", "1"), -EINVAL);
    assert_int_equal(evs_set_header(request, "Content-Length", "1"), -EPERM);
    assert_int_equal(evs_add_header(request, "ETag", "\"1\""), 0);
    assert_int_equal(evs_add_header(request, "etag", "\"2\""), -EEXIST);
    assert_int_equal(evs_set_header(request, "Retry-After", "1"), 0);
    assert_int_equal(evs_set_header(request, "Retry-After", "2"), 0);
    evs_reply(request, 201, NULL, NULL, 0);
}

static void header_fields_are_set_in_place_or_added(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /", .serve = serve_headers}, {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    const char *answer = client_get(host.port, "/");
    assert_memory_equal(answer, "HTTP/1.1 201 ", 13);
    assert_non_null(strstr(answer, "\r\nX-Other: o\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nx-one: 2\r\nX: x\r\n"));
    assert_null(strstr(answer, "X-One: 1"));
    assert_non_null(strstr(answer, "\r\nETag: \"1\"\r\nRetry-After: 2\r\n"));
    assert_null(strstr(answer, "etag"));
    assert_null(strstr(answer, "Retry-After: 1"));
}

static void serve_two_types(evs_request *request, void *arg)
{
    assert_int_equal(evs_set_header(request, "content-type", "text/set"), 0);
    evs_reply(request, 200, arg, "x", 1);
}

static char given_type[] = "text/given";

static void type_of_a_reply_takes_the_place_of_the_header(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /given", .serve = serve_two_types, .arg = given_type},
                                       {.route = "GET /set", .serve = serve_two_types},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    const char *answer = client_get(host.port, "/given");
    assert_non_null(strstr(answer, "Content-Type: text/given\r\n"));
    assert_null(strstr(answer, "text/set"));
    assert_non_null(strstr(client_get(host.port, "/set"), "content-type: text/set\r\n"));
}

/* Later. */

static atomic_int gone, timers;

static void on_event(evs_request *request, int event, void *arg)
{
    if (event == EVS_GONE) {
        gone++;
    } else if (event == EVS_TIMER) {
        timers++;
        reply_text(request, arg);
    }
}

static void serve_from_timer(evs_request *request, void *arg)
{
    evs_on(request, on_event, arg);
    assert_int_equal(evs_after(request, 3600000), 0);
    assert_int_equal(evs_after(request, 5), 0); /* moved */
}

static void answer_may_come_from_a_timer(void **state)
{
    (void)state;
    gone = timers = 0;
    const struct evs_route routes[] = {{.route = "GET /", .serve = serve_from_timer, .arg = hello}, {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    char answer[4096];
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.0\r\n\r\n"));
    client_read_all(fd, answer, sizeof answer);
    close(fd);
    assert_int_equal(timers, 2);
    assert_int_equal(gone, 0);
    assert_non_null(strstr(answer, "hello"));
    assert_string_equal(client_body(client_body(answer)), "hello");
}

static void serve_never(evs_request *request, void *arg)
{
    (void)arg;
    evs_on(request, on_event, NULL);
    evs_after(request, 3600000);
}

static void host_is_told_when_the_client_goes(void **state)
{
    (void)state;
    gone = timers = 0;
    const struct evs_route routes[] = {{.route = "GET /", .serve = serve_never}, {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct evs_stats stats = {.size = sizeof stats};
    while (stats.bytes_received == 0) {
        usleep(1000);
        evserve_stats(host.server, &stats);
    }
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(fd);
    while (gone == 0) {
        usleep(1000);
    }
    assert_int_equal(host_stop(60000), 0);
    assert_int_equal(timers, 0);
}

static void host_is_told_when_a_stop_cuts_its_request(void **state)
{
    (void)state;
    gone = 0;
    const struct evs_route routes[] = {{.route = "GET /", .serve = serve_never}, {.route = NULL}};
    host.config.routes = routes;
    host.config.reactors = 2;
    host_start();
    int fd = client_connect(host.port);
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    struct evs_stats stats = {.size = sizeof stats};
    while (stats.bytes_received == 0) {
        usleep(1000);
        evserve_stats(host.server, &stats);
    }
    evserve_stop(host.server, 0);
    assert_int_equal(evserve_wait(host.server), 1);
    assert_int_equal(gone, 1);
    close(fd);
}

/* A job that a thread of the host's finishes. */
struct job {
    evserve *server;
    unsigned thread;
    evs_request *request; /* NULL when it is gone: only the server's thread looks */
    pthread_t server_thread;
};

static void finish_job(void *arg)
{
    struct job *job = arg;
    assert_true(pthread_equal(job->server_thread, pthread_self()));
    if (job->request != NULL) {
        assert_string_equal(evs_header(job->request, "x-n"), evs_param(job->request, "n"));
        assert_string_equal(evs_target(job->request) + 1, evs_param(job->request, "n"));
        reply_text(job->request, evs_param(job->request, "n"));
    }
    free(job);
}

static void *do_job(void *arg)
{
    struct job *job = arg;
    usleep(1000);
    if (evserve_post_to(job->server, job->thread, finish_job, job) < 0) {
        free(job);
    }
    return NULL;
}

static void on_job_event(evs_request *request, int event, void *arg)
{
    (void)request;
    struct job *job = arg;
    if (event == EVS_GONE) {
        job->request = NULL;
    }
}

static void serve_job(evs_request *request, void *arg)
{
    (void)arg;
    struct job *job = malloc(sizeof *job);
    *job = (struct job){evs_server(request), evs_thread(request), request, pthread_self()};
    evs_on(request, on_job_event, job);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, do_job, job), 0);
    pthread_detach(thread);
}

static void answer_may_come_from_another_thread(void **state)
{
    (void)state;
    enum { JOBS = 40 };
    static const struct evs_route routes[] = {{.route = "GET /:n", .serve = serve_job}, {.route = NULL}};
    host.config.routes = routes;
    for (unsigned reactors = 0; reactors < 4; reactors += 3) {
        host.config.reactors = reactors;
        host_serve();
        int fds[JOBS];
        for (int i = 0; i < JOBS; i++) {
            char request[64];
            snprintf(request, sizeof request, "GET /%d HTTP/1.0\r\nX-N: %d\r\n\r\n", i, i);
            fds[i] = client_connect(host.port);
            assert_true(client_send(fds[i], request));
        }
        for (int i = 0; i < JOBS; i++) {
            char answer[1024], number[16];
            snprintf(number, sizeof number, "%d", i);
            client_read_all(fds[i], answer, sizeof answer);
            assert_string_equal(client_body(answer), number);
            close(fds[i]);
        }
        assert_int_equal(evserve_post_to(host.server, reactors == 0 ? 1 : reactors, finish_job, NULL), -EINVAL);
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
    }
}

/* Bodies in pieces. */

struct upload {
    size_t bytes, pieces, waits;
    int end; /* what evs_read() said last */
};

static void read_on(evs_request *request, struct upload *upload)
{
    const void *data;
    size_t len;
    while ((upload->end = evs_read(request, &data, &len)) == EVS_PIECE) {
        upload->pieces++;
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(((const char *)data)[i], 'x');
        }
        upload->bytes += len;
    }
    if (upload->end == EVS_WAIT) {
        upload->waits++;
        return;
    }
    char text[64];
    int text_len = snprintf(text, sizeof text, "%zu", upload->bytes);
    evs_reply(request, upload->end < 0 ? -upload->end : 200, "text/plain", text, (size_t)text_len);
}

static void on_upload_event(evs_request *request, int event, void *arg)
{
    if (event == EVS_DATA) {
        read_on(request, arg);
    }
}

static void serve_upload(evs_request *request, void *arg)
{
    evs_on(request, on_upload_event, arg);
    read_on(request, arg);
}

static void body_is_taken_piece_by_piece(void **state)
{
    (void)state;
    enum { BYTES = 3000000 };
    struct upload upload = {0};
    const struct evs_route routes[] = {
        {.route = "PUT,GET /", .serve = serve_upload, .arg = &upload, .flags = EVS_STREAM_BODY}, {.route = NULL}};
    host.config.routes = routes;
    host.config.max_body = BYTES;
    host_serve();
    char head[256], answer[1024];
    char *body = malloc(BYTES + 1);
    memset(body, 'x', BYTES);
    body[BYTES] = '\0';
    int fd = client_connect(host.port);
    snprintf(head, sizeof head, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
             BYTES);
    assert_true(client_send(fd, head));
    client_read_until(fd, answer, sizeof answer, "100 Continue\r\n\r\n");
    for (int sent = 0; sent < BYTES; sent += BYTES / 100) {
        assert_int_equal(send(fd, body + sent, BYTES / 100, MSG_NOSIGNAL), BYTES / 100);
    }
    client_read_until(fd, answer, sizeof answer, "3000000");
    assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
    assert_true(upload.pieces > 1 && upload.waits > 0);
    assert_int_equal(upload.end, EVS_END);

    upload = (struct upload){0}; /* the connection goes on, without a body */
    assert_true(client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    client_read_all(fd, answer, sizeof answer);
    assert_string_equal(client_body(answer), "0");
    close(fd);

    upload = (struct upload){0};
    assert_memory_equal(client_ask(host.port,
                                   "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\nz"),
                        "HTTP/1.1 400 ", 13);
    assert_int_equal(upload.bytes, 2);
    free(body);
}

static void host_may_refuse_every_body(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "POST /", .serve = serve_text, .arg = hello}, {.route = NULL}};
    host.config.routes = routes;
    host.config.max_body = EVSERVE_ZERO;
    host_serve();
    static const char one_byte[] = "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n1";
    static const char none[] = "POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n";
    assert_memory_equal(client_ask(host.port, one_byte), "HTTP/1.1 413 ", 13);
    assert_string_equal(client_body(client_ask(host.port, none)), "hello");
}

/* Responds with the body, and with the coding that the request names. */
static void serve_body_and_coding(evs_request *request, void *arg)
{
    const void *data = "";
    size_t len = 0;
    const char *coding = evs_header(request, "content-encoding");
    (void)arg;
    assert_int_equal(evs_read(request, &data, &len), EVS_PIECE);
    assert_int_equal(evs_set_header(request, "X-Coding", coding == NULL ? "none" : coding), 0);
    evs_reply(request, 200, "text/plain", data, len);
}

static const char *post_coded(const char *path, const char *coding)
{
    static char answer[1024];
    char head[256];
    int fd = client_connect(host.port);
    snprintf(head, sizeof head,
             "POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Encoding: %s\r\n"
             "Content-Length: %zu\r\n\r\n",
             path, coding, sizeof gzip_hello - 1);
    assert_true(client_send(fd, head));
    assert_int_equal(send(fd, gzip_hello, sizeof gzip_hello - 1, MSG_NOSIGNAL), sizeof gzip_hello - 1);
    client_read_all(fd, answer, sizeof answer);
    close(fd);
    return answer;
}

static void coded_bodies_are_decoded_unless_the_host_keeps_them(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "POST /", .serve = serve_body_and_coding},
                                       {.route = "POST /kept",
                                        .serve = serve_body_and_coding,
                                        .flags = EVS_KEEP_CODING},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    const char *answer = post_coded("/kept", "gzip");
    assert_non_null(strstr(answer, "X-Coding: gzip"));
    assert_memory_equal(client_body(answer), gzip_hello, 3);
    answer = post_coded("/", "compress");
    assert_memory_equal(answer, "HTTP/1.1 415 ", 13);
    if (strstr(answer, "Accept-Encoding: gzip") == NULL) {
        skip(); /* no zlib */
    }
    answer = post_coded("/", "gzip");
    assert_non_null(strstr(answer, "X-Coding: none"));
    assert_string_equal(client_body(answer), "hello, hello, hello\n");
}

/* Files. */

static void serve_file(evs_request *request, void *arg)
{
    assert_int_equal(evs_file(request, "/no/such/directory", "x"), -ENOENT);
    assert_int_equal(evs_set_header(request, "X-Own", "1"), 0);
    assert_int_equal(evs_file(request, arg, evs_param(request, "*")), 0);
}

static void serve_described_file(evs_request *request, void *arg)
{
    static const char *const names[] = {"Accept-Ranges", "Content-Range", "ETag", "Last-Modified"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(evs_set_header(request, names[i], "HOST"), 0);
    }
    assert_int_equal(evs_set_header(request, "Content-Type", "application/x-own"), 0);
    assert_int_equal(evs_file(request, arg, evs_param(request, "*")), 0);
}

static void file_has_the_type_of_the_host_and_all_else_of_its_own(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /files/*", .serve = serve_described_file, .arg = host.folder},
                                       {.route = NULL}};
    host_write("a.txt", "0123456789");
    host.config.routes = routes;
    host_serve();
    static const char *const ranges[] = {"bytes=x", "bytes=1-2", "bytes=1-2,5-6", "bytes=99-"};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        char request[256];
        snprintf(request, sizeof request,
                 "GET /files/a.txt HTTP/1.1\r\nHost: a\r\nRange: %s\r\nConnection: close\r\n\r\n", ranges[i]);
        const char *answer = client_ask(host.port, request);
        assert_null(strstr(answer, "HOST"));
        assert_int_equal(strstr(answer, "Content-Type: application/x-own\r\n") != NULL, i < 3); /* of parts, too */
        assert_null(strstr(answer, "Content-Type: text/plain\r\n"));
    }
}

static void file_is_sent_as_static_files_are(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /files/*", .serve = serve_file, .arg = host.folder},
                                       {.route = NULL}};
    host_write("a.txt", "0123456789");
    host.config.routes = routes;
    host_serve();
    const char *answer = client_get(host.port, "/files/a.txt");
    assert_non_null(strstr(answer, "Content-Type: text/plain"));
    assert_non_null(strstr(answer, "X-Own: 1\r\n"));
    assert_string_equal(client_body(answer), "0123456789");
    answer = client_ask(host.port,
                        "GET /files/a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\nConnection: close\r\n\r\n");
    assert_memory_equal(answer, "HTTP/1.1 206 ", 13);
    assert_string_equal(client_body(answer), "234");
    assert_memory_equal(client_get(host.port, "/files/none"), "HTTP/1.1 404 ", 13);
}

/* Streams. */

enum { STREAM_BYTES = 8 << 20, PIECE = 10000 };

struct stream {
    size_t written; /* bytes so far */
    atomic_int stalls, drains;
};

static void write_on(evs_request *request, struct stream *stream)
{
    static const char piece[PIECE] = {0};
    int rv = 1;
    while (rv > 0 && stream->written < STREAM_BYTES) {
        size_t left = STREAM_BYTES - stream->written;
        rv = evs_write(request, piece, left < PIECE ? left : PIECE);
        assert_true(rv >= 0);
        stream->written += left < PIECE ? left : PIECE;
    }
    if (rv > 0) {
        evs_end(request);
    } else {
        stream->stalls++;
    }
}

static void on_stream_event(evs_request *request, int event, void *arg)
{
    struct stream *stream = arg;
    if (event == EVS_DRAIN) {
        stream->drains++;
        write_on(request, stream);
    }
}

static void serve_stream(evs_request *request, void *arg)
{
    evs_on(request, on_stream_event, arg);
    evs_begin(request, 200, "application/octet-stream", strcmp(evs_path(request), "/sized") == 0 ? STREAM_BYTES : -1);
    write_on(request, arg);
}

static void stream_waits_for_a_client_that_is_behind(void **state)
{
    (void)state;
    static char answer[STREAM_BYTES * 2];
    static const char *const requests[] = {"GET /sized HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                                           "GET /unsized HTTP/1.0\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct stream stream = {0};
        const struct evs_route routes[] = {{.route = "GET /:any", .serve = serve_stream, .arg = &stream},
                                           {.route = NULL}};
        host.config.routes = routes;
        host_serve();
        int fd = client_connect(host.port);
        assert_true(client_send(fd, requests[i]));
        while (stream.stalls == 0) { /* nobody reads */
            usleep(1000);
        }
        client_read_until(fd, answer, 4096, "\r\n\r\n");
        size_t head = (size_t)(client_body(answer) - answer);
        size_t first = strlen(answer); /* content is NUL bytes, so this ends the head */
        assert_int_equal(head, first);
        size_t sum = 0;
        ssize_t got;
        while ((got = recv(fd, answer, sizeof answer, 0)) > 0) {
            sum += (size_t)got;
        }
        assert_true(sum <= STREAM_BYTES && sum > STREAM_BYTES - 8192); /* some came with the head */
        assert_true(stream.drains > 0 && stream.drains == stream.stalls);
        close(fd);
        host_stop(0);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static atomic_int last_write;

static void serve_flood(evs_request *request, void *arg)
{
    (void)arg;
    static const char piece[PIECE] = {0};
    evs_on(request, on_event, NULL);
    int rv = 1;
    while (rv >= 0) {
        rv = evs_write(request, piece, sizeof piece);
    }
    last_write = rv;
}

static void client_that_owes_too_much_is_cut_and_the_host_told(void **state)
{
    (void)state;
    gone = 0;
    last_write = 1;
    const struct evs_route routes[] = {{.route = "GET /", .serve = serve_flood}, {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    client_get(host.port, "/"); /* returns: it was cut */
    assert_int_equal(last_write, -1);
    while (gone == 0) {
        usleep(1000);
    }
}

static void serve_mistake(evs_request *request, void *arg)
{
    (void)arg;
    const char *path = evs_path(request);
    if (strcmp(path, "/nothing") == 0) {
        size_t len;
        assert_null(evs_param(request, NULL));
        assert_null(evs_query(request, NULL));
        assert_null(evs_header(request, NULL));
        assert_int_equal(evs_set_header(request, "X-Copy", evs_header(request, "X-Absent")), -EINVAL);
        assert_int_equal(evs_add_header(request, "X-Copy", NULL), -EINVAL);
        assert_int_equal(evs_set_header(request, NULL, "x"), -EINVAL);
        assert_int_equal(evs_file(request, NULL, "x"), -EINVAL);
        assert_int_equal(evs_file(request, host.folder, evs_query(request, "absent")), -EINVAL);
        assert_non_null(evs_body(request, &len));
        evs_reply(request, 200, NULL, NULL, 0);
    } else if (strcmp(path, "/content") == 0) {
        evs_reply(request, 200, "text/plain", NULL, 5);
    } else if (strcmp(path, "/piece") == 0) {
        assert_int_equal(evs_write(request, NULL, 0), 1);
        assert_int_equal(evs_write(request, NULL, 5), -1);
    } else if (strcmp(path, "/status") == 0) {
        evs_reply(request, 999, "text/plain", "x", 1);
    } else if (strcmp(path, "/low") == 0) {
        evs_begin(request, 100, NULL, -1);
    } else if (strcmp(path, "/type") == 0) {
        evs_reply(request, 200, "text/plain\r\nX-Injected: 1", "x", 1);
    } else {
        evs_begin(request, 200, "text/plain", -1);
        evs_write(request, "some", 4);
        assert_int_equal(evs_set_header(request, "X-Late", "1"), -EALREADY);
        assert_int_equal(evs_add_header(request, "X-Late", "1"), -EALREADY);
        evs_reply(request, 200, "text/plain", "again", 5);
    }
}

static void mistakes_of_a_host_end_the_request_and_are_logged(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /:any", .serve = serve_mistake}, {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    assert_memory_equal(client_get(host.port, "/status"), "HTTP/1.1 500 ", 13);
    assert_memory_equal(client_get(host.port, "/low"), "HTTP/1.1 500 ", 13);
    assert_memory_equal(client_get(host.port, "/nothing?a=1"), "HTTP/1.1 200 ", 13);
    assert_memory_equal(client_get(host.port, "/content"), "HTTP/1.1 500 ", 13);
    assert_null(strstr(client_ask(host.port, "GET /piece HTTP/1.1\r\nHost: a\r\n\r\n"), "\r\n0\r\n"));
    const char *answer = client_get(host.port, "/type");
    assert_memory_equal(answer, "HTTP/1.1 500 ", 13);
    assert_null(strstr(answer, "X-Injected"));
    answer = client_ask(host.port, "GET /twice HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
    assert_null(strstr(answer, "again"));
    assert_null(strstr(answer, "\r\n0\r\n"));
    host_stop(0);
    assert_true(
        host_has_logged("route /:any (evserve_config.routes[0]): evs_reply: the status is not between 200 and 599"));
    assert_true(host_has_logged("evs_reply: the response has already begun"));
    assert_true(host_has_logged("evs_reply: the content is NULL"));
    assert_true(host_has_logged("evs_write: the content is NULL"));
}

static void serve_ends(evs_request *request, void *arg)
{
    (void)arg;
    const char *path = evs_path(request);
    if (strcmp(path, "/end") == 0) {
        evs_end(request);
    } else if (strcmp(path, "/abort") == 0) {
        evs_abort(request);
    } else if (strcmp(path, "/short") == 0) {
        evs_begin(request, 200, NULL, 10);
        evs_write(request, "12345", 5);
        evs_end(request);
    } else {
        evs_write(request, "some", 4);
        evs_abort(request);
    }
}

enum { WRITES_MAX = 1000000 }; /* more than a host comes to that is told that nobody wants them */

static atomic_int unwanted_writes;

static void on_endless_event(evs_request *request, int event, void *arg)
{
    (void)request;
    if (event == EVS_GONE) {
        atomic_fetch_add((atomic_int *)arg, 1);
    }
}

static void serve_endless(evs_request *request, void *arg)
{
    evs_on(request, on_endless_event, arg);
    int writes = 1;
    while (writes < WRITES_MAX && evs_write(request, "again\n", 6) == 1) {
        writes++;
    }
    atomic_store(&unwanted_writes, writes);
}

static void stream_without_an_end_ends_at_once_for_head(void **state)
{
    (void)state;
    atomic_int ends = 0;
    const struct evs_route routes[] = {{.route = "GET /endless", .serve = serve_endless, .arg = &ends},
                                       {.route = "GET /hello", .serve = serve_text, .arg = hello},
                                       {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    const char *answer = client_ask(host.port, "HEAD /endless HTTP/1.1\r\nHost: a\r\n\r\n"
                                               "GET /hello HTTP/1.0\r\n\r\n");
    assert_memory_equal(answer, "HTTP/1.1 200 ", 13);
    assert_null(strstr(answer, "again"));
    assert_non_null(strstr(answer, "hello")); /* the connection goes on */
    assert_int_equal(atomic_load(&unwanted_writes), 1);
    assert_int_equal(atomic_load(&ends), 1);
}

static void ends_of_all_kinds(void **state)
{
    (void)state;
    const struct evs_route routes[] = {{.route = "GET /:any", .serve = serve_ends}, {.route = NULL}};
    host.config.routes = routes;
    host_serve();
    assert_memory_equal(client_get(host.port, "/end"), "HTTP/1.1 204 ", 13);
    assert_memory_equal(client_get(host.port, "/abort"), "HTTP/1.1 500 ", 13);
    const char *cut = client_ask(host.port, "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_memory_equal(cut, "HTTP/1.1 200 ", 13);
    assert_null(strstr(cut, "\r\n0\r\n"));
    cut = client_ask(host.port, "GET /short HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(client_body(cut), "12345");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(request_tells_all_it_has),
        HOST_TEST(texts_of_pipelined_requests_do_not_mix),
        HOST_TEST(other_methods_are_405_and_head_comes_from_get),
        HOST_TEST(bad_routes_are_named),
        HOST_TEST(routes_of_c_and_lua_stand_side_by_side),
        HOST_TEST(routes_take_any_method),
        HOST_TEST(header_fields_are_set_in_place_or_added),
        HOST_TEST(type_of_a_reply_takes_the_place_of_the_header),
        HOST_TEST(answer_may_come_from_a_timer),
        HOST_TEST(host_is_told_when_the_client_goes),
        HOST_TEST(host_is_told_when_a_stop_cuts_its_request),
        HOST_TEST(answer_may_come_from_another_thread),
        HOST_TEST(body_is_taken_piece_by_piece),
        HOST_TEST(host_may_refuse_every_body),
        HOST_TEST(coded_bodies_are_decoded_unless_the_host_keeps_them),
        HOST_TEST(file_is_sent_as_static_files_are),
        HOST_TEST(file_has_the_type_of_the_host_and_all_else_of_its_own),
        HOST_TEST(stream_waits_for_a_client_that_is_behind),
        HOST_TEST(client_that_owes_too_much_is_cut_and_the_host_told),
        HOST_TEST(stream_without_an_end_ends_at_once_for_head),
        HOST_TEST(ends_of_all_kinds),
        HOST_TEST(mistakes_of_a_host_end_the_request_and_are_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
