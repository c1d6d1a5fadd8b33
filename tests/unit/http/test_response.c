/* Answers as bytes: what handlers may say, what they may not, and what then goes out. The whole server is around it on
 * the fake kernel; each test makes its answer in a handler of its own. */

#include "tests/lib/server_scene.h"

#include "core/ascii.h"
#include "http/cached_file.h"
#include "http/file_cache.h"
#include "http/file_root.h"
#include "http/response_file.h"

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

/* The handler of GET, HEAD and POST of /x does what a test says. */
static void (*answer)(struct exchange *exchange);

static void serve_answer(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    answer(exchange);
}

static const struct handler answering = {.serve = serve_answer};

/* Ask for /x in the words of request, with fn answering. Returns the client; its output is the answer. */
static struct fake_peer *ask(const char *request, void (*fn)(struct exchange *exchange))
{
    if (scene.server == NULL) {
        add_route(METHOD_GET, "/x", &answering);
        add_route(METHOD_POST, "/x", &answering);
        scene_begin();
    }
    answer = fn;
    struct fake_peer *peer = client();
    say(peer, request);
    return peer;
}

#define assert_output(peer, text) assert_string_equal(fake_peer_output(peer, NULL), text)

static int add(struct exchange *exchange, const char *name, const char *value)
{
    return response_add_field(exchange, name, strlen(name), value, strlen(value));
}

/* Whole answers. */

static void send_hello(struct exchange *exchange)
{
    response_send(exchange, 200, "text/plain", "hello", 5);
}

static void answer_is_a_head_and_its_content(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), send_hello),
                  "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
}

static void last_answer_says_so(void **state)
{
    (void)state;
    assert_output(ask(GET_CLOSE("/x"), send_hello), "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/plain\r\n"
                                                    "Content-Length: 5\r\nConnection: close\r\n\r\nhello");
}

static void http_1_0_is_told_when_the_connection_stays(void **state)
{
    (void)state;
    assert_output(ask("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", send_hello),
                  "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/plain\r\n"
                  "Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello");
}

static void head_announces_the_content_and_leaves_it_out(void **state)
{
    (void)state;
    assert_output(ask(HEAD("/x"), send_hello),
                  "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
}

static void send_nothing(struct exchange *exchange)
{
    response_send(exchange, 200, NULL, NULL, 0);
}

static void answer_without_content_has_length_0(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), send_nothing), "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n");
}

static int status_to_send;

static void send_status(struct exchange *exchange)
{
    add(exchange, "X-Kept", "yes");
    response_send(exchange, status_to_send, "text/plain", "dropped", 7);
}

static void send_status_borrowed(struct exchange *exchange)
{
    add(exchange, "X-Kept", "yes");
    response_send_borrowed(exchange, status_to_send, "text/plain", "dropped", 7, NULL, NULL);
}

static void send_status_as_stream(struct exchange *exchange)
{
    add(exchange, "X-Kept", "yes");
    response_begin(exchange, status_to_send, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(exchange, "dropped", 7), 1);
    response_end(exchange);
}

static void send_status_as_stream_of_known_length(struct exchange *exchange)
{
    add(exchange, "X-Kept", "yes");
    response_begin(exchange, status_to_send, "text/plain", 7);
    assert_int_equal(response_write(exchange, "dropped", 7), 1);
    response_end(exchange);
}

static void statuses_without_content_have_neither_content_nor_framing(void **state)
{
    (void)state;
    static void (*const ways[])(struct exchange *) = {send_status, send_status_borrowed, send_status_as_stream,
                                                      send_status_as_stream_of_known_length};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        status_to_send = 204;
        struct fake_peer *peer = ask(GET("/x") GET("/hello"), ways[i]);
        assert_true(strstr(fake_peer_output(peer, NULL),
                           "HTTP/1.1 204 No Content\r\n" DATE
                           "X-Kept: yes\r\n\r\nHTTP/1.1 200 OK\r\n") == fake_peer_output(peer, NULL));
        status_to_send = 304;
        peer = ask(GET("/x") GET("/hello"), ways[i]);
        assert_true(strstr(fake_peer_output(peer, NULL),
                           "HTTP/1.1 304 Not Modified\r\n" DATE
                           "X-Kept: yes\r\n\r\nHTTP/1.1 200 OK\r\n") == fake_peer_output(peer, NULL));
    }
}

/* Fields. */

