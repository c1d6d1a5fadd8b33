/* Multipart bodies part by part: evs_part_next(), evs_part_read(). */

#include "tests/lib/host.h"

#include <stdatomic.h>

/* What a handler saw of a body, and how far it has come. */
struct visit {
    char text[2048]; /* (name|filename|type|X-Extra: content) of each part */
    bool skips;      /* parts called "skip" are not read */
    bool is_inside;  /* in the content of a part */
    size_t waits;
};

static void put(struct visit *visit, const char *text, size_t len)
{
    size_t used = strlen(visit->text);
    assert_true(used + len < sizeof visit->text);
    memcpy(visit->text + used, text, len);
    visit->text[used + len] = '\0';
}

static void put_text(struct visit *visit, const char *text, const char *end)
{
    text = text == NULL ? "-" : text;
    put(visit, text, strlen(text));
    put(visit, end, strlen(end));
}

/* One call: the next part or the next piece of its content. Returns what that did. */
static int go_on(evs_request *request, struct visit *visit)
{
    const void *data;
    size_t len = 0;
    if (visit->is_inside) {
        int rv = evs_part_read(request, &data, &len);
        if (rv == EVS_PIECE) {
            assert_true(len > 0);
            put(visit, data, len);
        } else if (rv == EVS_END) {
            visit->is_inside = false;
            put(visit, ")", 1);
            assert_int_equal(evs_part_read(request, &data, &len), EVS_END);
            return EVS_PIECE;
        }
        return rv;
    }
    struct evs_part part = {.size = sizeof part};
    int rv = evs_part_next(request, &part);
    if (rv == EVS_PART) {
        put(visit, "(", 1);
        put_text(visit, part.name, "|");
        put_text(visit, part.filename, "|");
        put_text(visit, part.type, "|");
        put_text(visit, evs_part_header(request, "x-extra"), ": ");
        assert_null(evs_part_header(request, "X-None"));
        assert_null(evs_part_header(request, NULL));
        visit->is_inside = !(visit->skips && strcmp(part.name, "skip") == 0);
    } else if (rv == EVS_WAIT) {
        assert_null(evs_part_header(request, "x-extra"));
    }
    return rv;
}

static void visit_on(evs_request *request, struct visit *visit)
{
    char text[4096];
    int rv = EVS_PIECE;
    while (rv == EVS_PIECE) {
        rv = go_on(request, visit);
    }
    if (rv == EVS_WAIT) {
        visit->waits++;
        return;
    }
    struct evs_part part = {.size = sizeof part};
    assert_int_equal(evs_part_next(request, &part), rv); /* it stays so */
    const char *error = evs_body_error(request);
    int len = snprintf(text, sizeof text, "%s %d %s", visit->text, rv, error == NULL ? "-" : error);
    evs_reply(request, rv < 0 ? -rv : 200, NULL, text, (size_t)len);
}

static void on_event(evs_request *request, int event, void *arg)
{
    if (event == EVS_DATA) {
        visit_on(request, arg);
    }
}

static void serve_visit(evs_request *request, void *arg)
{
    struct visit *visit = arg;
    visit->text[0] = '\0';
    visit->is_inside = false;
    visit->waits = 0;
    evs_on(request, on_event, visit);
    visit_on(request, visit);
}

static struct visit whole, streamed;
static const struct evs_route routes[] = {
    {.route = "GET,POST /whole", .serve = serve_visit, .arg = &whole},
    {.route = "POST /streamed", .serve = serve_visit, .arg = &streamed, .flags = EVS_STREAM_BODY},
    {.route = NULL}};

static const char multipart[] = "Content-Type: multipart/form-data; boundary=\"B\"\r\n";
static char request[98304]; /* more than the longest body here */

static const char *post(const char *path, const char *fields, const char *body)
{
    int len = snprintf(request, sizeof request, "POST %s HTTP/1.0\r\n%sContent-Length: %zu\r\n\r\n%s", path, fields,
                       strlen(body), body);
    assert_in_range(len, 0, sizeof request - 1);
    return client_ask(host.port, request);
}

/* The same as post(), byte by byte. */
static const char *post_slowly(const char *path, const char *fields, const char *body)
{
    static char answer[8192];
    snprintf(request, sizeof request, "POST %s HTTP/1.0\r\n%sContent-Length: %zu\r\n\r\n", path, fields, strlen(body));
    int fd = client_connect(host.port);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one);
    assert_true(client_send(fd, request));
    for (const char *at = body; *at != '\0'; at++) {
        if (send(fd, at, 1, MSG_NOSIGNAL) != 1) {
            break;
        }
        usleep(200);
    }
    client_read_all(fd, answer, sizeof answer);
    close(fd);
    return answer;
}

