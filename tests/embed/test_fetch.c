/* evs_fetch(): a route that asks another route of the same server, and what becomes of such requests. */

#include "tests/lib/host.h"

#include <unistd.h>

/* A request that waits for a fetch. */
struct waiting {
    evserve *server;
    evs_ticket ticket;
};

static int done_calls;     /* of those that no request waits for */
static char done_kind[32]; /* of the last one */
static char done_error[256];
static int64_t begun;         /* the last id */
static char start_error[256]; /* of the last start that failed */
static struct evs_fetch_request wanted;
static char url[128];

static void hello(evs_request *request, void *arg)
{
    (void)arg;
    const char *name = evs_header(request, "x-name");
    char text[64];
    int len = snprintf(text, sizeof text, "hello %s", name != NULL ? name : "you");
    assert_int_equal(evs_set_header(request, "X-Made-By", "hello"), 0);
    evs_reply(request, 200, "text/plain", text, (size_t)len);
}

static void echo_body(evs_request *request, void *arg)
{
    size_t len;
    (void)arg;
    const void *data = evs_body(request, &len);
    evs_reply(request, 201, "text/plain", data, len);
}

static void never(evs_request *request, void *arg)
{
    (void)arg;
    (void)evs_defer(request);
}

static void on_answer(const struct evs_fetched *fetched, void *arg)
{
    struct waiting *waiting = arg;
    evs_request *request = evs_find(waiting->server, waiting->ticket);
    if (request != NULL && fetched->status != 0) {
        assert_string_equal(fetched->kind, "");
        assert_string_equal(fetched->error, "");
        assert_true(fetched->header_count > 0 && fetched->headers[fetched->header_count].name == NULL);
        assert_null(evs_fetched_header(fetched, "x-made"));
        const char *made_by = evs_fetched_header(fetched, "x-made-by");
        assert_int_equal(evs_set_header(request, "X-From", made_by != NULL ? made_by : "-"), 0);
        evs_reply(request, fetched->status, "text/plain", fetched->body, fetched->body_len);
    } else if (request != NULL) {
        evs_reply(request, 502, "text/plain", fetched->kind, strlen(fetched->kind));
    }
    free(waiting);
}

static void ask(evs_request *request, void *arg)
{
    struct waiting *waiting = malloc(sizeof *waiting);
    char err[256] = "";
    (void)arg;
    waiting->server = evs_server(request);
    waiting->ticket = evs_defer(request);
    if (evs_fetch(evs_server(request), evs_thread(request), &wanted, on_answer, waiting, err, sizeof err) < 0) {
        free(waiting);
        evs_reply(request, 500, "text/plain", err, strlen(err));
    }
}

static const struct evs_route routes[] = {{.route = "GET /hello", .serve = hello},
                                          {.route = "POST /echo", .serve = echo_body},
                                          {.route = "GET /never", .serve = never},
                                          {.route = "GET /ask", .serve = ask},
                                          {.route = NULL}};

static void begin(unsigned reactors)
{
    host.config.routes = routes;
    host.config.reactors = reactors;
    wanted = (struct evs_fetch_request){.size = sizeof wanted, .url = url};
    done_calls = 0;
    host_serve();
}

static const char *url_of(const char *path)
{
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", host.port, path);
    return url;
}

static void a_route_answers_with_what_another_server_said(void **state)
{
    static const struct evs_field headers[] = {{"X-Name", "world"}, {NULL, NULL}};
    (void)state;
    for (unsigned reactors = 0; reactors < 3; reactors += 2) {
        begin(reactors);
        url_of("/hello");
        wanted.headers = headers;
        for (int i = 0; i < 20; i++) {
            host_expect("/ask", "hello world");
        }
        assert_non_null(strstr(client_get(host.port, "/ask"), "X-From: hello"));
        wanted = (struct evs_fetch_request){
            .size = sizeof wanted, .url = url_of("/echo"), .method = "POST", .body = "some text", .body_len = 9};
        host_expect("/ask", "some text");
        host_stop(1000);
        evserve_free(host.server);
        host.server = NULL;
    }
}

