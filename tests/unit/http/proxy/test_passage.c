/* Exchanges on their way through a proxy, on the fake kernel: what upstreams and clients get, what it costs, and what
 * happens when something fails. */

#include "core/outbound.h"
#include "http/proxy/proxy.h"
#include "http/server_internal.h"
#include "tests/lib/server_scene.h"

#include <arpa/inet.h>

enum { FIRST_PORT = 3000, SECOND_PORT = 3001, LONG = 300000 };

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
#define OWN      "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"

static struct outbound outbound;
static struct fake_server *first, *second;
static struct proxy *proxy;
static char long_text[LONG + 1];

static struct fake_server *make_upstream(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fake_server_create((struct sockaddr *)&address, sizeof address);
}

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    for (size_t i = 0; i < LONG; i++) {
        long_text[i] = (char)('a' + i % 23);
    }
    outbound_init(&outbound, scene.reactor, NULL, NULL);
    first = make_upstream(FIRST_PORT);
    second = make_upstream(SECOND_PORT);
    return rv;
}

static int tear_down(void **state)
{
    server_destroy(scene.server);
    scene.server = NULL;
    proxy_destroy(proxy);
    proxy = NULL;
    outbound_done(&outbound);
    return scene_tear_down(state);
}

#define PASSAGE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

static const char *const one_upstream[] = {"http://127.0.0.1:3000"};
static const char *const two_upstreams[] = {"http://127.0.0.1:3000", "http://127.0.0.1:3001"};

/* A server whose paths all go through a proxy with these options. */
static void begin(struct proxy_options options)
{
    char err[256];
    options.prefix = options.prefix == NULL ? "/" : options.prefix;
    if (options.upstreams == NULL) {
        options.upstreams = one_upstream;
        options.upstream_count = 1;
    }
    assert_int_equal(proxy_create(&proxy, &options, &outbound, err, sizeof err), 0);
    proxy_handler(proxy)->before_files = true; /* the scene has a mount with the same prefix */
    assert_int_equal(router_add(scene.site->default_host.router, METHODS_ALL, "/*rest", proxy_handler(proxy), "test",
                                err, sizeof err),
                     0);
    scene_start();
}

/* The far end of the next connection to an upstream, which must be there. */
static struct fake_peer *upstream_of(struct fake_server *server)
{
    settle();
    struct fake_peer *upstream = fake_server_next(server);
    assert_non_null(upstream);
    return upstream;
}

/* What the upstream got, without the id of the request, which is random; valid until the next call. */
static const char *request_at(const struct fake_peer *upstream)
{
    static char text[LONG * 2];
    size_t len;
    strcpy(text, fake_peer_output(upstream, &len));
    char *id = strstr(text, "X-Request-Id: ");
    if (id != NULL) {
        char *end = strchr(id, '\n') + 1;
        memmove(id, end, strlen(end) + 1);
    }
    return text;
}

static void assert_status(const struct fake_peer *peer, const char *wanted)
{
    assert_string_equal(statuses(peer), wanted);
}

/* Requests. */

