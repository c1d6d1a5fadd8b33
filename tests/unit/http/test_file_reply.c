/* Files that handlers answer with: which paths name a file, what the answer carries, how many directories there may be,
 * and memory that runs out. A whole server on the fake kernel, with a handler that answers every GET and POST from the
 * directory "up". */

#include "http/file_reply.h"

#include "tests/lib/server_scene.h"

static struct file_reply reply; /* what the handler answers with */
static char root[128];
static char err[512];

static void serve_reply(struct exchange *exchange, void *ctx)
{
    (void)ctx;
    if (file_reply_check(scene.site->replies, &reply, err, sizeof err) < 0) {
        response_error(exchange, 500, NULL);
        return;
    }
    response_add_field(exchange, "X-Own", 5, "yes", 3);
    file_reply_send(scene.site->replies, exchange, &reply);
}

static const struct handler handler = {.serve = serve_reply};

static int set_up(void **state)
{
    int rv = scene_set_up(state);
    tree_add_dir(&scene.tree, "up");
    tree_add_dir(&scene.tree, "up/sub");
    tree_add_dir(&scene.tree, "up/.git");
    tree_add_file(&scene.tree, "secret", "secret");
    tree_add_file(&scene.tree, "up/a.txt", "0123456789");
    tree_add_file(&scene.tree, "up/sub/b", "below");
    tree_add_file(&scene.tree, "up/.git/config", "hidden");
    tree_add_file(&scene.tree, "up/..x", "hidden");
    tree_add_filled(&scene.tree, "up/large", 'l', 100000);
    tree_add_link(&scene.tree, "up/out", "../secret");
    tree_add_link(&scene.tree, "up/in", "sub/b");
    snprintf(root, sizeof root, "%s/up", scene.tree.path);
    reply = (struct file_reply){.root = root, .status = 200};
    add_route(METHOD_GET, "/file", &handler);
    add_route(METHOD_POST, "/file", &handler);
    scene_start();
    return rv;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, scene_tear_down)

static void set_path(const char *path, size_t len)
{
    reply.path = path;
    reply.path_len = len;
}

static struct fake_peer *ask(const char *path, const char *request)
{
    set_path(path, strlen(path));
    struct fake_peer *peer = client();
    say(peer, request);
    return peer;
}

static void a_path_below_the_directory_is_answered_with_its_file(void **state)
{
    (void)state;
    static const struct {
        const char *path, *content;
    } cases[] = {
        {"a.txt", "0123456789"}, {"sub/b", "below"}, {"sub//b", "below"}, {"./sub/./b", "below"}, {"in", "below"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = ask(cases[i].path, GET("/file"));
        assert_string_equal(statuses(peer), "200");
        assert_true(output_has(peer, cases[i].content));
        assert_true(output_has(peer, "X-Own: yes\r\n"));
        assert_true(output_has(peer, "ETag: "));
    }
    assert_int_equal(content_len(ask("large", GET("/file"))), 100000);
}

static void a_path_that_names_no_file_there_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path, *status;
    } cases[] = {
        {"", "404"},        {"nothing", "404"},     {"sub", "404"},       {"sub/", "404"},
        {"a.txt/", "404"},  {".", "404"},           {"./", "404"},        {"/", "404"},
        {"a.txt/b", "404"}, {".git/config", "404"}, {"sub/.x", "404"},    {"..x", "404"},
        {"..", "403"},      {"../up/a.txt", "403"}, {"../secret", "403"}, {"sub/../a.txt", "403"},
        {"sub/..", "403"},  {"/a.txt", "403"},      {"//a.txt", "403"},   {"/etc/passwd", "403"},
        {"out", "403"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_peer *peer = ask(cases[i].path, GET("/file"));
        if (strcmp(statuses(peer), cases[i].status) != 0) {
            fail_msg("\"%s\": %s", cases[i].path, statuses(peer));
        }
        assert_true(output_has(peer, "X-Own: yes\r\n"));
        assert_false(output_has(peer, "secret"));
    }
    set_path("a.txt\0.png", 10);
    struct fake_peer *peer = client();
    say(peer, GET("/file"));
    assert_string_equal(statuses(peer), "404");
}

static void dot_files_are_there_for_who_wants_them(void **state)
{
    (void)state;
    reply.dotfiles = true;
    assert_true(output_has(ask(".git/config", GET("/file")), "hidden"));
    assert_true(output_has(ask("..x", GET("/file")), "hidden"));
    assert_string_equal(statuses(ask("../secret", GET("/file"))), "403");
}

