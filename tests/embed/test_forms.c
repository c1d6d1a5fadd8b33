/* Names and values that a request brings: queries, cookies, forms. */

#include "tests/lib/host.h"

#include "tests/lib/fake_mem.h"

typedef int at_fn(evs_request *request, unsigned index, const char **name, const char **value);

/* Append all pairs to text as [name=value]. */
static void put_pairs(evs_request *request, at_fn *at, char *text, size_t size)
{
    const char *name, *value;
    for (unsigned i = 0; at(request, i, &name, &value) == 1; i++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "[%s=%s]", name, value);
    }
}

static const char *or_none(const char *text)
{
    return text == NULL ? "(none)" : text;
}

/* All pairs of the query, the cookies or the form, and the values of "a" and of "none". */
static void serve_pairs(evs_request *request, void *arg)
{
    (void)arg;
    static const struct {
        const char *path;
        at_fn *at;
        const char *(*find)(evs_request *request, const char *name);
    } kinds[] = {
        {"/query", evs_query_at, evs_query},
        {"/cookies", evs_cookie_at, evs_cookie},
        {"/form", evs_form_at, evs_form},
    };
    char text[4096] = "";
    size_t kind = 0;
    while (strcmp(evs_path(request), kinds[kind].path) != 0) {
        kind++;
    }
    put_pairs(request, kinds[kind].at, text, sizeof text);
    const char *name = "unchanged", *value = name;
    assert_int_equal(kinds[kind].at(request, 10000, &name, &value), 0);
    assert_string_equal(name, "unchanged");
    assert_ptr_equal(kinds[kind].find(request, "a"), kinds[kind].find(request, "a"));
    assert_null(kinds[kind].find(request, NULL));
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, " a=%s none=%s", or_none(kinds[kind].find(request, "a")),
             or_none(kinds[kind].find(request, "none")));
    if (kind == 2) {
        used = strlen(text);
        snprintf(text + used, sizeof text - used, " %d %s", evs_form_count(request), or_none(evs_body_error(request)));
    }
    evs_reply(request, 200, NULL, text, strlen(text));
}

static const struct evs_route routes[] = {{.route = "GET,POST /:any", .serve = serve_pairs}, {.route = NULL}};

static const char *ask_with(const char *path, const char *fields)
{
    char request[2048];
    snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n%s\r\n", path, fields);
    return client_body(client_ask(host.port, request));
}

static void query_is_told_pair_by_pair(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_serve();
    assert_string_equal(ask_with("/query?b=1+2&a=%C3%A9&&a=2&c&=d&%61b=x%26y", ""),
                        "[b=1 2][a=\xc3\xa9][a=2][c=][=d][ab=x&y] a=\xc3\xa9 none=(none)");
    assert_string_equal(ask_with("/query", ""), " a=(none) none=(none)");
    assert_string_equal(ask_with("/query?", ""), " a=(none) none=(none)");
    assert_string_equal(ask_with("/query?a%00b=1&a=x%00y", ""), "[a=1][a=x] a=x none=(none)");
}

static void cookies_are_told_as_they_were_sent(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_serve();
    assert_string_equal(ask_with("/cookies", "Cookie: a=1%20; b=\"2\";c ; =x; a=3 \r\nX: y\r\ncookie: d==;A=4\r\n"),
                        "[a=1%20][b=\"2\"][a=3][d==][A=4] a=1%20 none=(none)");
    assert_string_equal(ask_with("/cookies", ""), " a=(none) none=(none)");
    assert_string_equal(ask_with("/cookies", "Cookie: ;;\r\n"), " a=(none) none=(none)");
}

