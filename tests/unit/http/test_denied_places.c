/* The lines about files that may not be read: which place they name, why, and that there is one for each. */

#include "http/denied_places.h"

#include "core/log.h"
#include "http/file_root.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct {
    struct file_tree tree;
    struct file_root root;
    struct denied_places places;
    struct log log;
    char last[LOG_LINE_MAX]; /* line of the log */
    int lines;
    int64_t now_ms;
} denied;

static void keep_denied_line(void *arg, int level, const char *line)
{
    (void)arg;
    assert_int_equal(level, LOG_WARN);
    snprintf(denied.last, sizeof denied.last, "%s", line);
    denied.lines++;
}

static int set_up_denied(void **state)
{
    (void)state;
    memset(&denied, 0, sizeof denied);
    fake_sys_reset();
    tree_make(&denied.tree);
    tree_add_dir(&denied.tree, "a");
    tree_add_dir(&denied.tree, "a/b");
    tree_add_file(&denied.tree, "a/b/c", "text");
    tree_add_link(&denied.tree, "link", "a/b/c");
    tree_must(fchmodat(denied.tree.fd, "a/b", 0750, 0), "a/b");
    tree_must(fchmodat(denied.tree.fd, "a/b/c", 0600, 0), "a/b/c");
    denied.log = (struct log){.sink = keep_denied_line, .level = LOG_DEBUG};
    denied.root =
        (struct file_root){.directory = denied.tree.path, .dir_fd = denied.tree.fd, .base_fd = -1, .fields = ""};
    denied.root.checked_ms = INT64_MAX - ROOT_FRESH_MS; /* its name is not looked up here */
    denied.now_ms = 1000000;
    return 0;
}

static int tear_down_denied(void **state)
{
    (void)state;
    tree_remove(&denied.tree);
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
    return 0;
}

static void note(const char *path, int error)
{
    denied.now_ms += DENIED_LOOK_PAUSE_MS;
    denied_places_note(&denied.places, &denied.log, &denied.root, path, strlen(path), error, denied.now_ms);
}

/* The last line, with the tree's name as ROOT. */
static void assert_line(const char *expected)
{
    char line[LOG_LINE_MAX] = "";
    const char *at = strstr(denied.last, denied.tree.path);
    assert_non_null(at);
    snprintf(line, sizeof line, "%.*sROOT%s", (int)(at - denied.last), denied.last, at + strlen(denied.tree.path));
    assert_int_equal(strncmp(line, expected, strlen(expected)), 0);
}

static void file_that_its_mode_denies_is_named(void **state)
{
    (void)state;
    char expected[256];
    snprintf(expected, sizeof expected,
             "cannot serve \"ROOT/a/b/c\": permission denied (mode 0600, owner %lu:%lu); clients get 403, and this is "
             "not logged again",
             (unsigned long)geteuid(), (unsigned long)getegid());
    fake_sys_fail_op(FAKE_MAY_READ, 0, 1, -EACCES);
    note("a/b/c", -EACCES);
    assert_line(expected);
    note("a/b/c", -EACCES);
    assert_int_equal(denied.lines, 1);
}

static void directory_that_cannot_be_passed_is_one_place_for_all_below(void **state)
{
    (void)state;
    fake_sys_fail_op(FAKE_STAT_AT, 2, 1, -EACCES);
    note("a/b/c", -EACCES);
    assert_line("cannot serve files below \"ROOT/a/b\" (\"a/b/c\" first): permission denied (mode 0750, owner ");
    fake_sys_fail_op(FAKE_STAT_AT, 2, 1, -EACCES);
    note("a/b/other", -EACCES);
    assert_int_equal(denied.lines, 1);
    fake_sys_fail_op(FAKE_STAT_AT, 0, 1, -EACCES);
    note("a/b/c", -EACCES);
    assert_line("cannot serve files below \"ROOT\" (\"a/b/c\" first): permission denied (mode 0700, owner ");
    assert_int_equal(denied.lines, 2);
}

static void sandbox_is_told_from_permissions(void **state)
{
    (void)state;
    note("a/b/c", -EACCES); /* owner and mode allow it */
    assert_line(
        "cannot serve files below \"ROOT\" (\"a/b/c\" first): permission denied by the sandbox (see --allow-read), "
        "or by another security module; clients get 403");
    note("link", -EACCES);
    assert_int_equal(denied.lines, 1);
}