static void conditions_and_ranges_are_heard(void **state)
{
    (void)state;
    static const char since[] = "GET /file HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n";
    static const char part[] = "GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\n\r\n";
    static const char parts[] = "GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1,4-5\r\n\r\n";
    static const char beyond[] = "GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=50-\r\n\r\n";
    const char *const types[] = {NULL, "application/x-own"};
    for (size_t i = 0; i < 2; i++) {
        reply.type = types[i];
        const char *line = i == 0 ? "Content-Type: text/plain" : "Content-Type: application/x-own\r\n";
        assert_string_equal(statuses(ask("a.txt", since)), "304");
        assert_string_equal(statuses(ask("a.txt", beyond)), "416");
        struct fake_peer *peer = ask("a.txt", part);
        assert_string_equal(statuses(peer), "206");
        assert_true(output_has(peer, line));
        assert_true(output_has(peer, "\r\n\r\n234"));
        peer = ask("a.txt", parts);
        assert_true(output_has(peer, "Content-Type: multipart/byteranges"));
        assert_int_equal(count_in_output(peer, line), 2);
        peer = ask("a.txt", HEAD("/file"));
        assert_true(output_has(peer, line));
        assert_true(output_has(peer, "Content-Length: 10\r\n"));
        assert_false(output_has(peer, "0123"));
    }
}

static void other_methods_and_statuses_get_the_whole_file(void **state)
{
    (void)state;
    static const char post[] = "POST /file HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\nIf-None-Match: *\r\n\r\n";
    static const char get[] = "GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\nIf-None-Match: *\r\n\r\n";
    struct fake_peer *peer = ask("a.txt", post);
    assert_string_equal(statuses(peer), "200");
    assert_true(output_has(peer, "0123456789"));
    reply.status = 404;
    peer = ask("a.txt", get);
    assert_string_equal(statuses(peer), "404");
    assert_true(output_has(peer, "0123456789"));
    assert_true(output_has(peer, "X-Own: yes\r\n"));
    assert_false(output_has(peer, "ETag")); /* it is not that file's */
}

static void directories_are_remembered_up_to_a_limit(void **state)
{
    (void)state;
    struct file_replies *replies = scene.site->replies;
    char name[160];
    struct file_reply other = {.root = name};
    for (int i = 0; i < FILE_REPLY_ROOTS_MAX; i++) { /* many names of one directory */
        int len = snprintf(name, sizeof name, "%s", root);
        for (int slash = 0; slash < i; slash++) {
            name[len++] = '/';
        }
        name[len] = '\0';
        assert_int_equal(file_reply_check(replies, &other, err, sizeof err), 0);
        assert_int_equal(file_reply_check(replies, &other, err, sizeof err), 0); /* known */
    }
    assert_string_equal(statuses(ask("a.txt", GET("/file"))), "200");
    snprintf(name, sizeof name, "%s", scene.tree.path);
    assert_int_equal(file_reply_check(replies, &other, err, sizeof err), -ENOSPC);
    assert_non_null(strstr(err, scene.tree.path));
    assert_non_null(strstr(err, "64 other directories"));
}

static void a_directory_that_is_not_there_is_an_error_until_it_is(void **state)
{
    (void)state;
    char name[160];
    snprintf(name, sizeof name, "%s/later", scene.tree.path);
    reply.root = name;
    assert_string_equal(statuses(ask("x", GET("/file"))), "500");
    assert_non_null(strstr(err, "later\": no such directory"));
    tree_add_dir(&scene.tree, "later");
    tree_add_file(&scene.tree, "later/x", "there");
    assert_string_equal(statuses(ask("x", GET("/file"))), "200");
}

static void without_memory_it_is_an_error_and_nothing_is_lost(void **state)
{
    (void)state;
    set_path("a.txt", 5);
    reply.type = "application/x-own";
    bool has_failed = true;
    for (size_t n = 1; has_failed; n++) {
        struct fake_peer *peer = client();
        fake_mem_fail_after(n, true);
        say(peer, GET("/file"));
        has_failed = strcmp(statuses(peer), "200") != 0;
        fake_mem_fail_after(0, false);
        fake_peer_close(peer);
        settle();
        assert_true(n < 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_path_below_the_directory_is_answered_with_its_file),
        TEST(a_path_that_names_no_file_there_is_refused),
        TEST(dot_files_are_there_for_who_wants_them),
        TEST(conditions_and_ranges_are_heard),
        TEST(other_methods_and_statuses_get_the_whole_file),
        TEST(directories_are_remembered_up_to_a_limit),
        TEST(a_directory_that_is_not_there_is_an_error_until_it_is),
        TEST(without_memory_it_is_an_error_and_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