static void send_refused_fields(struct exchange *exchange)
{
    static const struct {
        const char *name;
        size_t name_len;
        const char *value;
        size_t value_len;
        int rv;
    } cases[] = {
        {"", 0, "v", 1, -EINVAL},
        {"X Y", 3, "v", 1, -EINVAL},
        {"X:", 2, "v", 1, -EINVAL},
        {"X\r\nY", 4, "v", 1, -EINVAL},
        {"X\0Y", 3, "v", 1, -EINVAL},
        {"X\x7f", 2, "v", 1, -EINVAL},
        {"X\xe4", 2, "v", 1, -EINVAL},
        {"X(", 2, "v", 1, -EINVAL},
        {"X", 1, "a\r\nSet-Cookie: b", 16, -EINVAL},
        {"X", 1, "a\rb", 3, -EINVAL},
        {"X", 1, "a\nb", 3, -EINVAL},
        {"X", 1, "a\0b", 3, -EINVAL},
        {"X", 1, "a\x01", 2, -EINVAL},
        {"X", 1, "a\x1f", 2, -EINVAL},
        {"X", 1, "a\x7f", 2, -EINVAL},
        {"Content-Length", 14, "1", 1, -EPERM},
        {"content-length", 14, "1", 1, -EPERM},
        {"Transfer-Encoding", 17, "chunked", 7, -EPERM},
        {"Connection", 10, "keep-alive", 10, -EPERM},
        {"Connection", 10, "close, X", 8, -EPERM},
        {"Connection", 10, "", 0, -EPERM},
        {"Date", 4, "today", 5, -EPERM},
        {"Keep-Alive", 10, "timeout=5", 9, -EPERM},
        {"Trailer", 7, "X", 1, -EPERM},
        {"Upgrade", 7, "h2c", 3, -EPERM},
        {"Content-Length", 14, "1\r\n", 3, -EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rv = response_add_field(exchange, cases[i].name, cases[i].name_len, cases[i].value, cases[i].value_len);
        if (rv != cases[i].rv) {
            fail_msg("case %zu: %d, not %d", i, rv, cases[i].rv);
        }
    }
    response_send(exchange, 200, NULL, NULL, 0);
}

static void refused_fields_leave_the_answer_as_it_was(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), send_refused_fields), "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n");
}

static void send_fields(struct exchange *exchange)
{
    assert_int_equal(add(exchange, "X-One", "1"), 0);
    assert_int_equal(add(exchange, "X-One", "2"), 0);
    assert_int_equal(add(exchange, "X!#$%&'*+-.^_`|~", "\t a\tb \xe4 "), 0);
    assert_int_equal(add(exchange, "X-Empty", ""), 0);
    assert_int_equal(add(exchange, "Date-2", "d"), 0);
    response_send(exchange, 200, NULL, NULL, 0);
}

static void fields_go_out_in_their_order(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), send_fields),
                  "HTTP/1.1 200 OK\r\n" DATE "X-One: 1\r\nX-One: 2\r\nX!#$%&'*+-.^_`|~: \t a\tb \xe4 \r\n"
                  "X-Empty: \r\nDate-2: d\r\nContent-Length: 0\r\n\r\n");
}

static void fields_of_one_answer_are_not_in_the_next(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x") GET("/hello"), send_fields);
    assert_int_equal(count_in_output(peer, "HTTP/1.1 200 OK"), 2);
    assert_int_equal(count_in_output(peer, "X-Empty"), 1);
}

/* Fields of which a response has one line at most (RFC 9110 section 5.3). */

static const char *const single_fields[] = {
    "Accept-Ranges",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Origin",
    "Access-Control-Max-Age",
    "Age",
    "Content-Disposition",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Location",
    "Retry-After",
    "Server",
    "Strict-Transport-Security",
};

static const char *const list_fields[] = {
    "Allow",
    "Cache-Control",
    "Content-Encoding",
    "Content-Language",
    "Content-Security-Policy",
    "Set-Cookie",
    "WWW-Authenticate",
    "Vary",
    "X-Own",
    "Link",
};

static void send_single_fields_twice(struct exchange *exchange)
{
    for (size_t i = 0; i < sizeof single_fields / sizeof single_fields[0]; i++) {
        char lower[64] = "";
        for (size_t n = 0; single_fields[i][n] != '\0'; n++) {
            lower[n] = ascii_lower(single_fields[i][n]);
        }
        assert_int_equal(add(exchange, single_fields[i], "first"), 0);
        assert_int_equal(add(exchange, lower, "second"), -EEXIST);
    }
    assert_int_equal(response_set_field(exchange, "age", 3, "third", 5), 0);
    response_send(exchange, 200, NULL, NULL, 0);
}

