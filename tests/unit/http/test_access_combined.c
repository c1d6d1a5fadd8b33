/* http/access_combined.c: the straight way to a line of "combined" writes what the general way writes, whatever a
 * request says. Each request is served twice: logged as "combined", and in a format of the same text. */

#include "tests/lib/server_scene.h"

#include "http/access_combined.h"
#include "http/access_file.h"
#include "http/access_format.h"
#include "http/access_log.h"

#include <fcntl.h>
#include <unistd.h>

static const char as_text[] = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent "
                              "\"$http_referer\" \"$http_user_agent\"";

static struct access_log *combined_log;
static struct access_format *combined, *text_format;
static struct access_file *log_file;
static access_combined_fn real_fn;
static unsigned straight_lines; /* written since the last look */
static char log_path[64], one_line[40000], other_line[40000], request[40000];
static off_t log_seen;

/* The variant under test, counted. */
static bool count_straight(struct access_buffer *buffer, struct exchange *exchange, uint64_t bytes)
{
    buffer->write_usual = real_fn; /* it may call itself */
    bool is_written = real_fn(buffer, exchange, bytes);
    buffer->write_usual = count_straight;
    straight_lines += is_written;
    return is_written;
}

static struct access_format *parse_format(const char *text)
{
    char err[512] = "";
    struct access_format *format = NULL;
    if (access_format_parse(&format, text, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    return format;
}

static void use_format(struct access_format *format)
{
    assert_int_equal(access_log_change(combined_log, log_file, format), 0);
    struct access_buffer *buffer = (struct access_buffer *)(void *)combined_log;
    assert_true((buffer->write_usual == access_combined_never) == (format != combined));
    if (format == combined) {
        buffer->write_usual = count_straight;
    }
}

static void begin_logs(access_combined_fn fn)
{
    char err[512] = "";
    real_fn = fn;
    setenv("TZ", "UTC", 1);
    snprintf(log_path, sizeof log_path, "/tmp/evserve-combined-%d.log", (int)getpid());
    unlink(log_path);
    log_seen = 0;
    scene_begin();
    combined = parse_format("combined");
    text_format = parse_format(as_text);
    if (access_file_open(&log_file, log_path, 0, &scene.log, err, sizeof err) < 0) {
        fail_msg("%s", err);
    }
    assert_int_equal(access_log_create(&combined_log, scene.reactor), 0);
    use_format(combined);
    service_set_access(server_service(scene.server), combined_log, false);
}

static void end_logs(void)
{
    server_destroy(scene.server);
    scene.server = NULL;
    access_log_destroy(combined_log);
    access_file_put(log_file);
    access_format_put(combined);
    access_format_put(text_format);
    unlink(log_path);
}

/* What was logged since the last call. */
static void read_lines(char *lines, size_t size)
{
    access_log_flush(combined_log);
    int fd = open(log_path, O_RDONLY);
    ssize_t len = pread(fd, lines, size - 1, log_seen);
    close(fd);
    assert_true(len >= 0);
    log_seen += len;
    lines[len] = '\0';
}

/* The first line of a buffer is never a straight one, so each text has a first line of its own. Returns whether the
 * second one, that of text, was. */
static bool same_line(struct fake_peer *peer, const char *text)
{
    use_format(combined);
    say(peer, GET("/hello"));
    straight_lines = 0;
    say(peer, text);
    bool is_straight = straight_lines == 1;
    read_lines(one_line, sizeof one_line);
    use_format(text_format);
    say(peer, GET("/hello"));
    say(peer, text);
    read_lines(other_line, sizeof other_line);
    if (strcmp(one_line, other_line) != 0) {
        fail_msg("%s\n is logged as\n%s\n not as\n%s", text, one_line, other_line);
    }
    return is_straight;
}

static void usual_requests_go_the_straight_way(void **state)
{
    static const struct {
        bool is_straight;
        const char *text;
    } cases[] = {
        {true, GET("/hello")},
        {true, GET("/")},
        {true, GET("/nothing/here?with=a&query=b")},
        {true, HEAD("/file.txt")},
        {true, GET("/file.txt")},
        {true, "GET /hello HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"},
        {true, "GET http://a/hello HTTP/1.1\r\nHost: a\r\n\r\n"},
        {true, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"},
        {true, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc"},
        {true, "GET /hello HTTP/1.1\r\nHost: a\r\nUSER-AGENT: curl/8.5\r\nreferer: http://b/\r\n\r\n"},
        {true,
         "GET /hello HTTP/1.1\r\nHost: a\r\nReferer: one\r\nReferer: two\r\nUser-Agent: 1\r\nUser-Agent: 2\r\n\r\n"},
        {true, "GET /hello HTTP/1.1\r\nHost: a\r\nReferer:\r\nUser-Agent:  \r\nReferer: two\r\n\r\n"},
        {true, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nUpgrade: x\r\nCache-Control: no\r\n\r\n"},
        {true, "GET /hello HTTP/1.1\r\nHost: a\r\nX123456789012345678901234567890123456789012345678901234567890123456"
               "7890: 1\r\nUser-Agent: a\r\n\r\n"},
        {false, "GET /hello HTTP/1.1\r\nHost: a\r\nAuthorization: Basic am9lOnNlY3JldA==\r\n\r\n"},
        {false, "GET /hello HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\nauthorization: x\r\nReferer: c\r\n\r\n"},
        {false, "GET /hello?\" HTTP/1.1\r\nHost: a\r\n\r\n"},
        {false, "GET /hello?a\\b HTTP/1.1\r\nHost: a\r\n\r\n"},
    };
    access_combined_fn fn;
    for (unsigned n = 0; (fn = access_combined_variant(n)) != NULL; n++) {
        tree_add_file(&scene.tree, "file.txt", "content");
        begin_logs(fn);
        struct fake_peer *peer = client();
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            if (same_line(peer, cases[i].text) != cases[i].is_straight) {
                fail_msg("%s", cases[i].text);
            }
        }
        end_logs();
        scene_tear_down(state);
        scene_set_up(state);
    }
}

/* Values of all lengths, without and with each byte that may be in a head, at each place. */
static void every_byte_at_every_place_is_escaped_alike(void **state)
{
    static const char odd[] = "\"\\\t\x80\xff\xe9";
    access_combined_fn fn;
    for (unsigned n = 0; (fn = access_combined_variant(n)) != NULL; n++) {
        begin_logs(fn);
        struct fake_peer *peer = client();
        for (unsigned len = 1; len <= 70; len++) {
            char agent[80];
            for (unsigned place = 0; place <= len; place += 1 + len / 9) {
                memset(agent, 'b', len);
                agent[len] = '\0';
                if (place < len) {
                    agent[place] = odd[(len + place) % (sizeof odd - 1)];
                }
                bool is_inside = place > 0 && place + 1 < len; /* white space around a value is no part of it */
                snprintf(request, sizeof request, "GET /hello?%.*s HTTP/1.1\r\nHost: a\r\nUser-Agent: %s\r\n\r\n",
                         (int)(70 - len), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                         agent);
                bool is_straight = same_line(peer, request);
                assert_true(is_straight == (place == len) || (!is_inside && agent[place] == '\t'));
                snprintf(request, sizeof request, "GET /hello HTTP/1.1\r\nReferer: %s\r\nHost: a\r\nA: %s\r\n\r\n",
                         agent, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
                is_straight = same_line(peer, request);
                assert_true(is_straight == (place == len) || (!is_inside && agent[place] == '\t'));
            }
        }
        end_logs();
        scene_tear_down(state);
        scene_set_up(state);
    }
}

static void texts_that_a_handler_has_ended_are_logged_alike(void **state)
{
    access_combined_fn fn;
    for (unsigned n = 0; (fn = access_combined_variant(n)) != NULL; n++) {
        begin_logs(fn);
        struct fake_peer *peer = client();
        for (int i = 0; i < 4; i++) {
            use_format(i % 2 == 0 ? combined : text_format);
            say(peer, GET("/hello"));
            say(peer, GET("/hold?a"));
            struct exchange *exchange = held[held_count - 1].exchange;
            (void)exchange_end_text(exchange, i < 2 ? exchange->head.method_text : exchange->head.target);
            reply_held(held_count - 1, "done");
            read_lines(i % 2 == 0 ? one_line : other_line, sizeof one_line);
            if (i % 2 == 1) {
                assert_string_equal(one_line, other_line);
                assert_non_null(strstr(one_line, "\"GET /hold?a HTTP/1.1\" 200 4 "));
            }
        }
        end_logs();
        scene_tear_down(state);
        scene_set_up(state);
    }
}

static void long_heads_are_logged_alike(void **state)
{
    (void)state;
    begin_logs(access_combined_best());
    struct fake_peer *peer = client();
    for (size_t len = ACCESS_COMBINED_MAX - 350; len < ACCESS_COMBINED_MAX; len += 50) {
        size_t at = (size_t)sprintf(request, "GET /hello HTTP/1.1\r\nHost: a\r\nUser-Agent: ");
        memset(request + at, 'u', len);
        strcpy(request + at + len, "\r\n\r\n");
        bool is_straight = same_line(peer, request);
        assert_true(is_straight == (at + len + 4 <= ACCESS_COMBINED_MAX - 256));
    }
    end_logs();
}

static void second_and_client_are_those_of_each_line(void **state)
{
    (void)state;
    begin_logs(access_combined_best());
    struct fake_peer *peer = client(), *other = client();
    say(peer, GET("/hello"));
    for (int i = 0; i < 3; i++) {
        fake_sys_set_wall_time_s(784111777 + i);
        straight_lines = 0;
        say(peer, GET("/hello"));
        say(other, GET("/hello"));
        assert_int_equal(straight_lines, 2);
    }
    read_lines(one_line, sizeof one_line);
    assert_non_null(
        strstr(one_line, "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /hello HTTP/1.1\" 200 6 \"-\" \"-\"\n"));
    assert_non_null(
        strstr(one_line, "127.0.0.1 - - [06/Nov/1994:08:49:39 +0000] \"GET /hello HTTP/1.1\" 200 6 \"-\" \"-\"\n"));
    end_logs();
}

/* A response that takes more than a turn: its line has the time of its end. */
static void response_that_is_late_has_the_time_of_its_end(void **state)
{
    (void)state;
    begin_logs(access_combined_best());
    struct fake_peer *peer = client();
    say(peer, GET("/hello"));
    say(peer, GET("/hold"));
    response_begin(held[0].exchange, 200, "text/plain", 4);
    settle();
    fake_sys_set_wall_time_s(784111777 + 100);
    straight_lines = 0;
    response_write(held[0].exchange, "done", 4);
    response_end(held[0].exchange);
    settle();
    assert_int_equal(straight_lines, 0);
    read_lines(one_line, sizeof one_line);
    assert_non_null(strstr(one_line, "[06/Nov/1994:08:51:17 +0000] \"GET /hold HTTP/1.1\" 200 4 "));
    end_logs();
}

/* The buffer that straight lines have filled is written before the next line. */
static void full_buffer_loses_no_straight_line(void **state)
{
    (void)state;
    begin_logs(access_combined_best());
    struct fake_peer *peer = client();
    enum { MANY = 1500 };
    for (int i = 0; i < MANY; i++) {
        say(peer, GET("/hello"));
    }
    struct stat st;
    assert_int_equal(stat(log_path, &st), 0);
    assert_true(st.st_size >= ACCESS_BLOCK_BYTES);
    access_log_flush(combined_log);
    assert_int_equal(stat(log_path, &st), 0);
    assert_int_equal(st.st_size % MANY, 0);
    assert_null(strstr(scene.log_text, "lost"));
    end_logs();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(usual_requests_go_the_straight_way),
        SCENE_TEST(every_byte_at_every_place_is_escaped_alike),
        SCENE_TEST(texts_that_a_handler_has_ended_are_logged_alike),
        SCENE_TEST(long_heads_are_logged_alike),
        SCENE_TEST(second_and_client_are_those_of_each_line),
        SCENE_TEST(response_that_is_late_has_the_time_of_its_end),
        SCENE_TEST(full_buffer_loses_no_straight_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