static void links_are_not_taken_for_what_they_lead_to(void **state)
{
    (void)state;
    fake_sys_fail_op(FAKE_MAY_READ, 0, 1, -EACCES);
    note("link", -EACCES);
    assert_line("cannot serve \"ROOT/link\": permission denied where the symbolic link leads; ");
    note("a/b/c", -EXDEV);
    assert_line("cannot serve \"ROOT/a/b/c\": a symbolic link leads out of the directory that is served; ");
}

static void directory_to_be_listed_may_be_the_root(void **state)
{
    (void)state;
    fake_sys_fail_op(FAKE_MAY_READ, 0, 1, -EACCES);
    note("", -EACCES);
    assert_line("cannot serve \"ROOT\": permission denied (mode 0700, owner ");
}

static void root_without_a_name_and_names_with_controls_are_shown(void **state)
{
    (void)state;
    denied.root.directory = NULL;
    fake_sys_fail_op(FAKE_MAY_READ, 0, FAKE_FOREVER, -EACCES);
    note("a\n\"b", -EPERM);
    static const char expected[] = "cannot serve \"a\\n\\\"b\": Operation not permitted (mode 0700, owner ";
    assert_int_equal(strncmp(denied.last, expected, sizeof expected - 1), 0);
}

static void other_errors_are_no_denial(void **state)
{
    (void)state;
    static const int errors[] = {-ENOENT, -ENOTDIR, -EISDIR, -ELOOP, -ENAMETOOLONG, -EIO, -EMFILE, -ENOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        note("a/b/c", errors[i]);
    }
    assert_int_equal(denied.lines, 0);
}

static void at_most_one_look_a_second(void **state)
{
    (void)state;
    fake_sys_fail_op(FAKE_MAY_READ, 0, FAKE_FOREVER, -EACCES);
    note("a/b/c", -EACCES);
    for (int i = 0; i < 100; i++) {
        denied_places_note(&denied.places, &denied.log, &denied.root, "link", 4, -EACCES, denied.now_ms);
    }
    assert_int_equal(denied.lines, 1);
    note("link", -EACCES);
    assert_int_equal(denied.lines, 2);
}

static void at_the_limit_the_line_says_that_it_is_the_last(void **state)
{
    (void)state;
    fake_sys_fail_op(FAKE_MAY_READ, 0, FAKE_FOREVER, -EACCES);
    for (int i = 0; i < DENIED_PLACES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        tree_add_file(&denied.tree, name, "");
        assert_null(strstr(denied.last, "nor are other places"));
        note(name, -EACCES);
        assert_int_equal(denied.lines, i + 1);
    }
    assert_non_null(strstr(denied.last, "this is not logged again, nor are other places"));
    note("a/b/c", -EACCES); /* one past it */
    assert_int_equal(denied.lines, DENIED_PLACES_MAX);
}

static void longest_path_is_looked_at_and_one_byte_more_is_not(void **state)
{
    (void)state;
    static char path[4097];
    memset(path, 'x', sizeof path - 1);
    fake_sys_fail_op(FAKE_MAY_READ, 0, FAKE_FOREVER, -EACCES);
    note(path, -EACCES);
    assert_int_equal(denied.lines, 0);
    path[4095] = '\0';
    note(path, -EACCES);
    assert_int_equal(denied.lines, 1);
}

#define DENIED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_denied, tear_down_denied)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DENIED_TEST(file_that_its_mode_denies_is_named),
        DENIED_TEST(directory_that_cannot_be_passed_is_one_place_for_all_below),
        DENIED_TEST(sandbox_is_told_from_permissions),
        DENIED_TEST(links_are_not_taken_for_what_they_lead_to),
        DENIED_TEST(directory_to_be_listed_may_be_the_root),
        DENIED_TEST(root_without_a_name_and_names_with_controls_are_shown),
        DENIED_TEST(other_errors_are_no_denial),
        DENIED_TEST(at_most_one_look_a_second),
        DENIED_TEST(at_the_limit_the_line_says_that_it_is_the_last),
        DENIED_TEST(longest_path_is_looked_at_and_one_byte_more_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