static void upstreams_get_what_the_client_meant(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *got;
    } cases[] = {
        {"GET /a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
         "GET /a HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET /%61%20b/./c/../d?x=%2e&y#no HTTP/1.1\r\nHost: a\r\n\r\n", NULL},
        {"GET /%61%20b/./c/../d?x=%2e&y HTTP/1.1\r\nHost: a\r\n\r\n",
         "GET /a%20b/d?x=%2e&y HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET /%61%20b? HTTP/1.1\r\nHost: a\r\n\r\n",
         "GET /%61%20b? HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET //x/../%2561//b? HTTP/1.1\r\nHost: a\r\n\r\n",
         "GET /%2561//b? HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET ///x//b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x//b HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET http://a// HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"PURGE http://a/x HTTP/1.1\r\nHost: b\r\n\r\n",
         "PURGE /x HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\nA:\t b \t\r\nConnection: Keep-Alive, X-One ,x-two\r\nx-one: 1\r\nX-Two: 2\r\n"
         "X-Three: 3\r\nKeep-Alive: 5\r\nTE: gzip\r\nTrailer: x\r\nProxy-Authorization: x\r\nProxy: x\r\n"
         "Proxy-Connection: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nX-Three: 3\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nX-One: 1\r\nConnection: x-one\r\nX-Two: 2\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\nX-Two: 2\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nx_forwarded_for: 6.6.6.6\r\nX-FORWARDED-PROTO: https\r\n"
         "X-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\n"
         "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nX-Request-Id: mine\r\nVia: 1.0 b\r\n\r\n",
         "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 b\r\n" OWN "Via: 1.1 evserve\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", NULL},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
         "POST / HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\nContent-Length: 3\r\n\r\nabc"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 003\r\n\r\nabc",
         "POST / HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\nContent-Length: 3\r\n\r\nabc"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
         "POST / HTTP/1.1\r\nHost: a\r\n" OWN "Via: 1.1 evserve\r\nContent-Length: 0\r\n\r\n"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: u\r\n\r\n",
         "POST / HTTP/1.1\r\nHost: a\r\n" OWN
         "Via: 1.1 evserve\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"},
    };
    begin((struct proxy_options){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = client();
        say(peer, cases[i].sent);
        struct fake_peer *upstream = fake_server_next(first);
        if (cases[i].got == NULL) {
            if (upstream != NULL) {
                fail_msg("%s", request_at(upstream));
            }
            assert_true(output_has(peer, "HTTP/1.1 400"));
            continue;
        }
        assert_non_null(upstream);
        assert_string_equal(request_at(upstream), cases[i].got);
        fake_peer_send_text(upstream, OK_HELLO);
        fake_peer_close(upstream);
        settle();
        assert_true(output_has(peer, "hello"));
        fake_peer_close(peer);
        settle();
    }
}

/* "Connection: a, a, ...", so many. */
static const char *with_options(size_t count)
{
    static char text[1024];
    char *at = text + sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\nConnection: ,x-one");
    for (size_t i = 1; i < count; i++) {
        at += sprintf(at, ", a");
    }
    strcpy(at, "\r\nX-One: 1\r\n\r\n");
    return text;
}

static void connection_names_a_limited_number_of_fields(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    struct fake_peer *peer = client();
    say(peer, with_options(65));
    assert_status(peer, "400");
    assert_true(output_has(peer, "Connection names more than 64 fields"));
    assert_null(fake_server_next(first));
    say(peer, with_options(64));
    assert_null(strstr(request_at(upstream_of(first)), "X-One"));
}

static void a_trusted_proxy_in_front_is_continued(void **state)
{
    (void)state;
    char err[256];
    assert_int_equal(site_set_trusted_proxies(scene.site, "127.0.0.1", err, sizeof err), 0);
    begin((struct proxy_options){0});
    say(client(), "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nx-forwarded-for: 8.8.8.8\r\n"
                  "X-Forwarded-Port: 443\r\nX-Request-Id: one\r\n\r\n");
    size_t len;
    const char *got = fake_peer_output(upstream_of(first), &len);
    assert_non_null(strstr(got, "\r\nX-Forwarded-For: 9.9.9.9, 8.8.8.8, 127.0.0.1\r\n"));
    assert_non_null(strstr(got, "\r\nX-Forwarded-Port: 443\r\n"));
    assert_non_null(strstr(got, "\r\nX-Request-Id: one\r\n"));
}

static void only_fields_that_count_are_continued(void **state)
{
    (void)state;
    char err[256];
    assert_int_equal(site_set_trusted_proxies(scene.site, "127.0.0.1", err, sizeof err), 0);
    scene.site->forwarded = FORWARDED_BY_STANDARD;
    begin((struct proxy_options){0});
    say(client(), "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Port: 1\r\n"
                  "X-Real-IP: 6.6.6.6\r\nForwarded: for=9.9.9.9;proto=https;host=b\r\n\r\n");
    assert_string_equal(request_at(upstream_of(first)),
                        "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=9.9.9.9;proto=https;host=b\r\n"
                        "X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n"
                        "Via: 1.1 evserve\r\n\r\n");
}