static void send_list_fields_twice(struct exchange *exchange)
{
    for (size_t i = 0; i < sizeof list_fields / sizeof list_fields[0]; i++) {
        assert_int_equal(add(exchange, list_fields[i], "a"), 0);
        assert_int_equal(add(exchange, list_fields[i], "b"), 0);
    }
    response_send(exchange, 200, NULL, NULL, 0);
}

static void a_single_field_is_there_once_and_a_list_as_often_as_it_is_added(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x"), send_single_fields_twice);
    assert_int_equal(count_in_output(peer, "second"), 0);
    assert_int_equal(count_in_output(peer, ": first\r\n"), sizeof single_fields / sizeof single_fields[0] - 1);
    assert_int_equal(count_in_output(peer, "age: third\r\n"), 1);
    peer = ask(GET("/x"), send_list_fields_twice);
    for (size_t i = 0; i < sizeof list_fields / sizeof list_fields[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "\r\n%s: ", list_fields[i]);
        assert_int_equal(count_in_output(peer, name), 2);
    }
}

static void send_with_two_types(struct exchange *exchange)
{
    assert_int_equal(add(exchange, "content-type", "text/set"), 0);
    response_send(exchange, 200, "text/given", "x", 1);
}

static void begin_with_two_types(struct exchange *exchange)
{
    assert_int_equal(add(exchange, "Content-Type", "text/set"), 0);
    response_begin(exchange, 200, "text/given", 1);
    response_write(exchange, "x", 1);
    response_end(exchange);
}

static void send_with_a_type_that_was_set(struct exchange *exchange)
{
    assert_int_equal(add(exchange, "Content-Type", "text/set"), 0);
    response_send(exchange, 200, NULL, "x", 1);
}

static void redirect_with_location(struct exchange *exchange)
{
    assert_int_equal(add(exchange, "Location", "/set"), 0);
    assert_int_equal(add(exchange, "Content-Type", "text/set"), 0);
    response_redirect(exchange, 302, "/given", 6);
}

static void what_an_answer_is_given_takes_the_place_of_what_was_added(void **state)
{
    (void)state;
    static const char given[] = "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/given\r\nContent-Length: 1\r\n\r\nx";
    assert_output(ask(GET("/x"), send_with_two_types), given);
    assert_output(ask(GET("/x"), begin_with_two_types), given);
    assert_output(ask(GET("/x"), send_with_a_type_that_was_set),
                  "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/set\r\nContent-Length: 1\r\n\r\nx");
    assert_output(ask(GET("/x"), redirect_with_location),
                  "HTTP/1.1 302 Found\r\n" DATE "Content-Type: text/plain; charset=utf-8\r\nLocation: /given\r\n"
                  "Content-Length: 10\r\n\r\n302 Found\n");
}

static void close_after(struct exchange *exchange)
{
    assert_int_equal(add(exchange, "connection", "CLOSE"), 0);
    response_send(exchange, 200, NULL, NULL, 0);
}

static void handler_may_close_the_connection(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x"), close_after);
    assert_output(peer, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\nConnection: close\r\n\r\n");
    assert_true(is_closed(peer));
}

static void clear_and_send(struct exchange *exchange)
{
    assert_int_equal(add(exchange, "X-One", "1"), 0);
    response_clear_fields(exchange);
    assert_int_equal(add(exchange, "X-Two", "2"), 0);
    response_send(exchange, 200, NULL, NULL, 0);
}

static char long_value[RESPONSE_FIELDS_MAX + 1];

static void refuse(struct exchange *exchange)
{
    static const char *const fields[][2] = {
        {"X-One", "1"},
        {"content-disposition", "attachment"},
        {"Content-Encoding", "gzip"},
        {"Content-Language", "en"},
        {"Content-Type", "text/x"},
        {"Content-Security-Policy", "default-src 'none'"},
        {"Etag", "\"a\""},
        {"Last-Modified", "x"},
        {"Expires", "0"},
        {"cache-control", "public, max-age=3600"},
        {"Access-Control-Allow-Origin", "*"},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        assert_int_equal(add(exchange, fields[i][0], fields[i][1]), 0);
    }
    response_refuse(exchange, 404, NULL);
}

static void refuse_uncached(struct exchange *exchange)
{
    assert_int_equal(add(exchange, "X-Age", "max-age=1"), 0);
    assert_int_equal(add(exchange, "Cache-Control", "no-store"), 0);
    response_refuse(exchange, 404, NULL);
}

static void refuse_method_after_many_fields(struct exchange *exchange)
{
    for (int i = 0; i < 8; i++) {
        assert_int_equal(add(exchange, "X", long_value), 0);
    }
    exchange->match.allowed = 1U << METHOD_GET;
    response_refuse(exchange, 405, NULL);
}

static void a_refusal_keeps_the_fields_that_are_not_about_the_content(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), refuse),
                  "HTTP/1.1 404 Not Found\r\n" DATE "Content-Type: text/plain; charset=utf-8\r\n"
                  "X-One: 1\r\nContent-Security-Policy: default-src 'none'\r\n"
                  "Access-Control-Allow-Origin: *\r\nContent-Length: 14\r\n\r\n404 Not Found\n");
    assert_output(ask(GET("/x"), refuse_uncached),
                  "HTTP/1.1 404 Not Found\r\n" DATE "Content-Type: text/plain; charset=utf-8\r\n"
                  "X-Age: max-age=1\r\nCache-Control: no-store\r\nContent-Length: 14\r\n\r\n404 Not Found\n");
}

