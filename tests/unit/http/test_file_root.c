/* Directories that are served: found at the start, found again when they are replaced. */

#include "core/log.h"
#include "core/sys.h"
#include "http/file_root.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <errno.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { NOBODY = 65534 };

static struct file_tree tree;
static char err[256];
static char directory[128]; /* TREE/site */

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    tree_make(&tree);
    tree_must(chmod(tree.path, 0755), tree.path);
    tree_add_dir(&tree, "site");
    tree_add_file(&tree, "site/name", "first");
    snprintf(directory, sizeof directory, "%s/site", tree.path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tree_remove(&tree);
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
    return 0;
}

/* What the file "name" below the root says at now_ms. "" when there is none. */
static const char *read_name(struct file_root *root, int64_t now_ms)
{
    static char text[32];
    memset(text, 0, sizeof text);
    int fd = openat(file_root_dir(root, now_ms), "name", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        assert_true(read(fd, text, sizeof text - 1) > 0);
        close(fd);
    }
    return text;
}

static void replace_site(const char *text)
{
    tree_add_dir(&tree, "next");
    tree_add_file(&tree, "next/name", text);
    tree_must(renameat(tree.fd, "site", tree.fd, text), text); /* out of the way: texts differ */
    tree_must(renameat(tree.fd, "next", tree.fd, "site"), "site");
}

static void replaced_directory_is_found_when_its_time_is_up_and_not_before(void **state)
{
    (void)state;
    struct file_root root;
    assert_int_equal(file_root_open(&root, directory, "", err, sizeof err), 0);
    assert_string_equal(read_name(&root, 1000), "first");
    replace_site("second");
    assert_string_equal(read_name(&root, 1000 + ROOT_FRESH_MS - 1), "first");
    assert_string_equal(read_name(&root, 1000 + ROOT_FRESH_MS), "second");
    replace_site("third");
    assert_string_equal(read_name(&root, 1000 + 2 * ROOT_FRESH_MS - 1), "second");
    assert_string_equal(read_name(&root, 1000 + 2 * ROOT_FRESH_MS), "third");
    assert_int_equal(fake_sys_open_fds(), 1);
    file_root_close(&root);
}

static void link_to_a_directory_is_followed_anew(void **state)
{
    (void)state;
    tree_add_dir(&tree, "release2");
    tree_add_file(&tree, "release2/name", "second");
    tree_add_link(&tree, "current", "site");
    char link[128];
    snprintf(link, sizeof link, "%s/current", tree.path);
    struct file_root root;
    assert_int_equal(file_root_open(&root, link, "", err, sizeof err), 0);
    assert_string_equal(read_name(&root, 0), "first");
    tree_add_link(&tree, ".new", "release2");
    tree_must(renameat(tree.fd, ".new", tree.fd, "current"), "current");
    assert_string_equal(read_name(&root, ROOT_FRESH_MS), "second");
    file_root_close(&root);
}

static void directory_that_is_away_for_a_moment_is_used_as_it_was(void **state)
{
    (void)state;
    struct file_root root;
    assert_int_equal(file_root_open(&root, directory, "", err, sizeof err), 0);
    tree_must(renameat(tree.fd, "site", tree.fd, "away"), "away");
    assert_string_equal(read_name(&root, 0), "first");
    tree_add_file(&tree, "site", "no directory");
    assert_string_equal(read_name(&root, 1000), "first");
    tree_unlink(&tree, "site");
    fake_sys_set_fd_limit(0);
    tree_add_dir(&tree, "site");
    tree_add_file(&tree, "site/name", "second");
    assert_string_equal(read_name(&root, 2000), "first"); /* no fd to look with */
    fake_sys_set_fd_limit(-1);
    assert_string_equal(read_name(&root, 3000), "second");
    file_root_close(&root);
}

static void relative_name_starts_where_the_process_was_at_first(void **state)
{
    (void)state;
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    tree_must(here, ".");
    tree_must(chdir(tree.path), tree.path);
    struct file_root root;
    int rv = file_root_open(&root, "site", "", err, sizeof err);
    tree_add_dir(&tree, "elsewhere");
    tree_add_dir(&tree, "elsewhere/site");
    tree_add_file(&tree, "elsewhere/site/name", "wrong");
    tree_must(chdir("elsewhere"), "elsewhere");
    char first[32];
    snprintf(first, sizeof first, "%s", read_name(&root, 0));
    replace_site("second");
    char second[32];
    snprintf(second, sizeof second, "%s", read_name(&root, 1000));
    tree_must(fchdir(here), ".");
    close(here);
    assert_int_equal(rv, 0);
    assert_string_equal(first, "first");
    assert_string_equal(second, "second");
    assert_int_equal(fake_sys_open_fds(), 2);
    file_root_close(&root);
}