static void options_change_the_request(void **state)
{
    (void)state;
    static const char *const with_base[] = {"http://127.0.0.1:3000/base//"};
    const struct proxy_field fields[] = {{"X-Set", "ours"}, {"cookie", NULL}, {"Via", NULL}, {"X-Request-Id", NULL}};
    begin((struct proxy_options){.prefix = "/api",
                                 .upstreams = with_base,
                                 .upstream_count = 1,
                                 .strips_prefix = true,
                                 .never_keeps = true,
                                 .host = "upstream",
                                 .fields = fields,
                                 .field_count = 4});
    static const struct {
        const char *path, *got;
    } cases[] = {{"/api", "/base/"},
                 {"/api/", "/base/"},
                 {"/api/x%20", "/base/x%20"},
                 {"/%61pi/x", "/base/x"},
                 {"/api/../api/y", "/base/y"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], wanted[256];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\nX-set: theirs\r\nCookie: b\r\n\r\n", cases[i].path);
        struct fake_peer *peer = client();
        say(peer, text);
        struct fake_peer *upstream = upstream_of(first);
        snprintf(wanted, sizeof wanted,
                 "GET %s HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nX-Set: ours\r\n" OWN "Connection: close\r\n\r\n",
                 cases[i].got);
        assert_string_equal(request_at(upstream), wanted);
        say(upstream, OK_HELLO);
        assert_true(fake_peer_saw_close(upstream));
        assert_status(peer, "200");
    }
}

/* Responses. */

static void clients_get_what_the_upstream_meant(void **state)
{
    (void)state;
    static const struct {
        const char *sent, *has, *lacks;
        bool closes; /* the upstream, behind it */
    } cases[] = {
        {OK_HELLO, "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello", "chunked", false},
        {"HTTP/1.0 200 OK\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "Length", true},
        {"HTTP/1.1 404 Odd\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n",
         "HTTP/1.1 404 Not Found\r\n", "A: b", false},
        {"HTTP/1.1 204 No\r\nX: y\r\n\r\n", "X: y\r\n\r\n", "Length", false},
        {"HTTP/1.1 304 No\r\nETag: \"a\"\r\nContent-Length: 99\r\n\r\n", "ETag: \"a\"\r\n", "Length", false},
        {"HTTP/1.1 200 OK\r\nConnection: x-gone, close\r\nX-Gone: 1\r\nX-Stays: 2\r\nKeep-Alive: timeout=1\r\n"
         "Date: x\r\nProxy-Authenticate: x\r\nContent-Length: 0\r\n\r\n",
         "X-Stays: 2\r\n", "one", false},
        {"HTTP/1.1 103 Hint\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" OK_HELLO,
         "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n", "100", false},
    };
    begin((struct proxy_options){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t whole = strlen(cases[i].sent);
        for (size_t split = 0; split < whole; split++) { /* 0: in one piece */
            struct fake_peer *peer = client();
            say(peer, GET("/x"));
            struct fake_peer *upstream = upstream_of(first);
            fake_peer_send_split(upstream, cases[i].sent, whole, split);
            if (cases[i].closes) {
                fake_peer_close(upstream);
            }
            settle();
            size_t len;
            if (strstr(fake_peer_output(peer, &len), cases[i].has) == NULL && !(cases[i].closes && split > 0)) {
                fail_msg("%s split at %zu: %s", cases[i].sent, split, fake_peer_output(peer, &len));
            }
            if (strstr(fake_peer_output(peer, &len), cases[i].lacks) != NULL) {
                fail_msg("%s", fake_peer_output(peer, &len));
            }
            fake_peer_close(upstream);
            fake_peer_close(peer);
            settle();
            assert_true(is_closed(peer));
        }
    }
}

static void what_is_no_response_is_502(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        "hello",
        "",
        "HTTP/1.1 200 O",
    };
    begin((struct proxy_options){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = client();
        say(peer, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        struct fake_peer *upstream = upstream_of(first);
        fake_peer_send_text(upstream, cases[i]);
        fake_peer_close(upstream);
        settle();
        assert_status(peer, "502");
        assert_true(fake_peer_saw_close(upstream));
    }
}

static void a_response_that_breaks_off_is_cut(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n",
    };
    begin((struct proxy_options){0});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = client();
        say(peer, GET("/x"));
        struct fake_peer *upstream = upstream_of(first);
        fake_peer_send_text(upstream, cases[i]);
        fake_peer_close(upstream);
        settle();
        assert_true(output_has(peer, "abc"));
        assert_false(output_has(peer, "\r\n0\r\n"));
        assert_true(is_closed(peer));
    }
}

/* What it costs. */

static void a_request_costs_two_calls_on_each_side(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(first);
    say(upstream, OK_HELLO);
    say(peer, GET("/x"));
    say(upstream, OK_HELLO);
    fake_sys_clear_trace();
    uint64_t calls = fake_mem_calls();
    for (int i = 0; i < 10; i++) {
        say(peer, GET("/x"));
        say(upstream, OK_HELLO);
    }
    assert_null(fake_server_next(first)); /* the same connection all the time */
    assert_int_equal(fake_sys_count(FAKE_RECV), 20);
    assert_int_equal(fake_sys_count(FAKE_SEND), 20);
    assert_int_equal(fake_sys_count(FAKE_SENDV), 0);
    assert_int_equal(count_epoll_changes(), 0);
    assert_in_range(fake_mem_calls() - calls, 0, 20); /* an entry of kept links, and a scratch of the server's pools */
    assert_int_equal(count_in_output(peer, "hello"), 12);
}

/* Back-pressure. */

static void a_slow_client_holds_up_its_upstream(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    struct fake_peer *peer = client();
    fake_peer_set_room(peer, 1000);
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(first);
    char head[64];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LONG);
    fake_peer_send_text(upstream, head);
    fake_peer_send_in_pieces(upstream, long_text, LONG, 1000);
    settle();
    assert_in_range(fake_peer_unread(upstream), LONG / 2, LONG);
    pass_ms(25000); /* the upstream is not to blame */
    fake_peer_set_room(peer, FAKE_NO_LIMIT);
    settle();
    size_t len;
    assert_non_null(strstr(fake_peer_output(peer, &len), long_text));
    assert_int_equal(fake_peer_unread(upstream), 0);
    say(peer, GET("/x"));
    assert_null(fake_server_next(first));
    say(upstream, OK_HELLO);
    assert_true(output_has(peer, "hello"));
}

