/* HTTP/1 between two buffers: what goes in and what must come out, byte for byte, without a server. Each row is played
 * in every way in which bytes can come and go. */

#include "http/router.h"
#include "tests/lib/h1_scene.h"

#include <errno.h>

/* What becomes of the connection. */
enum fate {
    STAYS,   /* open, and idle if all requests are complete */
    LINGERS, /* over: all is sent, the client may still be sending */
    CLOSES,  /* over at once */
};

struct row {
    const char *name;
    const char *in;
    const char *out; /* without Date */
    enum fate fate;
    bool ends; /* the client shuts its side after in */
};

#define POST(path, fields) "POST " path " HTTP/1.1\r\nHost: a\r\n" fields CRLF
#define HELLO              OK_TEXT("6", "hello\n")
#define HELLO_CLOSE                                                                                                    \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"
#define CHUNKS                                                                                                         \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"                                \
    "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
#define ERROR(status, length, page)                                                                                    \
    "HTTP/1.1 " status CRLF "Content-Type: text/plain; charset=utf-8\r\nContent-Length: " length CRLF                  \
    "Connection: close\r\n\r\n" page

static const struct row rows[] = {
    {"a request", GET("/hello"), HELLO, STAYS, false},
    {"empty lines before a request", "\r\n\r\n" GET("/hello"), HELLO, STAYS, false},
    {"requests one after the other", GET("/hello") GET("/chunks") GET("/hello"), HELLO CHUNKS HELLO, STAYS, false},
    {"the client says that it is the last one", "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
     HELLO_CLOSE, LINGERS, false},
    {"what follows the last one is not read",
     "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/hello"), HELLO_CLOSE, LINGERS, false},
    {"HTTP/1.0 closes", "GET /hello HTTP/1.0\r\n\r\n", HELLO_CLOSE, LINGERS, false},
    {"HTTP/1.0 that asks to stay", "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\nhello\n" HELLO_CLOSE,
     LINGERS, false},
    {"the client shuts its side after a request", GET("/hello"), HELLO, LINGERS, true},
    {"the client shuts its side after half a head", GET("/hello") "GET /hel", HELLO, CLOSES, true},
    {"the client shuts its side without a word", "", "", LINGERS, true},

    {"HEAD", "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"), OK_TEXT("6", "") HELLO, STAYS, false},
    {"HEAD of a stream", "HEAD /chunks HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hello"),
     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" HELLO, STAYS, false},
    {"a stream of a known length", GET("/sized"), OK_TEXT("6", "onetwo"), STAYS, false},
    {"a stream to HTTP/1.0 ends with the connection", "GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nonetwo", LINGERS, false},

    {"a body with its length", POST("/echo", "Content-Length: 5\r\n") "12345" GET("/hello"),
     OK_TEXT("5", "12345") HELLO, STAYS, false},
    {"an empty body", POST("/echo", "Content-Length: 0\r\n") GET("/hello"), OK_TEXT("0", "") HELLO, STAYS, false},
    {"a body in chunks",
     POST("/echo", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n" GET("/hello"),
     OK_TEXT("5", "abcde") HELLO, STAYS, false},
    {"a body for a handler that takes it in pieces",
     POST("/stream-back", "Content-Length: 5\r\n") "12345" GET("/hello"), OK_TEXT("5", "12345") HELLO, STAYS, false},
    {"chunks for a handler that takes them in pieces",
     POST("/stream-back", "Transfer-Encoding: chunked\r\n") "5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n" GET("/hello"),
     OK_TEXT("6", "abcdef") HELLO, STAYS, false},
    {"a body that nobody wants is dropped", POST("/hello", "Content-Length: 5\r\n") "12345" GET("/hello"), HELLO HELLO,
     STAYS, false},
    {"chunks that nobody wants are dropped",
     POST("/hello", "Transfer-Encoding: chunked\r\n") "5\r\n12345\r\n0\r\n\r\n" GET("/hello"), HELLO HELLO, STAYS,
     false},
    {"a body that ends too early", POST("/echo", "Content-Length: 5\r\n") "123", "", CLOSES, true},

    {"no route", GET("/none") GET("/hello"),
     "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 14\r\n\r\n404 Not Found\n" HELLO,
     STAYS, false},
    {"a malformed request line", "GET\r\n\r\n" GET("/hello"),
     ERROR("400 Bad Request", "46", "400 Bad Request\nrequest line without a target\n"), LINGERS, false},
    {"a path that leads out", GET("/../etc/passwd") GET("/hello"),
     ERROR("400 Bad Request", "43", "400 Bad Request\npath climbs above the root\n"), LINGERS, false},
    {"a request without Host", "GET /hello HTTP/1.1\r\n\r\n",
     ERROR("400 Bad Request", "46", "400 Bad Request\nHTTP/1.1 request without Host\n"), LINGERS, false},
    {"an error after a good request", GET("/hello") "GET / HTTP/2.0\r\n\r\n",
     HELLO ERROR("505 HTTP Version Not Supported", "59",
                 "505 HTTP Version Not Supported\nHTTP major version is not 1\n"),
     LINGERS, false},
    {"both framings of a body", POST("/echo", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n",
     ERROR("400 Bad Request", "58", "400 Bad Request\nboth Content-Length and Transfer-Encoding\n"), LINGERS, false},
    {"bad chunks", POST("/echo", "Transfer-Encoding: chunked\r\n") "x\r\n",
     ERROR("400 Bad Request", "37", "400 Bad Request\nchunk without a size\n"), LINGERS, false},
    {"OPTIONS of the server", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
     "HTTP/1.1 204 No Content\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n\r\n", STAYS, false},
};

static void assert_row(const struct row *row, const char *way, size_t at)
{
    bool is_fate = row->fate == STAYS     ? !h1_scene.is_over
                   : row->fate == LINGERS ? h1_scene.last == TURN_LINGER
                                          : h1_scene.last == TURN_CLOSE;
    if (strcmp(read_output(), row->out) != 0 || !is_fate) {
        fail_msg("%s, %s %zu: last turn %d, output:\n%s", row->name, way, at, (int)h1_scene.last, read_output());
    }
    if (row->fate == STAYS) {
        assert_null(h1_scene.conn.work); /* an idle connection holds nothing */
        assert_true(waits_for() == WAIT_IDLE);
    }
}

/* Send in pieces of step bytes after a first one of first bytes; the client takes take bytes each time that the
 * transport is full. */
static void play(const struct row *row, size_t first, size_t step, size_t take)
{
    size_t len = strlen(row->in);
    new_connection();
    h1_scene.take = take;
    h1_scene.room = take;
    for (size_t at = 0; at < len;) {
        size_t piece = at == 0 && first > 0 ? first : step;
        piece = piece < len - at ? piece : len - at;
        client_sends_bytes(row->in + at, piece);
        pump();
        at += piece;
    }
    if (row->ends) {
        client_ends();
        pump();
    }
}

static void responses_do_not_depend_on_how_bytes_come_and_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        play(row, 0, NO_LIMIT, NO_LIMIT);
        assert_row(row, "whole", 0);
        play(row, 0, 1, NO_LIMIT);
        assert_row(row, "byte by byte", 0);
        for (size_t at = 1; at < strlen(row->in); at++) {
            play(row, at, NO_LIMIT, NO_LIMIT);
            assert_row(row, "split at", at);
        }
        for (size_t take = 1; take < 8; take++) {
            play(row, 0, NO_LIMIT, take);
            assert_row(row, "whole, and the client takes", take);
            play(row, 0, 1, take);
            assert_row(row, "byte by byte, and the client takes", take);
        }
    }
}

