/* http/access_log.c and access_line.c: the lines of a server on the fake kernel, for every way a request can end. The
 * file is a real one. */

#include "tests/lib/server_scene.h"

#include "http/access_file.h"
#include "http/access_format.h"
#include "http/access_log.h"
#include "http/request_id.h"

#include <fcntl.h>
#include <unistd.h>

static struct access_log *access_log;
static struct access_file *file;
static char path[sizeof scene.tree + 64];
static char lines[200000];
static off_t seen;

/* Serve with an access log in a format. */
static void log_in(const char *text)
{
    struct access_format *format;
    char err[512] = "";
    snprintf(path, sizeof path, "/tmp/evserve-access-%d.log", (int)getpid());
    unlink(path);
    seen = 0;
    scene_begin();
    if (access_format_parse(&format, text, err, sizeof err) < 0 ||
        access_file_open(&file, path, 0, &scene.log, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    assert_int_equal(access_log_create(&access_log, scene.reactor), 0);
    assert_int_equal(access_log_change(access_log, file, format), 0);
    access_format_put(format);
    service_set_access(server_service(scene.server), access_log, access_log_is_timed(access_log));
}

static void end_log(void)
{
    server_destroy(scene.server);
    scene.server = NULL;
    access_log_destroy(access_log);
    access_file_put(file);
    unlink(path);
}

/* What was logged since the last call, once the buffer was written. */
static const char *take_lines(void)
{
    pass_ms(ACCESS_WRITE_MS);
    int fd = open(path, O_RDONLY);
    ssize_t len = pread(fd, lines, sizeof lines - 1, seen);
    close(fd);
    assert_true(len >= 0);
    seen += len;
    lines[len] = '\0';
    return lines;
}

static void every_response_has_a_line(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "file.txt", "content");
    log_in("$request_method $request_uri $status $body_bytes_sent $bytes_sent $route $request_completion");
    struct fake_peer *peer = client();
    say(peer, GET("/hello?a=1"));
    size_t first = output_len(peer);
    char wanted[256];
    snprintf(wanted, sizeof wanted, "GET /hello?a=1 200 6 %zu /hello OK\n", first);
    assert_string_equal(take_lines(), wanted);
    say(peer, GET("/file.txt"));
    snprintf(wanted, sizeof wanted, "GET /file.txt 200 7 %zu - OK\n", output_len(peer) - first);
    assert_string_equal(take_lines(), wanted);
    end_log();
}

static void pipelined_responses_have_their_own_bytes_and_one_write(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "file.txt", "content");
    log_in("$request $status $body_bytes_sent $bytes_sent");
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    size_t hello_len = output_len(peer);
    take_lines();
    uint64_t sends = fake_sys_count(FAKE_SEND) + fake_sys_count(FAKE_SENDV);
    say(peer, GET("/hello") GET("/hello") HEAD("/file.txt") GET("/hello"));
    assert_int_equal(fake_sys_count(FAKE_SEND) + fake_sys_count(FAKE_SENDV), sends + 1);
    char wanted[512];
    const char *text = take_lines();
    size_t head_len = output_len(peer) - 4 * hello_len;
    snprintf(wanted, sizeof wanted,
             "GET /hello HTTP/1.1 200 6 %zu\nGET /hello HTTP/1.1 200 6 %zu\nHEAD /file.txt HTTP/1.1 200 0 %zu\n"
             "GET /hello HTTP/1.1 200 6 %zu\n",
             hello_len, hello_len, head_len, hello_len);
    assert_string_equal(text, wanted);
    end_log();
}

static void heads_that_are_refused_are_logged_as_far_as_they_came(void **state)
{
    (void)state;
    static const struct {
        const char *request, *line;
    } cases[] = {
        {"GET /x HTTP/1.1\r\n\r\n", "\"GET /x HTTP/1.1\" 400\n"},
        {"\r\nGET /x HTTP/3.1\r\n\r\n", "\"GET /x HTTP/3.1\" 505\n"},
        {"GET /\x01\" HTTP/1.1\r\n\r\n", "\"GET /\\x01\\x22 HTTP/1.1\" 400\n"},
        {"\x16\x03\x01\x02\x01", "\"\\x16\\x03\\x01\\x02\\x01\" 400\n"},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "\"POST /echo HTTP/1.1\" 413\n"},
        {"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "\"GET /%zz HTTP/1.1\" 400\n"},
        {"GET /\xff\xe9 HTTP/1.0\r\n\r\n", "\"GET /\\xFF\\xE9 HTTP/1.0\" 400\n"},
    };
    log_in("\"$request\" $status");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = client();
        say(peer, cases[i].request);
        assert_string_equal(take_lines(), cases[i].line);
        fake_peer_close(peer);
        settle();
    }
    end_log();
}

