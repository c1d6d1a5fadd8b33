/* Heads on their way out: what a handler says, the framing that this client understands, and heads made beforehand. */

#include "tests/lib/file_tree.h"
#include "tests/lib/h1_scene.h"

#include <time.h>

static void open_exchange(const char *request)
{
    new_connection();
    held_exchange = NULL;
    say(request);
    assert_non_null(held_exchange);
}

static void fields_of_the_handler_stand_before_the_framing(void **state)
{
    (void)state;
    open_exchange(GET("/hold"));
    assert_int_equal(response_add_field(held_exchange, "X-One", 5, "1", 1), 0);
    assert_int_equal(response_add_field(held_exchange, "X-Two", 5, "2", 1), 0);
    response_send(held_exchange, 201, "text/plain", "made", 4);
    take_turn();
    assert_output(
        "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nX-One: 1\r\nX-Two: 2\r\nContent-Length: 4\r\n\r\nmade");
}

static void a_status_without_content_has_no_framing(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *head;
    } rows[] = {{204, "HTTP/1.1 204 No Content\r\n\r\n"}, {304, "HTTP/1.1 304 Not Modified\r\n\r\n"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        open_exchange(GET("/hold"));
        response_send(held_exchange, rows[i].status, "text/plain", "dropped", 7);
        take_turn();
        pump();
        say(GET("/hello")); /* the next response begins right behind it */
        const char *output = read_output();
        assert_memory_equal(output, rows[i].head, 12);
        assert_null(strstr(output, "dropped"));
        assert_null(strstr(output, "Transfer-Encoding"));
        assert_non_null(strstr(output, "\r\n\r\nHTTP/1.1 200 OK\r\n"));
    }
}

static void a_handler_may_end_the_connection(void **state)
{
    (void)state;
    open_exchange(GET("/hold") GET("/hello"));
    assert_int_equal(response_add_field(held_exchange, "Connection", 10, "close", 5), 0);
    response_send(held_exchange, 200, "text/plain", "last", 4);
    take_turn();
    assert_output("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast");
    assert_int_equal(h1_scene.last, TURN_LINGER);
}

static void the_date_is_that_of_the_second(void **state)
{
    (void)state;
    say(GET("/hello"));
    assert_non_null(memmem(h1_scene.out, h1_scene.out_len, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 39));
    fake_sys_advance_ms(1000);
    say(GET("/hello"));
    assert_non_null(memmem(h1_scene.out, h1_scene.out_len, "\r\nDate: Sun, 06 Nov 1994 08:49:38 GMT\r\n", 39));
}

/* Heads of files are made beforehand for HTTP/1.1; other clients need a line more. */
static void a_head_made_beforehand_fits_each_client(void **state)
{
    (void)state;
    struct file_tree tree;
    tree_make(&tree);
    tree_add_file(&tree, "a.txt", "file\n");
    mount_files(tree.path);
    static const struct {
        const char *request;
        const char *connection; /* the line, or NULL for none */
        const char *content;
    } rows[] = {
        {GET("/files/a.txt"), NULL, "file\n"},
        {"HEAD /files/a.txt HTTP/1.1\r\nHost: a\r\n\r\n", NULL, ""},
        {"GET /files/a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "\r\nConnection: close\r\n", "file\n"},
        {"GET /files/a.txt HTTP/1.0\r\n\r\n", "\r\nConnection: close\r\n", "file\n"},
        {"GET /files/a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "\r\nConnection: keep-alive\r\n", "file\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        new_connection();
        say(rows[i].request);
        const char *output = read_output();
        assert_memory_equal(output, "HTTP/1.1 200 OK\r\n", 17);
        assert_non_null(strstr(output, "\r\nContent-Length: 5\r\n"));
        assert_true((strstr(output, "\r\nConnection: ") != NULL) == (rows[i].connection != NULL));
        assert_true(rows[i].connection == NULL || strstr(output, rows[i].connection) != NULL);
        assert_string_equal(strstr(output, "\r\n\r\n") + 4, rows[i].content);
    }
    tree_remove(&tree);
}

/* Content of an announced length that is made range by range, with bytes of its own in between. */
static void ranges_of_a_file_come_with_their_heads(void **state)
{
    (void)state;
    struct file_tree tree;
    tree_make(&tree);
    tree_add_file(&tree, "a.txt", "0123456789");
    mount_files(tree.path);
    fake_sys_set_wall_time_s(time(NULL) + 3600); /* the file has settled */
    for (size_t take = 1; take < 2000; take *= 9) {
        new_connection();
        h1_scene.room = h1_scene.take = take;
        say("GET /files/a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1,5-6\r\n\r\n" GET("/hello"));
        const char *output = read_output();
        const char *first = strstr(output, "\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--");
        assert_memory_equal(output, "HTTP/1.1 206 Partial Content\r\n", 30);
        assert_non_null(first);
        assert_non_null(strstr(first, "\r\nContent-Range: bytes 5-6/10\r\n\r\n56\r\n--"));
        size_t hello_len = strlen(OK_TEXT("6", "hello\n"));
        assert_string_equal(output + strlen(output) - hello_len, OK_TEXT("6", "hello\n"));
    }
    tree_remove(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        H1_TEST(fields_of_the_handler_stand_before_the_framing),
        H1_TEST(a_status_without_content_has_no_framing),
        H1_TEST(a_handler_may_end_the_connection),
        H1_TEST(the_date_is_that_of_the_second),
        H1_TEST(a_head_made_beforehand_fits_each_client),
        H1_TEST(ranges_of_a_file_come_with_their_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