static void a_405_has_allow_even_if_there_is_no_room(void **state)
{
    (void)state;
    memset(long_value, 'x', 2043);
    long_value[2043] = '\0';
    assert_output(ask(GET("/x"), refuse_method_after_many_fields),
                  "HTTP/1.1 405 Method Not Allowed\r\n" DATE "Content-Type: text/plain; charset=utf-8\r\n"
                  "Allow: GET\r\nContent-Length: 23\r\n\r\n405 Method Not Allowed\n");
}

static void cleared_fields_are_not_sent(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), clear_and_send), "HTTP/1.1 200 OK\r\n" DATE "X-Two: 2\r\nContent-Length: 0\r\n\r\n");
}

/* "X" and ": " and CRLF are five bytes. */
static void send_longest_field(struct exchange *exchange)
{
    assert_int_equal(response_add_field(exchange, "X", 1, long_value, RESPONSE_FIELDS_MAX - 4), -ENOBUFS);
    assert_int_equal(response_add_field(exchange, "X", 1, long_value, RESPONSE_FIELDS_MAX + 1), -ENOBUFS);
    assert_int_equal(response_add_field(exchange, "X", 1, long_value, RESPONSE_FIELDS_MAX - 5), 0);
    assert_int_equal(response_add_field(exchange, "Y", 1, "", 0), -ENOBUFS);
    response_send(exchange, 200, NULL, NULL, 0);
}

static void send_two_that_fill_it(struct exchange *exchange)
{
    assert_int_equal(response_add_field(exchange, "X", 1, long_value, RESPONSE_FIELDS_MAX - 10), 0);
    assert_int_equal(response_add_field(exchange, "Y", 1, "1", 1), -ENOBUFS);
    assert_int_equal(response_add_field(exchange, "Y", 1, "", 0), 0);
    response_send(exchange, 200, NULL, NULL, 0);
}

static void fields_are_taken_up_to_their_limit(void **state)
{
    (void)state;
    memset(long_value, 'v', sizeof long_value);
    struct fake_peer *peer = ask(GET("/x"), send_two_that_fill_it);
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "\r\nY: \r\n"));
}

static void field_one_past_the_limit_is_refused(void **state)
{
    (void)state;
    memset(long_value, 'v', sizeof long_value);
    struct fake_peer *peer = ask(GET("/x"), send_longest_field);
    assert_string_equal(statuses(peer), "200");
    assert_true(output_len(peer) > RESPONSE_FIELDS_MAX);
}

static void add_field_without_memory(struct exchange *exchange)
{
    fake_mem_fail_after(1, true);
    assert_int_equal(add(exchange, "X", "y"), -ENOMEM);
    fake_mem_fail_after(0, false);
    response_send(exchange, 200, NULL, NULL, 0);
}

static void field_without_memory_is_told(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), add_field_without_memory), "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n");
}

/* Errors and redirects. */

static void send_error(struct exchange *exchange)
{
    add(exchange, "X-Dropped", "yes");
    response_error(exchange, 503, "come again");
}

static void error_is_a_short_page_without_the_fields_of_the_handler(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), send_error),
                  "HTTP/1.1 503 Service Unavailable\r\n" DATE "Content-Type: text/plain; charset=utf-8\r\n"
                  "Content-Length: 35\r\n\r\n503 Service Unavailable\ncome again\n");
}