static void clients_that_leave_are_499_and_late_ones_408(void **state)
{
    (void)state;
    log_in("\"$request\" $status $request_completion");
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    fake_peer_close(peer);
    settle();
    assert_string_equal(take_lines(), "\"GET /hold HTTP/1.1\" 499 -\n");
    peer = client();
    say(peer, "GET /half");
    fake_peer_close(peer);
    settle();
    assert_string_equal(take_lines(), "\"GET /half\" 499 -\n");
    peer = client();
    say(peer, "GET /late HTTP/1.1\r\nHo");
    pass_ms(60000);
    assert_string_equal(take_lines(), "\"GET /late HTTP/1.1\" 408 OK\n");
    peer = client(); /* a probe: it sends nothing */
    fake_peer_close(peer);
    settle();
    peer = client();
    say(peer, GET("/hello"));
    fake_peer_close(peer);
    settle();
    assert_string_equal(take_lines(), "\"GET /hello HTTP/1.1\" 200 OK\n");
    end_log();
}

static void response_that_is_cut_has_the_bytes_that_went_out(void **state)
{
    (void)state;
    log_in("$status $body_bytes_sent $request_completion");
    struct fake_peer *peer = client();
    say(peer, GET("/hold"));
    response_begin(held[0].exchange, 200, "text/plain", 100);
    response_write(held[0].exchange, "0123456789", 10);
    settle();
    fake_peer_reset(peer, 0);
    settle();
    assert_string_equal(take_lines(), "200 10 -\n");
    end_log();
}