static void a_slow_upstream_holds_up_its_client(void **state)
{
    (void)state;
    set_limit("max_body", 1 << 20);
    begin((struct proxy_options){0});
    static char text[LONG + 200];
    for (int chunked = 0; chunked < 2; chunked++) {
        struct fake_peer *peer = client();
        snprintf(text, sizeof text,
                 chunked ? "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n"
                         : "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n",
                 (unsigned)LONG);
        fake_peer_send_text(peer, text);
        settle();
        struct fake_peer *upstream = chunked ? fake_server_next(first) : upstream_of(first);
        if (upstream == NULL) {
            upstream = upstream_of(first);
        }
        fake_peer_set_room(upstream, 1000);
        fake_peer_send_in_pieces(peer, long_text, LONG, 5000);
        settle();
        assert_in_range(fake_peer_unread(peer), LONG / 2, LONG);
        fake_peer_set_room(upstream, FAKE_NO_LIMIT);
        settle();
        if (chunked) {
            say(peer, "\r\n0\r\n\r\n");
        }
        size_t len, letters = 0;
        const char *got = strstr(fake_peer_output(upstream, &len), "\r\n\r\n") + 4;
        for (const char *at = got; *at != '\0'; at++) { /* the content, whatever its chunks are */
            if (!chunked) {
                letters += *at == long_text[letters];
            }
        }
        assert_true(chunked ? strlen(got) > LONG && strstr(got, "\r\n0\r\n\r\n") != NULL : letters == LONG);
        fake_peer_send_text(upstream, OK_HELLO);
        fake_peer_close(upstream);
        settle();
        assert_true(output_has(peer, "hello"));
    }
}