/* One write for all pipelined responses, and a turn that ends after 64 of them (R6). */
static void pipelined_responses_leave_together(void **state)
{
    (void)state;
    enum { REQUESTS = 100, BUDGET = 64 };
    for (int i = 0; i < REQUESTS; i++) {
        client_sends(GET("/hello"));
    }
    assert_true(h1_scene.conn.protocol->read(&h1_scene.conn) > 0);
    assert_int_equal(h1_scene.conn.protocol->advance(&h1_scene.conn), TURN_AGAIN);
    assert_int_equal(h1_scene.service.stats.requests, BUDGET);
    assert_int_equal(h1_scene.write_max, h1_scene.out_len);
    assert_int_equal(h1_scene.conn.protocol->advance(&h1_scene.conn), TURN_WAIT);
    assert_int_equal(h1_scene.service.stats.requests, REQUESTS);
    assert_null(h1_scene.conn.work);
}

/* A request after its server went to another site is one of that site; the one before finishes with its own. */
static void another_site_is_served_from_the_next_request_on(void **state)
{
    (void)state;
    char err[256];
    static char bye_text[] = "bye\n";
    static const struct handler bye = {.serve = serve_text, .ctx = bye_text};
    struct site *former = h1_scene.site;
    struct site *next = NULL;
    assert_int_equal(site_create(&next, NULL), 0);
    assert_int_equal(router_add(next->default_host.router, 1U << METHOD_GET, "/hello", &bye, "", err, sizeof err), 0);

    say(GET("/hold") GET("/hello"));
    h1_scene.service.site = next;
    h1_server_renew(h1_scene.server);
    assert_int_equal(former->pins, 1);
    response_send(held_exchange, 200, "text/plain", "held", 4);
    take_turn();
    assert_output(OK_TEXT("4", "held") OK_TEXT("4", "bye\n"));
    assert_int_equal(former->pins, 0);
    assert_int_equal(next->pins, 0); /* the connection is idle */
    site_destroy(former);
    h1_scene.site = next; /* the scene frees it */
}