static const char some_parts[] =
    "--B\r\nContent-Disposition: form-data; name=\"a \\\"b\\\"\"\r\n\r\none\r\n"
    "--B \t\r\nContent-Disposition: form-data; name=file; filename=\"../x.bin\"\r\nContent-Type: image/png\r\n"
    "x-extra:  more \r\n\r\nline\r\n--b\r\n-\r\n"
    "--B\r\nContent-Disposition: form-data; name=skip; filename*=utf-8''%C3%A9\r\n\r\nskipped\r\n"
    "--B\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n--B--\r\nepilogue";

static void parts_are_the_same_whole_streamed_and_byte_by_byte(void **state)
{
    (void)state;
    static const char all[] = "(a \"b\"|-|-|-: one)(file|../x.bin|image/png|more: line\r\n--b\r\n-)"
                              "(skip|\xc3\xa9|-|-: skipped)(empty|-|-|-: ) 2 -";
    static const char skipped[] = "(a \"b\"|-|-|-: one)(file|../x.bin|image/png|more: line\r\n--b\r\n-)"
                                  "(skip|\xc3\xa9|-|-: (empty|-|-|-: ) 2 -";
    host.config.routes = routes;
    host_serve();
    for (int skips = 0; skips < 2; skips++) {
        whole.skips = streamed.skips = skips == 1;
        const char *expected = skips ? skipped : all;
        assert_string_equal(client_body(post("/whole", multipart, some_parts)), expected);
        assert_string_equal(client_body(post("/streamed", multipart, some_parts)), expected);
        assert_string_equal(client_body(post_slowly("/streamed", multipart, some_parts)), expected);
        assert_true(streamed.waits > 10);
    }
}

static void chunked_body_has_parts_too(void **state)
{
    (void)state;
    host.config.routes = routes;
    host_serve();
    snprintf(request, sizeof request,
             "POST /streamed HTTP/1.1\r\nHost: a\r\n%sConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
             "3\r\n--B\r\n2c\r\n\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n"
             "3\r\n1\r\n\r\n5\r\n--B--\r\n0\r\n\r\n",
             multipart);
    assert_string_equal(client_body(client_ask(host.port, request)), "(x|-|-|-: 1) 2 -");
}

static void what_is_wrong_is_a_status_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *type, *body, *answer;
    } cases[] = {
        {"", some_parts, " -415 the request body must be multipart/form-data"},
        {"Content-Type: multipart/form-data\r\n", some_parts,
         " -400 the Content-Type has no boundary, or an invalid one"},
        {multipart, "", " -400 the body ends before its last boundary"},
        {multipart, "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n12\r\n--", /* what may be a delimiter waits */
         "(a|-|-|-: 12 -400 the body ends before its last boundary"},
        {multipart, "--B\r\nContent-Type: a/b\r\n\r\n12\r\n--B--", " -400 a part without a name"},
        {multipart, "--Bx", " -400 text after a boundary"},
    };
    host.config.routes = routes;
    host_serve();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(client_body(post("/whole", cases[i].type, cases[i].body)), cases[i].answer);
        assert_string_equal(client_body(post("/streamed", cases[i].type, cases[i].body)), cases[i].answer);
    }
    assert_string_equal(client_body(client_get(host.port, "/whole")),
                        " -415 the request body must be multipart/form-data");
}

static void header_fields_and_parts_are_bounded(void **state)
{
    (void)state;
    static char body[80000];
    host.config.routes = routes;
    host_serve();
    snprintf(body, sizeof body, "--B\r\nContent-Disposition: form-data; name=a\r\nX: %4100s", "x");
    assert_string_equal(client_body(post("/streamed", multipart, body)), " -413 header fields of a part too long");
    int len = snprintf(body, sizeof body, "--B\r\nContent-Disposition: form-data; name=a\r\n");
    for (int i = 0; i < 16; i++) {
        len += snprintf(body + len, sizeof body - (size_t)len, "X-%d: y\r\n", i);
    }
    strcpy(body + len, "\r\n--B--");
    assert_string_equal(client_body(post("/whole", multipart, body)), " -400 malformed header fields of a part");
}

static void body_above_max_body_is_413(void **state)
{
    (void)state;
    host.config.routes = routes;
    host.config.max_body = 100;
    host_serve();
    snprintf(request, sizeof request,
             "POST /streamed HTTP/1.1\r\nHost: a\r\n%sConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
             "30\r\n--B\r\nContent-Disposition: form-data; name=x\r\n\r\n1\r\n%x\r\n%0100d\r\n0\r\n\r\n",
             multipart, 100, 0);
    const char *answer = client_ask(host.port, request);
    assert_memory_equal(answer, "HTTP/1.1 413 ", 13);
    assert_non_null(strstr(answer, " -413 the request body is longer than max_body"));
}

/* The body as it is. */