static void a_response_that_comes_before_the_body_ends_is_passed_on(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    struct fake_peer *peer = client();
    say(peer, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    struct fake_peer *upstream = upstream_of(first);
    say(upstream, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    assert_status(peer, "403");
    assert_true(fake_peer_saw_close(upstream)); /* its request is not complete */
    say(peer, "defghij");
    say(peer, GET("/y"));
    say(upstream_of(first), OK_HELLO);
    assert_status(peer, "403 200");
}

static void a_client_that_waits_for_100_gets_it_from_us(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    struct fake_peer *peer = client();
    say(peer, "POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    struct fake_peer *upstream = upstream_of(first);
    assert_true(output_has(peer, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_null(strstr(request_at(upstream), "Expect"));
    say(peer, "abc");
    assert_non_null(strstr(request_at(upstream), "\r\n\r\nabc"));
    say(upstream, OK_HELLO);
    assert_true(output_has(peer, "hello"));
}

/* Failures. */

static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    for (int post = 0; post < 2; post++) {
        struct fake_peer *peer = client();
        say(peer, GET("/x"));
        struct fake_peer *upstream = upstream_of(first);
        say(upstream, OK_HELLO);
        say(peer, post ? "POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nz" : GET("/y"));
        fake_peer_reset(upstream, 0); /* just as the request came */
        settle();
        struct fake_peer *next = fake_server_next(first);
        if (post) { /* may have been carried out */
            assert_null(next);
            assert_status(peer, "200 502");
            continue;
        }
        assert_non_null(next);
        say(next, OK_HELLO);
        assert_status(peer, "200 200");
        fake_peer_close(next);
        settle();
    }
}

static void a_request_that_cannot_be_sent_again_is_not_sent_to_a_closed_connection(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    for (int i = 0; i < 3; i++) {
        struct fake_peer *peer = client();
        say(peer, GET("/x"));
        struct fake_peer *upstream = upstream_of(first);
        say(upstream, OK_HELLO);
        fake_peer_send_text(peer, "POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nz");
        if (i == 0) {
            fake_peer_close(upstream);
        } else if (i == 1) {
            fake_peer_reset(upstream, 0);
        } else {
            fake_peer_send_text(upstream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!"); /* to nothing */
        }
        struct fake_peer *next = upstream_of(first);
        fake_peer_send_text(next, OK_HELLO);
        fake_peer_close(next);
        settle();
        assert_status(peer, "200 200");
        assert_int_equal(count_in_output(peer, "hello"), 2);
        fake_peer_close(peer);
        settle();
    }
}

static void what_came_before_the_request_is_not_its_response(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(first);
    say(upstream, OK_HELLO);
    fake_peer_send_text(peer, GET("/y")); /* both in one turn, the client first */
    fake_peer_send_text(upstream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
    struct fake_peer *next = upstream_of(first);
    assert_true(fake_peer_saw_close(upstream));
    say(next, OK_HELLO);
    assert_status(peer, "200 200");
    assert_int_equal(count_in_output(peer, "hello"), 2);
}

static void requests_go_to_the_next_upstream_while_one_is_down(void **state)
{
    (void)state;
    begin((struct proxy_options){.upstreams = two_upstreams, .upstream_count = 2, .fail_timeout_ms = 10000});
    fake_server_set(first, FAKE_SERVER_FAILS, -ECONNREFUSED);
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(second);
    say(upstream, OK_HELLO);
    for (int i = 0; i < 5; i++) {
        say(peer, GET("/x"));
        say(upstream, OK_HELLO);
    }
    assert_int_equal(count_in_output(peer, "hello"), 6);
    fake_server_set(first, FAKE_SERVER_ACCEPTS, 0);
    pass_ms(10000);
    int at_first = 0;
    for (int i = 0; i < 2; i++) { /* it has its turn again */
        say(peer, GET("/x"));
        struct fake_peer *other = fake_server_next(first);
        at_first += other != NULL;
        say(other != NULL ? other : upstream, OK_HELLO);
    }
    assert_int_equal(at_first, 1);
    assert_int_equal(count_in_output(peer, "hello"), 8);
}

static void a_request_that_may_have_arrived_is_sent_twice_only_if_that_does_no_harm(void **state)
{
    (void)state;
    begin((struct proxy_options){.upstreams = two_upstreams, .upstream_count = 2, .fail_timeout_ms = 1});
    static const struct {
        const char *request, *wanted;
    } cases[] = {
        {GET("/x"), "200"},
        {"DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", "200"},
        {"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "502"},
        {"PROPFIND /x HTTP/1.1\r\nHost: a\r\n\r\n", "502"},
        {"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "502"}, /* its body is gone */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = client();
        say(peer, cases[i].request);
        struct fake_peer *one = fake_server_next(first), *other = fake_server_next(second);
        assert_true((one == NULL) != (other == NULL));
        fake_peer_reset(one == NULL ? other : one, 0);
        settle();
        struct fake_peer *next = fake_server_next(one == NULL ? first : second);
        if (next != NULL) {
            fake_peer_send_text(next, OK_HELLO);
            fake_peer_close(next);
            settle();
        }
        assert_status(peer, cases[i].wanted);
        fake_peer_close(peer);
        pass_ms(2);
    }
}

static void when_all_upstreams_fail_the_client_gets_502(void **state)
{
    (void)state;
    begin((struct proxy_options){.upstreams = two_upstreams, .upstream_count = 2});
    fake_server_set(first, FAKE_SERVER_FAILS, -ECONNREFUSED);
    fake_server_set(second, FAKE_SERVER_FAILS, -ENETUNREACH);
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    say(peer, GET("/x")); /* both are down, and are asked all the same */
    assert_status(peer, "502 502");
}

static void without_room_for_a_connection_the_client_gets_503(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    outbound.links.max = 1;
    struct fake_peer *peer = client(), *other = client();
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(first);
    say(other, GET("/x"));
    assert_status(other, "503");
    say(upstream, OK_HELLO);
    say(other, GET("/x"));
    say(upstream, OK_HELLO);
    assert_status(other, "503 200");
}

static void an_upstream_is_not_blamed_for_what_we_lack(void **state)
{
    (void)state;
    begin((struct proxy_options){.upstreams = two_upstreams, .upstream_count = 2, .tries = 1});
    outbound.links.max = 1;
    struct fake_peer *peer = client(), *other = client();
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(first);
    say(other, GET("/x")); /* the second one's turn */
    assert_status(other, "503");
    say(upstream, OK_HELLO);
    outbound.links.max = 2;
    int at_second = 0;
    for (int i = 0; i < 2; i++) { /* both still have their turns */
        say(peer, GET("/x"));
        struct fake_peer *next = fake_server_next(second);
        at_second += next != NULL;
        say(next != NULL ? next : upstream, OK_HELLO);
    }
    assert_int_equal(at_second, 1);
    assert_status(peer, "200 200 200");
}

static void a_retry_is_a_turn_like_any_other(void **state)
{
    (void)state;
    static const char *const upstreams[] = {"http://127.0.0.1:3000", "http://127.0.0.1:3001", "http://127.0.0.1:3002"};
    begin((struct proxy_options){.upstreams = upstreams, .upstream_count = 3});
    struct fake_server *third = make_upstream(3002);
    fake_server_set(first, FAKE_SERVER_FAILS, -ECONNREFUSED);
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    say(upstream_of(second), OK_HELLO);
    say(peer, GET("/x"));
    say(upstream_of(third), OK_HELLO);
    assert_status(peer, "200 200");
}

static void time_is_limited(void **state)
{
    (void)state;
    begin((struct proxy_options){.connect_timeout_ms = 1000, .timeout_ms = 2000});
    fake_server_set(first, FAKE_SERVER_HANGS, 0);
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    pass_ms(999);
    assert_int_equal(output_len(peer), 0);
    pass_ms(2);
    assert_status(peer, "504");
    fake_server_set(first, FAKE_SERVER_ACCEPTS, 0);
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(first);
    pass_ms(1999);
    assert_status(peer, "504");
    pass_ms(2);
    assert_status(peer, "504 504");
    assert_true(fake_peer_saw_close(upstream));
    say(peer, GET("/x"));
    upstream = upstream_of(first);
    say(upstream, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
    pass_ms(1999);
    say(upstream, "de");
    pass_ms(1999);
    assert_false(is_closed(peer));
    pass_ms(2);
    assert_true(is_closed(peer));
    assert_true(output_has(peer, "abcde"));
}

static void a_head_that_comes_byte_by_byte_has_no_more_time(void **state)
{
    (void)state;
    begin((struct proxy_options){.timeout_ms = 2000});
    static const char slow[] = "HTTP/1.1 200 OK\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(first);
    for (int i = 0; i < 19; i++) {
        pass_ms(100);
        say(upstream, (char[2]){slow[i]});
    }
    assert_int_equal(output_len(peer), 0);
    pass_ms(101);
    assert_status(peer, "504");
    say(peer, GET("/x"));
    upstream = upstream_of(first);
    for (int i = 0; i < 19; i++) {
        pass_ms(100);
        say(upstream, "HTTP/1.1 103 Early Hints\r\n\r\n");
    }
    pass_ms(101);
    assert_true(output_has(peer, "504 Gateway Timeout"));
}

static void a_body_that_comes_slowly_gives_the_upstream_no_more_time(void **state)
{
    (void)state;
    begin((struct proxy_options){.timeout_ms = 2000});
    for (int is_deaf = 0; is_deaf < 2; is_deaf++) {
        struct fake_peer *peer = client();
        say(peer, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\na");
        struct fake_peer *upstream = upstream_of(first);
        if (is_deaf) {
            fake_peer_set_room(upstream, 0);
            say(peer, "a");
        } else {
            say(upstream, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
        }
        for (int i = 0; i < 19; i++) {
            pass_ms(100);
            say(peer, "a");
        }
        assert_false(fake_peer_saw_close(upstream));
        pass_ms(101);
        assert_true(fake_peer_saw_close(upstream));
        assert_true(output_has(peer, is_deaf ? "504 Gateway" : "\r\n\r\nabc"));
        fake_peer_close(peer);
        settle();
    }
}

static void a_client_that_leaves_takes_the_upstream_along(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    for (int stage = 0; stage < 3; stage++) {
        fake_server_set(first, stage == 0 ? FAKE_SERVER_HANGS : FAKE_SERVER_ACCEPTS, 0);
        struct fake_peer *peer = client();
        say(peer, GET("/x"));
        struct fake_peer *upstream = stage == 0 ? NULL : upstream_of(first);
        if (stage == 2) {
            say(upstream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        }
        fake_peer_reset(peer, 0);
        settle();
        assert_int_equal(outbound.links.count, 0);
        assert_true(upstream == NULL || fake_peer_saw_close(upstream));
    }
}

static void too_many_interim_responses_are_502(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    struct fake_peer *upstream = upstream_of(first);
    for (int i = 0; i < 32; i++) {
        say(upstream, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    assert_int_equal(output_len(peer), 0);
    say(upstream, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_status(peer, "502");
}

/* One request with a body and a response that comes in pieces, whatever fails meanwhile. */
static void try_all(void)
{
    struct fake_peer *peer = client();
    fake_peer_send_text(peer, "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    settle();
    struct fake_peer *upstream = fake_server_next(first);
    if (upstream != NULL) {
        fake_peer_set_room(upstream, 50);
        settle();
        fake_peer_set_room(upstream, FAKE_NO_LIMIT);
        settle();
        fake_peer_send_text(upstream, "HTTP/1.1 103 H\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nTransfer-En");
        settle();
        fake_peer_send_text(upstream, "coding: chunked\r\n\r\n3\r\nabc\r\n");
        settle();
        fake_peer_send_text(upstream, "0\r\n\r\n");
        settle();
        fake_peer_close(upstream);
    }
    settle();
    fake_peer_close(peer);
    settle();
    pass_ms(1000);
}

static void whatever_allocation_fails_nothing_is_lost(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    try_all();
    for (uint64_t n = 1; n < 200; n++) {
        fake_mem_fail_after(n, false);
        try_all();
        bool has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(outbound.links.count, 0);
        if (!has_failed) {
            break;
        }
        assert_in_range(n, 1, 190);
    }
    struct fake_peer *peer = client();
    say(peer, GET("/x"));
    say(upstream_of(first), OK_HELLO);
    assert_status(peer, "200");
}

static void whatever_call_fails_nothing_is_lost(void **state)
{
    (void)state;
    begin((struct proxy_options){0});
    try_all();
    static const int errors[] = {-EIO, -ECONNRESET, -ENOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        static const enum fake_op ops[] = {FAKE_RECV,    FAKE_SEND,      FAKE_SENDV,      FAKE_SOCKET,
                                           FAKE_CONNECT, FAKE_EPOLL_ADD, FAKE_SET_OPTION, FAKE_EPOLL_MODIFY};
        for (size_t op = 0; op < sizeof ops / sizeof ops[0]; op++) {
            for (int n = 0; n < 12; n++) {
                struct fake_peer *peer = client(); /* is there before */
                fake_sys_fail_op(ops[op], n, 1, errors[i]);
                say(peer, GET("/x"));
                struct fake_peer *upstream = fake_server_next(first);
                if (upstream != NULL) {
                    fake_peer_send_text(upstream, OK_HELLO);
                    settle();
                    fake_peer_close(upstream);
                }
                settle();
                fake_peer_close(peer);
                settle();
                pass_ms(1000);
                fake_sys_fail_op(ops[op], 0, 0, 0);
                while (fake_server_next(first) != NULL) {
                }
            }
        }
    }
    pass_ms(70000);
    assert_int_equal(outbound.links.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PASSAGE_TEST(upstreams_get_what_the_client_meant),
        PASSAGE_TEST(connection_names_a_limited_number_of_fields),
        PASSAGE_TEST(a_trusted_proxy_in_front_is_continued),
        PASSAGE_TEST(only_fields_that_count_are_continued),
        PASSAGE_TEST(options_change_the_request),
        PASSAGE_TEST(clients_get_what_the_upstream_meant),
        PASSAGE_TEST(what_is_no_response_is_502),
        PASSAGE_TEST(a_response_that_breaks_off_is_cut),
        PASSAGE_TEST(a_request_costs_two_calls_on_each_side),
        PASSAGE_TEST(a_slow_client_holds_up_its_upstream),
        PASSAGE_TEST(a_slow_upstream_holds_up_its_client),
        PASSAGE_TEST(a_response_that_comes_before_the_body_ends_is_passed_on),
        PASSAGE_TEST(a_client_that_waits_for_100_gets_it_from_us),
        PASSAGE_TEST(a_kept_connection_that_was_closed_is_replaced),
        PASSAGE_TEST(a_request_that_cannot_be_sent_again_is_not_sent_to_a_closed_connection),
        PASSAGE_TEST(what_came_before_the_request_is_not_its_response),
        PASSAGE_TEST(requests_go_to_the_next_upstream_while_one_is_down),
        PASSAGE_TEST(a_request_that_may_have_arrived_is_sent_twice_only_if_that_does_no_harm),
        PASSAGE_TEST(when_all_upstreams_fail_the_client_gets_502),
        PASSAGE_TEST(without_room_for_a_connection_the_client_gets_503),
        PASSAGE_TEST(an_upstream_is_not_blamed_for_what_we_lack),
        PASSAGE_TEST(a_retry_is_a_turn_like_any_other),
        PASSAGE_TEST(time_is_limited),
        PASSAGE_TEST(a_head_that_comes_byte_by_byte_has_no_more_time),
        PASSAGE_TEST(a_body_that_comes_slowly_gives_the_upstream_no_more_time),
        PASSAGE_TEST(a_client_that_leaves_takes_the_upstream_along),
        PASSAGE_TEST(too_many_interim_responses_are_502),
        PASSAGE_TEST(whatever_allocation_fails_nothing_is_lost),
        PASSAGE_TEST(whatever_call_fails_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