static void send_long_error(struct exchange *exchange)
{
    static char detail[5000];
    memset(detail, 'd', sizeof detail - 1);
    response_error(exchange, 500, detail);
}

static void long_detail_is_cut(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x") GET("/hello"), send_long_error);
    assert_string_equal(statuses(peer), "500 200");
    assert_in_range(content_len(peer), 400, 600);
}

static void method_not_allowed_names_those_that_are(void **state)
{
    (void)state;
    struct fake_peer *peer = ask("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", send_hello);
    assert_string_equal(statuses(peer), "405");
    assert_true(output_has(peer, "\r\nAllow: GET, HEAD, POST, OPTIONS\r\n"));
}

static void redirect_to_there(struct exchange *exchange)
{
    response_redirect(exchange, 302, "/there?a=b", 10);
}

static void redirect_to_nonsense(struct exchange *exchange)
{
    response_redirect(exchange, 302, "/there\r\nX: y", 12);
}

static void redirect_has_a_location(void **state)
{
    (void)state;
    assert_output(ask(GET("/x"), redirect_to_there),
                  "HTTP/1.1 302 Found\r\n" DATE "Content-Type: text/plain; charset=utf-8\r\n"
                  "Location: /there?a=b\r\nContent-Length: 10\r\n\r\n302 Found\n");
}

static void redirect_to_what_is_no_field_value_is_500(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x"), redirect_to_nonsense);
    assert_string_equal(statuses(peer), "500");
    assert_false(output_has(peer, "Location"));
}

/* Streams. */