static void serve_read(evs_request *r, void *arg)
{
    (void)arg;
    const void *data = NULL, *again = NULL;
    size_t len = 0, no_len = 0;
    int rv = evs_read(r, &data, &len);
    assert_int_equal(rv == EVS_PIECE ? evs_read(r, &again, &no_len) : EVS_END, EVS_END);
    evs_reply(r, 200, NULL, data, rv == EVS_PIECE ? len : 0);
}

static void body_that_is_there_is_one_piece(void **state)
{
    (void)state;
    static const struct evs_route reading[] = {{.route = "POST /", .serve = serve_read}, {.route = NULL}};
    host.config.routes = reading;
    host_serve();
    assert_string_equal(client_body(post("/", "", "whole")), "whole");
    assert_string_equal(client_body(post("/", "", "")), "");
}

/* Mistakes. */

static void serve_part_mistakes(evs_request *r, void *arg)
{
    (void)arg;
    const void *data;
    size_t len;
    struct evs_part part = {.size = 1};
    assert_null(evs_part_header(r, "X"));
    assert_int_equal(evs_part_read(r, &data, &len), EVS_END); /* no part yet: go to the next one */
    assert_int_equal(evs_part_next(r, &part), -EINVAL);
    assert_int_equal(evs_part_next(r, NULL), -EINVAL);
    part.size = sizeof part;
    assert_int_equal(evs_part_next(r, &part), EVS_PART);
    assert_int_equal(evs_read(r, &data, &len), -EINVAL);
    assert_int_equal(evs_part_read(r, &data, &len), EVS_PIECE);
    evs_reply(r, 200, NULL, data, len);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct evs_route mistaken[] = {
        {.route = "POST /", .serve = serve_part_mistakes, .flags = EVS_STREAM_BODY}, {.route = NULL}};
    host.config.routes = mistaken;
    host_serve();
    assert_string_equal(client_body(post("/", multipart, some_parts)), "one");
    host_stop(0);
    assert_true(
        host_has_logged("route / (evserve_config.routes[0]): evs_part_next: part.size is not sizeof(struct evs_part)"));
    assert_true(host_has_logged("evs_read: evs_part_next() has already begun to read the body"));
}

/* A file that is much larger than what is held of it. */

struct big {
    size_t len;
    int rv;
};

static void read_big(evs_request *r, struct big *big)
{
    const void *data;
    size_t len;
    struct evs_part part = {.size = sizeof part};
    while ((big->rv = evs_part_read(r, &data, &len)) == EVS_PIECE) {
        big->len += len;
    }
    if (big->rv == EVS_END) {
        assert_int_equal(evs_part_next(r, &part), EVS_END);
        evs_reply(r, 200, NULL, NULL, 0);
    }
}

static void on_big_event(evs_request *r, int event, void *arg)
{
    if (event == EVS_DATA) {
        read_big(r, arg);
    }
}

static void serve_big(evs_request *r, void *arg)
{
    struct evs_part part = {.size = sizeof part};
    evs_on(r, on_big_event, arg);
    assert_int_equal(evs_part_next(r, &part), EVS_PART); /* the client sends head and part in one */
    read_big(r, arg);
}

static void large_file_passes_through(void **state)
{
    (void)state;
    enum { BYTES = 20 << 20, STEP = 1 << 16 };
    static char step[STEP];
    static const char head[] = "--B\r\nContent-Disposition: form-data; name=x; filename=y\r\n\r\n";
    struct big big = {0};
    const struct evs_route sink[] = {{.route = "POST /", .serve = serve_big, .arg = &big, .flags = EVS_STREAM_BODY},
                                     {.route = NULL}};
    host.config.routes = sink;
    host.config.max_body = BYTES + 1000;
    host_serve();
    memset(step, '\r', sizeof step); /* each may begin a delimiter */
    int fd = client_connect(host.port);
    snprintf(request, sizeof request, "POST / HTTP/1.0\r\n%sContent-Length: %zu\r\n\r\n%s", multipart,
             sizeof head - 1 + BYTES + 9, head);
    assert_true(client_send(fd, request));
    for (int i = 0; i < BYTES / STEP; i++) {
        for (size_t sent = 0; sent < STEP;) {
            ssize_t rv = send(fd, step + sent, STEP - sent, MSG_NOSIGNAL);
            assert_true(rv > 0);
            sent += (size_t)rv;
        }
    }
    assert_true(client_send(fd, "\r\n--B--\r\n"));
    assert_memory_equal(client_ask_on(fd, ""), "HTTP/1.1 200 ", 13);
    assert_int_equal(big.len, BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOST_TEST(parts_are_the_same_whole_streamed_and_byte_by_byte),
        HOST_TEST(chunked_body_has_parts_too),
        HOST_TEST(what_is_wrong_is_a_status_with_a_reason),
        HOST_TEST(header_fields_and_parts_are_bounded),
        HOST_TEST(body_above_max_body_is_413),
        HOST_TEST(body_that_is_there_is_one_piece),
        HOST_TEST(mistakes_are_named),
        HOST_TEST(large_file_passes_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