/* A host that keeps an account hears of each request once, with how it ended. */

static char ends[64]; /* a letter for each request that is over */

static void note_end(void *arg, const struct outcome *outcome)
{
    (void)arg;
    size_t len = strlen(ends);
    assert_true(len < sizeof ends - 1);
    ends[len] = outcome->end == OUTCOME_COMPLETE ? 'c' : outcome->end == OUTCOME_GONE ? 'g' : 'a';
    ends[len + 1] = '\0';
}

static void each_request_has_one_outcome(void **state)
{
    (void)state;
    const struct server_hooks hooks = {.finished = note_end};
    service_set_hooks(&h1_scene.service, &hooks);
    h1_server_renew(h1_scene.server);
    ends[0] = '\0';
    say(GET("/hello") GET("/chunks") "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n" GET("/hold"));
    assert_string_equal(ends, "ccc");
    new_connection(); /* the client is lost */
    assert_string_equal(ends, "cccg");
    say("GET\r\n\r\n");
    assert_string_equal(ends, "cccgc");
    new_connection();
    h1_scene.room = h1_scene.take = 0;
    say(GET("/hello"));
    assert_string_equal(ends, "cccgc"); /* not before it is sent */
    h1_scene.take = 1;
    pump();
    assert_string_equal(ends, "cccgcc");
    say(GET("/hold"));
    response_begin(held_exchange, 200, "text/plain", RESPONSE_LENGTH_UNKNOWN);
    response_abort(held_exchange);
    take_turn();
    assert_string_equal(ends, "cccgcca");
}

/* What it says in log lines. */
static void it_says_what_it_is_doing(void **state)
{
    (void)state;
    const struct protocol *protocol = h1_scene.conn.protocol;
    assert_string_equal(protocol->name, "HTTP/1");
    say("GET /ho");
    assert_string_equal(protocol->doing(&h1_scene.conn), "while reading request headers");
    say("ld HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(protocol->doing(&h1_scene.conn), "while a handler was at work");
    new_connection();
    say(POST("/echo", "Content-Length: 5\r\n") "12");
    assert_string_equal(protocol->doing(&h1_scene.conn), "while reading the request body");
    new_connection();
    h1_scene.room = h1_scene.take = 0;
    say("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_string_equal(protocol->doing(&h1_scene.conn), "while closing");
}

/* The transport fails: the connection is over, and says why. */
static void an_error_of_the_transport_ends_the_connection(void **state)
{
    (void)state;
    h1_scene.error = -ECONNRESET;
    say(GET("/hello"));
    assert_int_equal(h1_scene.last, TURN_CLOSE);

    new_connection();
    say(GET("/hold"));
    response_send(held_exchange, 200, "text/plain", "held", 4);
    h1_scene.error = -EPIPE;
    take_turn();
    assert_int_equal(h1_scene.last, TURN_CLOSE);
    assert_non_null(strstr(h1_scene.log_text, "connection lost: "));
    assert_int_equal(h1_scene.service.stats.lost, 1);
}

/* Each allocation fails in turn: the connection is over, or goes on as if nothing had been; nothing is left behind. */
static void without_memory_the_connection_ends(void **state)
{
    (void)state;
    static const char in[] = GET("/chunks") POST("/echo", "Content-Length: 5\r\n") "12345" GET("/hello");
    bool is_whole = false;
    for (size_t n = 1; !is_whole; n++) {
        assert_true(n < 1000);
        new_connection();
        h1_server_renew(h1_scene.server); /* nothing is kept from the run before */
        fake_mem_fail_after(n, false);
        for (size_t at = 0; at < sizeof in - 1 && !h1_scene.is_over; at++) {
            client_sends_bytes(in + at, 1);
            pump();
        }
        is_whole = strcmp(read_output(), CHUNKS OK_TEXT("5", "12345") HELLO) == 0;
        fake_mem_fail_after(0, false);
        assert_true(is_whole || h1_scene.is_over || strstr(read_output(), "HTTP/1.1 50") != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H1_TEST(responses_do_not_depend_on_how_bytes_come_and_go),
        H1_TEST(pipelined_responses_leave_together),
        H1_TEST(another_site_is_served_from_the_next_request_on),
        H1_TEST(each_request_has_one_outcome),
        H1_TEST(it_says_what_it_is_doing),
        H1_TEST(an_error_of_the_transport_ends_the_connection),
        H1_TEST(without_memory_the_connection_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