static void stream_pieces(struct exchange *exchange)
{
    static char text[0x1a2b];
    memset(text, 's', sizeof text);
    response_begin(exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    assert_int_equal(response_write(exchange, "a", 1), 1);
    assert_int_equal(response_write(exchange, "", 0), 1); /* would end the content */
    assert_int_equal(response_write(exchange, "0123456789abcdef", 16), 1);
    assert_int_equal(response_write(exchange, text, sizeof text), 1);
    response_end(exchange);
    assert_int_equal(response_write(exchange, "b", 1), -1); /* it has ended */
    response_end(exchange);
}

static void stream_is_chunked(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x"), stream_pieces);
    static const char start[] = "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/plain\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n10\r\n0123456789abcdef\r\n1a2b\r\nsss";
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    assert_memory_equal(output, start, sizeof start - 1);
    assert_string_equal(output + len - 9, "ss\r\n0\r\n\r\n");
    assert_int_equal(content_len(peer), 1 + 16 + 0x1a2b);
}

static void stream_to_http_1_0_ends_with_the_connection(void **state)
{
    (void)state;
    struct fake_peer *peer = ask("GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", stream_pieces);
    static const char start[] = "HTTP/1.1 200 OK\r\n" DATE
                                "Content-Type: text/plain\r\nConnection: close\r\n\r\na0123456789abcdefsss";
    assert_memory_equal(fake_peer_output(peer, NULL), start, sizeof start - 1);
    assert_int_equal(content_len(peer), 1 + 16 + 0x1a2b);
    assert_true(is_closed(peer));
}

static void stream_to_head_is_its_head(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(HEAD("/x"), stream_pieces);
    assert_output(peer, "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_false(is_closed(peer));
    say(peer, GET("/hello"));
    assert_true(output_has(peer, "hello\n"));
}

static void stream_what_was_announced(struct exchange *exchange)
{
    response_begin(exchange, 200, NULL, 5);
    assert_int_equal(response_write(exchange, "12", 2), 1);
    assert_int_equal(response_write(exchange, "345", 3), 1);
    response_end(exchange);
}

static void stream_less(struct exchange *exchange)
{
    response_begin(exchange, 200, NULL, 5);
    assert_int_equal(response_write(exchange, "1234", 4), 1);
    response_end(exchange);
}

static void stream_more(struct exchange *exchange)
{
    response_begin(exchange, 200, NULL, 5);
    assert_int_equal(response_write(exchange, "1234", 4), 1);
    assert_int_equal(response_write(exchange, "56", 2), -1);
    assert_int_equal(response_write(exchange, "5", 1), -1); /* too late */
    response_end(exchange);
}

static void stream_nothing(struct exchange *exchange)
{
    response_begin(exchange, 200, NULL, 0);
    response_end(exchange);
}

static void stream_of_announced_length_has_it(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n";
    assert_output(ask(GET("/x"), stream_what_was_announced),
                  "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n12345");
    struct fake_peer *peer = ask(HEAD("/x"), stream_what_was_announced);
    assert_output(peer, head);
    assert_false(is_closed(peer));
    peer = ask(HEAD("/x"), stream_less); /* nothing is sent, so nothing is missing */
    assert_output(peer, head);
    assert_false(is_closed(peer));
    peer = ask(GET("/x"), stream_nothing);
    assert_output(peer, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 0\r\n\r\n");
    assert_false(is_closed(peer));
}

static void stream_with_less_than_announced_is_cut(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x") GET("/hello"), stream_less);
    assert_output(peer, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n1234");
    assert_true(is_closed(peer));
    assert_int_equal(stats().lost, 1);
}

static void stream_with_more_than_announced_is_cut_before_it(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x") GET("/hello"), stream_more);
    assert_output(peer, "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 5\r\n\r\n1234");
    assert_true(is_closed(peer));
}

static void abort_before_the_head(struct exchange *exchange)
{
    add(exchange, "X-Dropped", "yes");
    response_abort(exchange);
}

static void abort_after_the_head(struct exchange *exchange)
{
    response_begin(exchange, 200, NULL, RESPONSE_LENGTH_UNKNOWN);
    response_write(exchange, "abc", 3);
    response_abort(exchange);
    assert_int_equal(response_write(exchange, "def", 3), -1);
}

static void answer_given_up_before_its_head_is_500(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x") GET("/hello"), abort_before_the_head);
    assert_string_equal(statuses(peer), "500 200");
    assert_false(output_has(peer, "X-Dropped"));
}

static void answer_given_up_after_its_head_is_cut(void **state)
{
    (void)state;
    struct fake_peer *peer = ask(GET("/x") GET("/hello"), abort_after_the_head);
    assert_output(peer, "HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_true(is_closed(peer));
}

/* Content that stays where it is. */

static int releases;
static char large[100000];
static size_t large_len;

static void count_release(void *arg)
{
    assert_ptr_equal(arg, large);
    releases++;
}

static void send_borrowed(struct exchange *exchange)
{
    releases = 0;
    memset(large, 'b', sizeof large);
    response_send_borrowed(exchange, 200, "text/plain", large, large_len, count_release, large);
}

static void borrowed_content_is_sent_and_released_once(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 1000, sizeof large};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        large_len = lengths[i];
        struct fake_peer *peer = ask(GET("/x"), send_borrowed);
        assert_string_equal(statuses(peer), "200");
        assert_int_equal(content_len(peer), large_len);
        assert_int_equal(releases, 1);
        peer = ask(HEAD("/x"), send_borrowed);
        assert_int_equal(releases, 1);
        assert_true(output_len(peer) < 200);
    }
}

static void borrow_without_memory(struct exchange *exchange)
{
    releases = 0;
    large_len = sizeof large;
    static char value[16000];
    memset(value, 'v', sizeof value);
    response_add_field(exchange, "X", 1, value, sizeof value);
    fake_mem_fail_after(1, true);
    response_send_borrowed(exchange, 200, "text/plain", large, large_len, count_release, large);
    fake_mem_fail_after(0, false);
}

static void borrowed_content_is_released_when_there_is_no_memory_for_its_head(void **state)
{
    (void)state;
    ask(GET("/hello"), NULL);
    struct fake_peer *slow = client();
    fake_peer_set_room(slow, 0);
    say(slow, GET("/hello")); /* has the server's output block */
    struct fake_peer *peer = ask(GET("/x"), borrow_without_memory);
    assert_int_equal(releases, 1);
    assert_true(is_closed(peer));
    assert_int_equal(output_len(peer), 0);
    fake_peer_set_room(slow, FAKE_NO_LIMIT);
    settle();
    assert_string_equal(statuses(slow), "200");
}

static void send_large(struct exchange *exchange)
{
    memset(large, 'c', sizeof large);
    response_send(exchange, 200, NULL, large, large_len);
    memset(large, 'x', sizeof large); /* it was copied */
}

static void long_content_is_copied_too(void **state)
{
    (void)state;
    static const size_t lengths[] = {32767, 32768, 32769, sizeof large};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        large_len = lengths[i];
        struct fake_peer *peer = ask(GET("/x"), send_large);
        assert_string_equal(statuses(peer), "200");
        assert_int_equal(content_len(peer), large_len);
        assert_null(strstr(fake_peer_output(peer, NULL), "x"));
        peer = ask(HEAD("/x"), send_large);
        assert_true(output_len(peer) < 200);
    }
}

static void send_large_without_memory(struct exchange *exchange)
{
    fake_mem_fail_after(1, true);
    response_send(exchange, 200, NULL, large, sizeof large);
    fake_mem_fail_after(0, false);
}

static void long_content_without_memory_is_500(void **state)
{
    (void)state;
    assert_string_equal(statuses(ask(GET("/x"), send_large_without_memory)), "500");
}

/* Files. */

static struct file_root root;
static uint64_t file_offset, file_len;
static const char *file_name;

static void send_file(struct exchange *exchange)
{
    struct cached_file *file;
    int64_t now_ms = reactor_now_ms(scene.reactor);
    assert_int_equal(file_cache_get(scene.site->cache, &root, file_name, strlen(file_name), now_ms, &file), 0);
    response_file(exchange, 200, "text/x", file, file_offset, file_len);
}

static void part_of_a_file_is_sent(void **state)
{
    (void)state;
    static char text[100000];
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)('a' + i / 10 % 26);
    }
    tree_write(&scene.tree, "large", text, sizeof text);
    tree_set_mtime(&scene.tree, "large", 784080000, 0);
    char err[256];
    assert_int_equal(file_root_open(&root, scene.tree.path, "", err, sizeof err), 0);
    file_name = "large";
    file_offset = 4321;
    file_len = 60000;
    struct fake_peer *peer = ask(GET("/x") GET("/hello"), send_file);
    assert_string_equal(statuses(peer), "200 200");
    const char *head = "HTTP/1.1 200 OK\r\n" DATE "Content-Type: text/x\r\nContent-Length: 60000\r\n\r\n";
    assert_memory_equal(fake_peer_output(peer, NULL), head, strlen(head));
    assert_memory_equal(fake_peer_output(peer, NULL) + strlen(head), text + 4321, 60000);
    peer = ask(HEAD("/x") HEAD("/x"), send_file);
    assert_int_equal(output_len(peer), 2 * strlen(head));
    file_len = 0;
    peer = ask(GET("/x") GET("/hello"), send_file);
    assert_string_equal(statuses(peer), "200 200");
    file_root_close(&root);
}