static void interim_response_counts_as_head(void **state)
{
    (void)state;
    log_in("$status $body_bytes_sent");
    struct fake_peer *peer = client();
    say(peer, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    say(peer, "abc");
    assert_string_equal(take_lines(), "200 3\n");
    end_log();
}

static void variables_say_what_the_request_said(void **state)
{
    static const struct {
        const char *format, *request, *line;
    } cases[] = {
        {"$remote_addr $scheme $host $server_protocol", "GET /hello HTTP/1.1\r\nHost: Example.ORG:80\r\n\r\n",
         "127.0.0.1 http example.org HTTP/1.1\n"},
        {"$remote_addr|$remote_port|$realip_remote_addr|$scheme|$host",
         "GET /hello HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7, [2001:db8::7]:80\r\nX-Forwarded-Proto: https\r\n"
         "X-Forwarded-Host: Example.org:80\r\n\r\n",
         "2001:db8::7|80|127.0.0.1|https|example.org\n"},
        {"$remote_addr|$remote_port", "GET /hello HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n",
         "192.0.2.7|-\n"},
        {"$host", "GET /hello HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "[::1]\n"},
        {"$args|$query_string|$uri", "GET /%68ello?a=b%20c HTTP/1.1\r\nHost: a\r\n\r\n", "a=b%20c|a=b%20c|/hello\n"},
        {"$args|$http_x|$tls_version|$ssl_cipher", "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", "-|-|-|-\n"},
        {"$remote_user", "GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: Basic am9lOnNlY3JldA==\r\n\r\n", "joe\n"},
        {"$remote_user", "GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: Basic am9l\r\n\r\n", "-\n"},
        {"$remote_user", "GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer abc\r\n\r\n", "-\n"},
        {"$remote_user", "GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: basic Igo6eA==\r\n\r\n", "\\x22\\x0A\n"},
        {"$http_user_agent", "GET /hello HTTP/1.1\r\nHost: a\r\nuser-AGENT: a\t\"b\\\r\nUser-Agent: c\r\n\r\n",
         "a\\x09\\x22b\\x5C\n"},
        {"$time_local $time_iso8601", "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
         "06/Nov/1994:08:49:37 +0000 1994-11-06T08:49:37+00:00\n"},
        {"$request_length|$msec", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
         "54|784111777.000\n"},
        {"$request_length", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
         "63\n"},
        {"$request_length $request_id", "GET /\x01 HTTP/1.1\r\n\r\n", "19 -\n"},
        {"$sent_http_x_none|$sent_http_allow", "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n", "-|GET, HEAD, OPTIONS\n"},
        {"escape=json \"$http_a\",\"$http_b\"",
         "GET /hello HTTP/1.1\r\nHost: a\r\nA: \xc3\xa9\xff\"\\\t\x80\xf0\x9f\x98\x80\r\n\r\n",
         "\"\xc3\xa9\\uFFFD\\\"\\\\\\t\\uFFFD\xf0\x9f\x98\x80\",\"\"\n"},
    };
    setenv("TZ", "UTC", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(site_set_trusted_proxies(scene.site, "127.0.0.1", NULL, 0), 0);
        log_in(cases[i].format);
        say(client(), cases[i].request);
        access_log_flush(access_log);
        assert_string_equal(take_lines(), cases[i].line);
        end_log();
        scene_tear_down(state);
        scene_set_up(state);
    }
}

static void field_that_a_handler_adds_can_be_logged(void **state)
{
    (void)state;
    log_in("$sent_http_x_a|$sent_http_x_ab|$sent_http_x_empty|$sent_http_x");
    say(client(), GET("/hold"));
    response_add_field(held[0].exchange, "X-AB", 4, "one\"", 4);
    response_add_field(held[0].exchange, "x-a", 3, "two", 3);
    response_add_field(held[0].exchange, "X-A", 3, "three", 5);
    response_add_field(held[0].exchange, "X-Empty", 7, "", 0);
    reply_held(0, "done");
    assert_string_equal(take_lines(), "two|one\\x22|-|-\n");
    end_log();
}

static void id_is_the_one_that_the_handler_saw(void **state)
{
    (void)state;
    log_in("$request_id $request_id");
    say(client(), GET("/hold"));
    char wanted[128];
    const char *id = request_id(held[0].exchange);
    snprintf(wanted, sizeof wanted, "%s %s\n", id, id);
    reply_held(0, "done");
    assert_string_equal(take_lines(), wanted);
    end_log();
}

static void time_of_a_request_is_that_of_its_handler(void **state)
{
    (void)state;
    log_in("$request_time");
    say(client(), GET("/hold"));
    pass_ms(1234);
    reply_held(0, "late");
    assert_string_equal(take_lines(), "1.234\n");
    end_log();
}

/* A reload may bring a format that shows times, while requests are in flight whose begin nobody has noted. */
static void time_of_a_request_that_was_not_timed_is_zero(void **state)
{
    (void)state;
    struct access_format *timed;
    log_in("$status");
    say(client(), GET("/hold"));
    assert_int_equal(access_format_parse(&timed, "$request_time", NULL, 0), 0);
    assert_int_equal(access_log_change(access_log, file, timed), 0);
    access_format_put(timed);
    pass_ms(1234);
    reply_held(0, "late");
    assert_string_equal(take_lines(), "0.000\n");
    end_log();
}

static void long_value_is_cut_and_what_follows_is_there(void **state)
{
    (void)state;
    static char request[40000];
    set_limit("max_header_bytes", 60000);
    log_in("[$http_a] $status");
    strcpy(request, "GET /hello HTTP/1.1\r\nHost: a\r\nA: ");
    memset(request + strlen(request), '"', 20000);
    strcat(request, "\r\n\r\n");
    say(client(), request);
    const char *text = take_lines();
    size_t len = strlen(text);
    assert_true(len <= ACCESS_FILE_LINE_MAX && len > ACCESS_FILE_LINE_MAX - 100);
    assert_string_equal(text + len - 6, "] 200\n");
    end_log();
}

static void full_buffer_is_written_at_once(void **state)
{
    (void)state;
    log_in("$http_a");
    struct fake_peer *peer = client();
    static char request[4096];
    strcpy(request, "GET /hello HTTP/1.1\r\nHost: a\r\nA: ");
    memset(request + strlen(request), 'x', 3999);
    request[33 + 3967] = '\0';
    strcat(request, "\r\n\r\n");
    for (int i = 0; i < 17; i++) {
        say(peer, request);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size >= ACCESS_BLOCK_BYTES);
    end_log();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(every_response_has_a_line),
        SCENE_TEST(pipelined_responses_have_their_own_bytes_and_one_write),
        SCENE_TEST(heads_that_are_refused_are_logged_as_far_as_they_came),
        SCENE_TEST(clients_that_leave_are_499_and_late_ones_408),
        SCENE_TEST(response_that_is_cut_has_the_bytes_that_went_out),
        SCENE_TEST(interim_response_counts_as_head),
        SCENE_TEST(variables_say_what_the_request_said),
        SCENE_TEST(field_that_a_handler_adds_can_be_logged),
        SCENE_TEST(id_is_the_one_that_the_handler_saw),
        SCENE_TEST(time_of_a_request_is_that_of_its_handler),
        SCENE_TEST(time_of_a_request_that_was_not_timed_is_zero),
        SCENE_TEST(long_value_is_cut_and_what_follows_is_there),
        SCENE_TEST(full_buffer_is_written_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