static void what_cannot_be_served_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int error;
        const char *reason; /* NULL: what the C library says */
    } rows[] = {
        {"site/name", -ENOTDIR, "not a directory"},
        {"none", -ENOENT, "no such directory"},
        {"site/name/x", -ENOTDIR, "not a directory"},
        {"loop", -ELOOP, NULL},
    };
    tree_add_link(&tree, "loop", "loop");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[128];
        char wanted[256];
        snprintf(path, sizeof path, "%s/%s", tree.path, rows[i].name);
        snprintf(wanted, sizeof wanted, "cannot serve \"%s\": %s", path,
                 rows[i].reason != NULL ? rows[i].reason : errno_text(-rows[i].error));
        struct file_root root;
        assert_int_equal(file_root_open(&root, path, "", err, sizeof err), rows[i].error);
        assert_string_equal(err, wanted);
        assert_int_equal(fake_sys_open_fds(), 0);
        assert_int_equal(fake_mem_live(), 0);
    }
    struct file_root root;
    assert_int_equal(file_root_open(&root, "", "", err, sizeof err), -ENOENT);
    assert_string_equal(err, "cannot serve \"\": no such directory");
}

static void directory_that_may_not_be_entered_is_refused(void **state)
{
    (void)state;
    bool is_root = geteuid() == 0;
    tree_must(fchmodat(tree.fd, "site", 0666, 0), "site");
    if (is_root && seteuid(NOBODY) < 0) {
        skip();
    }
    struct file_root root;
    int closed = file_root_open(&root, directory, "", err, sizeof err);
    if (is_root) {
        tree_must(seteuid(0), "seteuid");
    }
    tree_must(fchmodat(tree.fd, "site", 0711, 0), "site"); /* entered, not listed: enough to serve files */
    if (is_root) {
        tree_must(seteuid(NOBODY), "seteuid");
    }
    char other_err[64];
    int open = file_root_open(&root, directory, "", other_err, sizeof other_err);
    if (is_root) {
        tree_must(seteuid(0), "seteuid");
    }
    tree_must(fchmodat(tree.fd, "site", 0755, 0), "site");
    assert_int_equal(closed, -EACCES);
    assert_non_null(strstr(err, "/site\": permission denied"));
    assert_int_equal(open, 0);
    file_root_close(&root);
}

static void root_that_is_only_an_fd_stays_what_it_is(void **state)
{
    (void)state;
    struct file_root root = {.dir_fd = tree.fd, .base_fd = -1, .fields = ""};
    fake_sys_clear_trace();
    assert_int_equal(file_root_dir(&root, 0), tree.fd);
    assert_int_equal(file_root_dir(&root, 1000000), tree.fd);
    assert_int_equal(fake_sys_total(), 0);
}

static int open_relative(struct file_root *root)
{
    return file_root_open(root, ".", "", err, sizeof err);
}

static void every_failure_leaves_nothing_behind(void **state)
{
    (void)state;
    struct file_root root;
    fake_mem_fail_after(1, false);
    assert_int_equal(open_relative(&root), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_int_equal(fake_sys_open_fds(), 0);
    for (uint64_t n = 1; n <= 3; n++) {
        fake_sys_fail(n, -EMFILE);
        assert_int_equal(open_relative(&root), -EMFILE);
        assert_true(fake_sys_failed());
        assert_int_equal(fake_sys_open_fds(), 0);
        assert_int_equal(fake_mem_live(), 0);
        fake_sys_fail(n, -EINTR); /* tried again */
        assert_int_equal(open_relative(&root), 0);
        file_root_close(&root);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(replaced_directory_is_found_when_its_time_is_up_and_not_before),
        TEST(link_to_a_directory_is_followed_anew),
        TEST(directory_that_is_away_for_a_moment_is_used_as_it_was),
        TEST(relative_name_starts_where_the_process_was_at_first),
        TEST(what_cannot_be_served_is_named),
        TEST(directory_that_may_not_be_entered_is_refused),
        TEST(root_that_is_only_an_fd_stays_what_it_is),
        TEST(every_failure_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