static void file_answers_say_when_they_are_the_last(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "small", "small\n");
    tree_set_mtime(&scene.tree, "small", 784080000, 0);
    struct fake_peer *peer = ask(GET("/small"), NULL);
    assert_false(output_has(peer, "Connection"));
    peer = ask(GET_CLOSE("/small"), NULL);
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "\r\nConnection: close\r\n"));
    assert_true(is_closed(peer));
    peer = ask("GET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", NULL);
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "\r\nConnection: keep-alive\r\n"));
    peer = ask(HEAD("/small") GET("/hello"), NULL);
    assert_true(output_has(peer, "\r\nContent-Length: 6\r\n"));
    assert_false(output_has(peer, "small\n"));
    assert_true(output_has(peer, "hello\n"));
}

/* Numbers. */

static void answers_are_counted_by_class(void **state)
{
    (void)state;
    static const int sent[] = {200, 204, 301, 304, 404, 500, 599};
    for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++) {
        status_to_send = sent[i];
        ask(GET("/x"), send_status);
    }
    struct server_stats numbers = stats();
    assert_int_equal(numbers.requests, 7);
    assert_int_equal(numbers.by_class[2], 2);
    assert_int_equal(numbers.by_class[3], 2);
    assert_int_equal(numbers.by_class[4], 1);
    assert_int_equal(numbers.by_class[5], 2);
}

/* Files in memory. */

static void add_file(const char *name, size_t len)
{
    char *content = malloc(len + 1);
    assert_non_null(content);
    for (size_t i = 0; i < len; i++) {
        content[i] = (char)('a' + i % 26);
    }
    content[len] = '\0';
    tree_add_file(&scene.tree, name, content);
    free(content);
}

static void assert_content(const struct fake_peer *peer, size_t expected)
{
    size_t len;
    const char *output = fake_peer_output(peer, &len);
    const char *content = strstr(output, "\r\n\r\n");
    assert_non_null(content);
    content += 4;
    assert_int_equal((size_t)(output + len - content), expected);
    for (size_t i = 0; i < expected; i++) {
        assert_int_equal(content[i], 'a' + (int)(i % 26));
    }
}

