/* http/acme.c: challenges of a certificate authority, in a whole server, with failing system calls and memory. What is
 * no challenge is tested end to end (tests/e2e/test_redirect_https.py). */

#include "http/acme.h"
#include "http/site_parts.h"
#include "tests/lib/server_scene.h"

#define CHALLENGE(token)                                                                                               \
    "GET /.well-known/acme-challenge/" token " HTTP/1.1\r\n"                                                           \
    "Host: a\r\n\r\n"

static void begin(void)
{
    char directory[128];
    tree_add_dir(&scene.tree, "acme");
    tree_add_file(&scene.tree, "acme/token", "token.thumbprint");
    snprintf(directory, sizeof directory, "%s/acme///", scene.tree.path);
    assert_int_equal(site_set_acme(scene.site, directory), 0);
    scene_begin();
}

static void challenge_is_sent_as_it_is(void **state)
{
    (void)state;
    begin();
    char directory[128];
    snprintf(directory, sizeof directory, "%s/acme", scene.tree.path);
    assert_string_equal(acme_directory(scene.site->acme), directory);
    struct fake_peer *peer = client();
    say(peer, CHALLENGE("token") CHALLENGE("none") GET("/hello"));
    assert_string_equal(statuses(peer), "200 404 200");
    assert_true(output_has(peer, "Content-Type: application/octet-stream\r\n"));
    assert_true(output_has(peer, "token.thumbprint"));
}

static bool refuse_all(struct exchange *exchange, void *arg)
{
    (void)arg;
    response_error(exchange, 401, NULL);
    return true;
}

static void challenge_comes_before_authentication(void **state)
{
    (void)state;
    begin();
    const struct server_hooks hooks = {.before = refuse_all, .before_name = "before"};
    service_set_hooks(server_service(scene.server), &hooks);
    struct fake_peer *peer = client();
    say(peer, CHALLENGE("token") GET("/hello"));
    assert_string_equal(statuses(peer), "200 401");
}

static void file_that_cannot_be_read_is_logged_once_in_ten_seconds(void **state)
{
    (void)state;
    static const struct {
        enum fake_op op;
        int skip, error;
        const char *status;
    } rows[] = {
        {FAKE_OPEN, 0, -EACCES, "403"},  {FAKE_OPEN, 1, -EACCES, "403"}, {FAKE_OPEN, 1, -ELOOP, "404"},
        {FAKE_OPEN, 0, -ENOTDIR, "404"}, {FAKE_STAT, 0, -EIO, "500"},    {FAKE_PREAD, 0, -EIO, "500"},
        {FAKE_OPEN, 1, -ENOMEM, "503"},
    };
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fake_peer *peer = client();
        fake_sys_fail_op(rows[i].op, rows[i].skip, 1, rows[i].error);
        say(peer, CHALLENGE("token"));
        assert_string_equal(statuses(peer), rows[i].status);
    }
    assert_non_null(strstr(scene.log_text, "/acme/token: Permission denied"));
    assert_null(strstr(scene.log_text, "/acme/token: Input/output error"));
    pass_ms(10000);
    struct fake_peer *peer = client();
    fake_sys_fail_op(FAKE_PREAD, 0, 1, -EINTR); /* which is none */
    say(peer, CHALLENGE("token"));
    assert_string_equal(statuses(peer), "200");
    fake_sys_fail_op(FAKE_PREAD, 0, 1, -EIO);
    say(peer, CHALLENGE("token"));
    const char *first = strstr(scene.log_text, "cannot read the ACME challenge");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "cannot read the ACME challenge"));
}

static void fd_of_an_idle_connection_is_taken(void **state)
{
    (void)state;
    begin();
    struct fake_peer *idle = client(), *peer = client();
    say(idle, GET("/hello"));
    fake_sys_fail_op(FAKE_OPEN, 0, 1, -EMFILE);
    say(peer, CHALLENGE("token"));
    assert_string_equal(statuses(peer), "200");
    assert_true(is_closed(idle));
    fake_sys_fail_op(FAKE_OPEN, 1, FAKE_FOREVER, -EMFILE);
    say(peer, CHALLENGE("token"));
    assert_string_equal(statuses(peer), "200 503");
}

static void site_without_memory_keeps_its_directory(void **state)
{
    (void)state;
    begin();
    const struct acme *before = scene.site->acme;
    for (uint64_t n = 1; n <= 2; n++) {
        fake_mem_fail_after(n, false);
        assert_int_equal(site_set_acme(scene.site, "other"), -ENOMEM);
        fake_mem_fail_after(0, false);
    }
    assert_ptr_equal(scene.site->acme, before);
    assert_int_equal(site_set_acme(scene.site, "other"), 0);
    acme_warn(scene.site->acme, &scene.log);
    assert_non_null(strstr(scene.log_text, "other, cannot be used yet: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(challenge_is_sent_as_it_is),
        SCENE_TEST(challenge_comes_before_authentication),
        SCENE_TEST(file_that_cannot_be_read_is_logged_once_in_ten_seconds),
        SCENE_TEST(fd_of_an_idle_connection_is_taken),
        SCENE_TEST(site_without_memory_keeps_its_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