static void failures_have_a_kind(void **state)
{
    (void)state;
    begin(0);
    url_of("/never");
    wanted.timeout_ms = 20;
    host_expect("/ask", "timeout");
    wanted.timeout_ms = 0;
    wanted.url = "http://127.0.0.1:1/";
    host_expect("/ask", "connect");
    wanted.url = "ftp://x/";
    host_expect("/ask", "the URL \"ftp://x/\" does not begin with http://, https:// or http+unix:");
    wanted.url = url_of("/hello");
    wanted.max_body = 3;
    host_expect("/ask", "too large");
    wanted.flags = 4;
    host_expect("/ask", "evs_fetch: flags has a bit that is none of EVS_FETCH_...");
    wanted.url = NULL;
    host_expect("/ask", "evs_fetch: url is NULL");
    wanted.size--;
    host_expect("/ask", "evs_fetch: size is not sizeof(struct evs_fetch_request)");
}

static void note_done(const struct evs_fetched *fetched, void *arg)
{
    (void)arg;
    done_calls++;
    assert_int_equal(fetched->status, 0);
    assert_string_equal(fetched->body, "");
    assert_null(evs_fetched_header(fetched, "Date"));
    snprintf(done_kind, sizeof done_kind, "%s", fetched->kind);
    snprintf(done_error, sizeof done_error, "%s", fetched->error);
}

static void begin_fetch(void *arg)
{
    evserve *server = arg;
    begun = evs_fetch(server, 0, &wanted, note_done, NULL, start_error, sizeof start_error);
}

static void cancel_fetch(void *arg)
{
    evserve *server = arg;
    assert_int_equal(evs_fetch_cancel(server, begun), 0);
    assert_int_equal(evs_fetch_cancel(server, begun), -ENOENT);
    begun = 0;
}

static void a_fetch_belongs_on_its_thread_and_may_be_cancelled(void **state)
{
    char err[256];
    (void)state;
    begin(1);
    url_of("/never");
    assert_int_equal(evs_fetch(host.server, 0, &wanted, note_done, NULL, err, sizeof err), -EPERM);
    assert_non_null(strstr(err, "evserve_post_to()"));
    assert_int_equal(evs_fetch(host.server, 1, &wanted, note_done, NULL, err, sizeof err), -EINVAL);
    assert_int_equal(evs_fetch_cancel(host.server, 0), -ENOENT);
    assert_int_equal(evserve_post(host.server, begin_fetch, host.server), 0);
    assert_int_equal(evserve_post(host.server, cancel_fetch, host.server), 0);
    host_expect("/hello", "hello you");
    host_stop(0);
    assert_int_equal(begun, 0);
    assert_int_equal(done_calls, 0);
}

static void the_end_of_the_server_ends_its_fetches(void **state)
{
    (void)state;
    begin(1);
    url_of("/never");
    assert_int_equal(evserve_post(host.server, begin_fetch, host.server), 0);
    host_expect("/hello", "hello you");
    host_stop(0);
    evserve_free(host.server);
    host.server = NULL;
    assert_true(begun > 0);
    assert_int_equal(done_calls, 1);
    assert_string_equal(done_kind, "closed");
}

static void what_is_denied_is_not_connected_with(void **state)
{
    (void)state;
    char text[128];
    host.config.deny_connect = "private";
    begin(2);
    url_of("/hello");
    snprintf(text, sizeof text, "127.0.0.1:%d is a loopback address: deny_connect denies it", host.port);
    host_expect("/ask", text);
    snprintf(url, sizeof url, "http://localhost:%d/hello", host.port);
    host_expect("/ask", "denied");
    snprintf(url, sizeof url, "http+unix:/run/x.sock:/");
    host_expect("/ask", "unix:/run/x.sock is a unix socket: deny_connect denies it");
    host_stop(1000);
    evserve_free(host.server);
    host.server = NULL;
    host.config.deny_connect = "private, !localhost";
    begin(0);
    snprintf(url, sizeof url, "http://localhost:%d/hello", host.port);
    host_expect("/ask", "hello you");
    host_stop(1000);
    evserve_free(host.server);
    host.server = NULL;
    host.config.deny_connect = "10.0.0.1/8";
    host_must_not_start("evserve_config.deny_connect: \"10.0.0.1/8\" is an address within a network: write 10.0.0.0/8");
    host.config.deny_connect = NULL;
    host.config.allow_connect = "example.org";
    host_must_not_start("evserve_config.allow_connect: \"example.org\": expected HOST:PORT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(a_route_answers_with_what_another_server_said),
        HOST_TEST(failures_have_a_kind),
        HOST_TEST(a_fetch_belongs_on_its_thread_and_may_be_cancelled),
        HOST_TEST(the_end_of_the_server_ends_its_fetches),
        HOST_TEST(what_is_denied_is_not_connected_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