static void long_contents_in_memory_are_sent_from_where_they_are(void **state)
{
    (void)state;
    set_limit("max_cached_file", 100000);
    add_file("copied", PREBUILT_COPY_MAX);
    add_file("lent", PREBUILT_COPY_MAX + 1);
    scene_begin();
    for (int i = 0; i < 2; i++) { /* from the disk, then from the cache */
        struct fake_peer *copied = client();
        say(copied, GET("/copied"));
        assert_content(copied, PREBUILT_COPY_MAX);
        struct fake_peer *lent = client();
        say(lent, GET("/lent"));
        assert_content(lent, PREBUILT_COPY_MAX + 1);
        struct fake_peer *head = client();
        say(head, HEAD("/lent"));
        assert_content(head, 0);
    }
    struct fake_peer *both = client();
    say(both, GET("/lent") GET("/lent"));
    assert_string_equal(statuses(both), "200 200");
    assert_int_equal(content_len(both), 2 * (PREBUILT_COPY_MAX + 1));
}

static void contents_that_are_being_sent_stay_when_the_file_is_replaced(void **state)
{
    (void)state;
    set_limit("max_cached_file", 100000);
    add_file("lent", 90000);
    scene_begin();
    struct fake_peer *slow = client();
    fake_peer_set_room(slow, 20000);
    say(slow, GET("/lent"));
    tree_add_file(&scene.tree, "lent", "new");
    pass_ms(2000);
    struct fake_peer *other = client();
    say(other, GET("/lent"));
    assert_int_equal(content_len(other), 3);
    fake_peer_add_room(slow, 100000);
    settle();
    assert_content(slow, 90000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(answer_is_a_head_and_its_content),
        SCENE_TEST(last_answer_says_so),
        SCENE_TEST(http_1_0_is_told_when_the_connection_stays),
        SCENE_TEST(head_announces_the_content_and_leaves_it_out),
        SCENE_TEST(answer_without_content_has_length_0),
        SCENE_TEST(statuses_without_content_have_neither_content_nor_framing),
        SCENE_TEST(refused_fields_leave_the_answer_as_it_was),
        SCENE_TEST(fields_go_out_in_their_order),
        SCENE_TEST(fields_of_one_answer_are_not_in_the_next),
        SCENE_TEST(a_single_field_is_there_once_and_a_list_as_often_as_it_is_added),
        SCENE_TEST(what_an_answer_is_given_takes_the_place_of_what_was_added),
        SCENE_TEST(handler_may_close_the_connection),
        SCENE_TEST(a_refusal_keeps_the_fields_that_are_not_about_the_content),
        SCENE_TEST(a_405_has_allow_even_if_there_is_no_room),
        SCENE_TEST(cleared_fields_are_not_sent),
        SCENE_TEST(fields_are_taken_up_to_their_limit),
        SCENE_TEST(field_one_past_the_limit_is_refused),
        SCENE_TEST(field_without_memory_is_told),
        SCENE_TEST(error_is_a_short_page_without_the_fields_of_the_handler),
        SCENE_TEST(long_detail_is_cut),
        SCENE_TEST(method_not_allowed_names_those_that_are),
        SCENE_TEST(redirect_has_a_location),
        SCENE_TEST(redirect_to_what_is_no_field_value_is_500),
        SCENE_TEST(stream_is_chunked),
        SCENE_TEST(stream_to_http_1_0_ends_with_the_connection),
        SCENE_TEST(stream_to_head_is_its_head),
        SCENE_TEST(stream_of_announced_length_has_it),
        SCENE_TEST(stream_with_less_than_announced_is_cut),
        SCENE_TEST(stream_with_more_than_announced_is_cut_before_it),
        SCENE_TEST(answer_given_up_before_its_head_is_500),
        SCENE_TEST(answer_given_up_after_its_head_is_cut),
        SCENE_TEST(borrowed_content_is_sent_and_released_once),
        SCENE_TEST(borrowed_content_is_released_when_there_is_no_memory_for_its_head),
        SCENE_TEST(long_content_is_copied_too),
        SCENE_TEST(long_content_without_memory_is_500),
        SCENE_TEST(part_of_a_file_is_sent),
        SCENE_TEST(file_answers_say_when_they_are_the_last),
        SCENE_TEST(answers_are_counted_by_class),
        SCENE_TEST(long_contents_in_memory_are_sent_from_where_they_are),
        SCENE_TEST(contents_that_are_being_sent_stay_when_the_file_is_replaced),
    };
    return cmocka_run_group_tests_name("response", tests, NULL, NULL);
}
