/* The file cache when fds, memory or system calls fail: what is served all the same, and that nothing is left
 * behind. */

#include "tests/lib/file_cache_scene.h"

/* Failures. */

static void out_of_fds_the_least_recently_used_make_room(void **state)
{
    struct scene *s = *state;
    add_numbered(s, TABLE_FD_RELIEF + 4, 100000);
    struct cached_file *used = NULL;
    assert_int_equal(get(s, "f0", &used), 0); /* the oldest, but somebody sends it */
    for (int i = 1; i < TABLE_FD_RELIEF + 3; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    fake_sys_set_fd_limit(fake_sys_open_fds());
    assert_int_equal(visit_numbered(s, TABLE_FD_RELIEF + 3), 0);
    assert_true(is_held_numbered(s, 0));
    for (int i = 1; i < TABLE_FD_RELIEF + 4; i++) {
        assert_int_equal(is_held_numbered(s, i), i > TABLE_FD_RELIEF);
    }
    cached_file_put(used);
}

static void out_of_fds_with_nothing_to_give_up_is_an_error(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    struct cached_file *large = must_get(s, "large");
    fake_sys_set_fd_limit(1);
    fake_sys_clear_trace();
    assert_int_equal(visit(s, "a"), -EMFILE);
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 1); /* no second try without hope */
    assert_true(is_held(s, "large"));
    assert_non_null(strstr(s->log_lines, "cannot serve file \"a\": "));
    assert_non_null(strstr(s->log_lines, errno_text(EMFILE)));
    cached_file_put(large);
    assert_int_equal(visit(s, "a"), 0); /* now there is one */
    assert_false(is_held(s, "large"));
}

static void version_held_is_served_while_there_are_no_fds(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "old");
    assert_visit_contents(s, "a", "old");
    tree_replace_file(&s->tree, "a", "new");
    fake_sys_set_fd_limit(0);
    for (int i = 0; i < 5; i++) {
        s->now_ms += FILE_FRESH_MS;
        fake_sys_clear_trace();
        assert_visit_contents(s, "a", "old");
        assert_visit_contents(s, "a", "old");
        assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 1); /* asked once in FILE_FRESH_MS */
    }
    fake_sys_set_fd_limit(-1);
    s->now_ms += FILE_FRESH_MS;
    assert_visit_contents(s, "a", "new");
}

static void large_file_survives_its_own_shortage_of_fds(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "large", 'l', 100000);
    assert_int_equal(visit(s, "large"), 0);
    fake_sys_set_fd_limit(1);
    s->now_ms += FILE_FRESH_MS;
    struct cached_file *file = must_get(s, "large"); /* its own fd is not the one to give up */
    char byte = 0;
    assert_int_equal(pread(file->fd, &byte, 1, 0), 1);
    cached_file_put(file);
    assert_true(is_held(s, "large"));
}

static void large_file_written_in_place_is_not_served_without_fds(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "large", 'l', 100000);
    assert_int_equal(visit(s, "large"), 0);
    tree_add_filled(&s->tree, "large", 'm', 100001);
    fake_sys_set_fd_limit(1);
    assert_int_equal(visit(s, "large"), -EMFILE); /* its old head must not go out with its new bytes */
    fake_sys_set_fd_limit(-1);
    assert_int_equal(visit(s, "large"), 0);
}

static void version_known_to_be_old_is_not_served_without_memory(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "old");
    assert_visit_contents(s, "a", "old");
    tree_replace_file(&s->tree, "a", "new");
    s->now_ms += FILE_FRESH_MS;
    fake_mem_fail_after(1, true);
    assert_int_equal(visit(s, "a"), -ENOMEM);
    assert_int_equal(visit(s, "a"), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_visit_contents(s, "a", "new");
}

static void lines_about_failures_are_rare_and_safe_to_read(void **state)
{
    struct scene *s = *state;
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, -EIO);
    assert_int_equal(visit(s, "a\n\"\\\x1b[31m\xc3\xa9"), -EIO);
    char line[128];
    snprintf(line, sizeof line, "cannot serve file \"a\\n\\\"\\\\\\x1b[31m\xc3\xa9\": %s\n", errno_text(EIO));
    assert_string_equal(s->log_lines, line);
    s->now_ms += LOG_PAUSE_MS - 1;
    size_t len = strlen(s->log_lines);
    assert_int_equal(visit(s, "b"), -EIO);
    assert_int_equal(strlen(s->log_lines), len);
    s->now_ms += 1;
    char path[LOGGED_PATH_MAX + 2];
    memset(path, '\n', sizeof path);
    path[LOGGED_PATH_MAX + 1] = '\0';
    size_t shown = LOGGED_PATH_MAX - 2; /* bytes of whole escapes, beside a NUL */
    assert_int_equal(visit(s, path), -EIO);
    size_t rest = strlen("cannot serve file \"...\": \n") + strlen(errno_text(EIO));
    assert_int_equal(strlen(s->log_lines), len + shown + rest);
    s->cache->log = NULL;
    s->now_ms += LOG_PAUSE_MS;
    assert_int_equal(visit(s, "c"), -EIO);
}