/* The texts of a request are its own, also when several come at once. */
static void pairs_of_pipelined_requests_do_not_mix(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_serve();
    const char *answer = client_ask(host.port, "GET /query?a=first HTTP/1.1\r\nHost: h\r\n\r\n"
                                               "GET /query HTTP/1.1\r\nHost: h\r\n\r\n"
                                               "GET /cookies?a=1 HTTP/1.1\r\nHost: h\r\nCookie: b=2\r\n\r\n"
                                               "GET /query?b=last HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(answer, "\r\n\r\n[a=first] a=first none=(none)HTTP/1.1"));
    assert_non_null(strstr(answer, "\r\n\r\n a=(none) none=(none)HTTP/1.1"));
    assert_non_null(strstr(answer, "\r\n\r\n[b=2] a=(none) none=(none)HTTP/1.1"));
    assert_non_null(strstr(answer, "\r\n\r\n[b=last] a=(none) none=(none)"));
}

/* Forms. */

static const char *post(const char *type, const char *body)
{
    char request[8192];
    snprintf(request, sizeof request, "POST /form HTTP/1.0\r\n%s%s%sContent-Length: %zu\r\n\r\n%s",
             type == NULL ? "" : "Content-Type: ", type == NULL ? "" : type, type == NULL ? "" : "\r\n", strlen(body),
             body);
    return client_body(client_ask(host.port, request));
}

static const char urlencoded[] = "application/x-www-form-urlencoded";
static const char multipart[] = "multipart/form-data; boundary=B";

static void urlencoded_form_is_decoded(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_serve();
    assert_string_equal(post(urlencoded, "b=1+2&a=%41&a=x&c"), "[b=1 2][a=A][a=x][c=] a=A none=(none) 4 (none)");
    assert_string_equal(post("Application/X-WWW-form-urlencoded; charset=utf-8", "a=1"),
                        "[a=1] a=1 none=(none) 1 (none)");
    assert_string_equal(post(urlencoded, ""), " a=(none) none=(none) 0 (none)");
}

static void multipart_form_is_the_same(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_serve();
    assert_string_equal(post(multipart, "--B\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n1\r\n2\r\n"
                                        "--B\r\nContent-Disposition: form-data; name=a; filename=x.txt\r\n"
                                        "Content-Type: text/plain\r\n\r\nfile\r\n--\r\n"
                                        "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--B--\r\n"),
                        "[b=1\r\n2][a=file\r\n--][a=] a=file\r\n-- none=(none) 3 (none)");
}

static void body_that_is_no_form_is_a_status_with_a_reason(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_serve();
    static const char none[] = "the request body must be application/x-www-form-urlencoded or multipart/form-data";
    static const struct {
        const char *type, *body;
        int status;
        const char *reason;
    } cases[] = {
        {NULL, "a=1", -415, none},
        {"application/json", "a=1", -415, none},
        {"multipart/form-data", "", -400, "the Content-Type has no boundary, or an invalid one"},
        {multipart, "", -400, "the body ends before its last boundary"},
        {multipart, "--B\r\n\r\n\r\n--B--", -400, "a part without a name"},
        {multipart, "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--B", -400,
         "the body ends before its last boundary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expected[256];
        snprintf(expected, sizeof expected, " a=(none) none=(none) %d %s", cases[i].status, cases[i].reason);
        assert_string_equal(post(cases[i].type, cases[i].body), expected);
    }
}

static void form_has_at_most_1000_fields(void **state)
{
    (void)state;
    enum { FIELDS = 1000 };
    char body[2 * FIELDS + 2];
    host.config.routes = routes;
    host_serve();
    for (int i = 0; i <= FIELDS; i++) {
        memcpy(body + 2 * i, "x&", 2);
    }
    body[2 * FIELDS] = '\0';
    assert_non_null(strstr(post(urlencoded, body), "[x=][x=]"));
    assert_non_null(strstr(post(urlencoded, body), " 1000 (none)"));
    body[2 * FIELDS] = 'x';
    body[2 * FIELDS + 1] = '\0';
    assert_string_equal(post(urlencoded, body), " a=(none) none=(none) -413 the form has more than 1000 fields");
}

static void serve_form_of_stream(evs_request *request, void *arg)
{
    (void)arg;
    const char *name, *value;
    assert_int_equal(evs_form_count(request), -EINVAL);
    assert_null(evs_form(request, "a"));
    assert_int_equal(evs_form_at(request, 0, &name, &value), 0);
    evs_reply(request, 200, NULL, "still there", 11);
}

static void form_of_a_streaming_route_is_a_mistake(void **state)
{
    (void)state;
    static const struct evs_route streaming[] = {
        {.route = "POST /form", .serve = serve_form_of_stream, .flags = EVS_STREAM_BODY}, {.route = NULL}};
    host.config.routes = streaming;
    host_serve();
    assert_string_equal(post(urlencoded, "a=1"), "still there");
    host_stop(0);
    assert_true(host_has_logged("route /form (evserve_config.routes[0]): evs_form: the route has EVS_STREAM_BODY: "
                                "use evs_part_next() or evs_read()"));
}

/* Work. */

/* A client chooses how many names there are: asking for each of them must not go through all that it sent. */
static void serve_many(evs_request *request, void *arg)
{
    (void)arg;
    const char *name, *value, *first = evs_query(request, "a"), *before = first;
    uint64_t calls = fake_mem_calls();
    unsigned count = 0;
    for (; evs_query_at(request, count, &name, &value) == 1; count++) {
        assert_true(count == 0 || name == before + 1); /* they lie one behind the other */
        assert_string_equal(name, "a");
        before = value;
    }
    assert_ptr_equal(evs_query(request, "a"), first);
    assert_int_equal(fake_mem_calls(), calls);
    char text[16];
    int len = snprintf(text, sizeof text, "%u", count);
    evs_reply(request, 200, NULL, text, (size_t)len);
}

static void many_names_are_taken_apart_once(void **state)
{
    (void)state;
    enum { NAMES = 4000 };
    static const struct evs_route many[] = {{.route = "GET /", .serve = serve_many}, {.route = NULL}};
    static char request[2 * NAMES + 100];
    host.config.routes = many;
    host_serve();
    strcpy(request, "GET /?");
    for (int i = 0; i < NAMES; i++) {
        strcpy(request + 6 + 2 * i, "a&");
    }
    strcpy(request + 6 + 2 * NAMES, " HTTP/1.0\r\n\r\n");
    assert_string_equal(client_body(client_ask(host.port, request)), "4000");
}

/* Short memory. */

static void serve_all(evs_request *request, void *arg)
{
    (void)arg;
    struct evs_part part = {.size = sizeof part};
    (void)evs_query(request, "a");
    (void)evs_cookie(request, "a");
    int count = evs_form_count(request);
    assert_true(count == 1 || count == -503);
    int rv = evs_part_next(request, &part);
    assert_true(rv == EVS_PART || rv == -503);
    evs_reply(request, count < 0 || rv < 0 ? 503 : 200, NULL, NULL, 0);
}

/* Ask over a connection of its own, with the n-th allocation failing. Returns whether it did. */
static bool ask_without_memory(uint64_t n)
{
    char answer[1024];
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_true(client_send(client_prepare(pair[0]),
                            "POST /?a=1 HTTP/1.0\r\nCookie: a=1\r\nContent-Length: 57\r\n"
                            "Content-Type: multipart/form-data; boundary=B\r\n\r\n"
                            "--B\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n--B--\r\n"));
    assert_int_equal(evserve_adopt(host.server, pair[1]), 0);
    fake_mem_fail_after(n, false);
    struct evs_stats stats = {.size = sizeof stats, .active = 1};
    for (int i = 0; i < 1000 && (i < 2 || stats.active > 0); i++) {
        evserve_poll(host.server, 1);
        evserve_stats(host.server, &stats);
        if (recv(pair[0], answer, sizeof answer, MSG_DONTWAIT) == 0) {
            break;
        }
    }
    close(pair[0]);
    return fake_mem_failed();
}

static void without_memory_a_form_is_503(void **state)
{
    (void)state;
    static const struct evs_route all[] = {{.route = "POST /", .serve = serve_all}, {.route = NULL}};
    host.config.listen = "none";
    host.config.routes = all;
    host_start();
    assert_false(ask_without_memory(1000)); /* what the server needs itself is there from now on */
    uint64_t n = 1;
    while (ask_without_memory(n)) {
        n++;
    }
    assert_int_equal(n, 6); /* query, cookies, form, parts, and what holds them */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(query_is_told_pair_by_pair),
        HOST_TEST(cookies_are_told_as_they_were_sent),
        HOST_TEST(pairs_of_pipelined_requests_do_not_mix),
        HOST_TEST(urlencoded_form_is_decoded),
        HOST_TEST(multipart_form_is_the_same),
        HOST_TEST(body_that_is_no_form_is_a_status_with_a_reason),
        HOST_TEST(form_has_at_most_1000_fields),
        HOST_TEST(form_of_a_streaming_route_is_a_mistake),
        HOST_TEST(many_names_are_taken_apart_once),
        HOST_TEST(without_memory_a_form_is_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