/* One of everything, from an empty cache on: a miss, a hit, a look that finds the same, one that finds another version,
 * a larger one, a file that is gone. Returns the first failure that is not the file's own. */
static int go_through_everything(struct scene *s)
{
    tree_add_file(&s->tree, "a", "old");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    int rv = visit(s, "a");
    rv = rv < 0 ? rv : visit(s, "large");
    rv = rv < 0 ? rv : visit(s, "a");
    s->now_ms += FILE_FRESH_MS;
    rv = rv < 0 ? rv : visit(s, "a");
    rv = rv < 0 ? rv : visit(s, "large");
    tree_replace_file(&s->tree, "a", "new");
    tree_add_filled(&s->tree, "large", 'L', 100001);
    s->now_ms += FILE_FRESH_MS;
    struct cached_file *large = NULL;
    rv = rv < 0 ? rv : visit(s, "a");
    rv = rv < 0 ? rv : get(s, "large", &large);
    tree_unlink(&s->tree, "a");
    s->now_ms += FILE_FRESH_MS;
    if (rv == 0) {
        rv = visit(s, "a");
        rv = rv == -ENOENT ? 0 : rv;
    }
    if (rv == 0 && !fake_sys_failed()) { /* out of fds, the version held is served */
        assert_int_equal(large->size, 100001);
    }
    cached_file_put(large);
    return rv;
}

static void start_again(struct scene *s)
{
    file_cache_destroy(s->cache);
    s->cache = NULL;
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), 0);
    assert_int_equal(file_cache_create(&s->cache, &s->limits, &s->log), 0);
}

static void every_failing_allocation_leaves_nothing_behind(void **state)
{
    struct scene *s = *state;
    bool failed = true;
    uint64_t n = 1;
    for (; failed; n++) {
        start_again(s);
        fake_mem_fail_after(n, false);
        int rv = go_through_everything(s);
        failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, failed ? -ENOMEM : 0);
        assert_int_equal(go_through_everything(s), 0); /* it has recovered */
    }
    assert_true(n > 15);
}

static void every_failing_system_call_leaves_nothing_behind(void **state)
{
    struct scene *s = *state;
    static const int errors[] = {-EIO, -EMFILE, -ENOMEM, -EINTR, -EACCES, -EAGAIN};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        bool failed = true;
        uint64_t n = 1;
        for (; failed; n++) {
            start_again(s);
            fake_sys_fail(n, errors[i]);
            int rv = go_through_everything(s);
            failed = fake_sys_failed();
            fake_sys_fail(0, 0);
            /* Interrupted calls are made again, and out of fds the version held will do: no failure to see. */
            bool may_pass = errors[i] == -EINTR || errors[i] == -EMFILE || errors[i] == -EAGAIN;
            if (rv != errors[i] && !(rv == 0 && (may_pass || !failed))) {
                fail_msg("call %d, %s: %d", (int)n, strerror(-errors[i]), rv);
            }
            assert_int_equal(go_through_everything(s), 0);
        }
        assert_true(n > 10);
    }
}

static void kernel_without_openat2_serves_the_same(void **state)
{
    struct scene *s = *state;
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, -ENOSYS);
    assert_int_equal(go_through_everything(s), 0);
    tree_add_dir(&s->tree, "dir");
    tree_add_file(&s->tree, "dir/b", "below");
    tree_add_link(&s->tree, "out", "/etc/passwd");
    assert_visit_contents(s, "dir/b", "below");
    assert_int_equal(visit(s, "out"), -EXDEV);
    assert_int_equal(visit(s, "dir"), -EISDIR);
}

static void create_fails_cleanly(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        struct file_cache *cache = NULL;
        size_t before = fake_mem_live();
        fake_mem_fail_after(n, false);
        assert_int_equal(file_cache_create(&cache, &scene.limits, NULL), -ENOMEM);
        fake_mem_fail_after(0, false);
        assert_int_equal(fake_mem_live(), before);
    }
    file_cache_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(out_of_fds_the_least_recently_used_make_room),
        TEST(out_of_fds_with_nothing_to_give_up_is_an_error),
        TEST(version_held_is_served_while_there_are_no_fds),
        TEST(large_file_survives_its_own_shortage_of_fds),
        TEST(large_file_written_in_place_is_not_served_without_fds),
        TEST(version_known_to_be_old_is_not_served_without_memory),
        TEST(lines_about_failures_are_rare_and_safe_to_read),
        TEST(every_failing_allocation_leaves_nothing_behind),
        TEST(every_failing_system_call_leaves_nothing_behind),
        TEST(kernel_without_openat2_serves_the_same),
        TEST(create_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
