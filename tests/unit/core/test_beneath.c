/* core/beneath.c on the fake kernel door: kernels without openat2(2), races, and system calls that fail. Files are real
 * ones also there; socket_beneath.c compares the two ways path by path. */

#include "core/beneath.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/remove_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct tree {
    char root[64]; /* path of the folder that holds outside.txt and top */
    int top;       /* fd of top */
};

static void make_file(const char *root, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "wxe");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **state)
{
    struct tree *tree = calloc(1, sizeof *tree);
    assert_non_null(tree);
    strcpy(tree->root, "/tmp/evserve-beneath-XXXXXX");
    assert_non_null(mkdtemp(tree->root));
    char path[96];
    snprintf(path, sizeof path, "%s/top", tree->root);
    assert_int_equal(mkdir(path, 0755), 0);
    make_file(tree->root, "outside.txt", "outside");
    make_file(tree->root, "top/file", "file");
    tree->top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(tree->top >= 0);
    assert_int_equal(mkdirat(tree->top, "dir", 0755), 0);
    assert_int_equal(mkdirat(tree->top, "dir/deep", 0755), 0);
    make_file(tree->root, "top/dir/deep/inner", "inner");
    assert_int_equal(symlinkat("dir/deep", tree->top, "link"), 0);
    assert_int_equal(symlinkat("../link/inner", tree->top, "dir/up"), 0);
    assert_int_equal(symlinkat("../outside.txt", tree->top, "out"), 0);
    *state = tree;
    return 0;
}

static int tear_down(void **state)
{
    struct tree *tree = *state;
    fake_sys_reset();
    close(tree->top);
    int status = remove_tree(tree->root);
    free(tree);
    return status;
}

/* Paths with every kind of step, and their texts; NULL and the error for those that fail. */
static const struct {
    const char *path;
    const char *text;
    int error;
} rows[] = {
    {"file", "file", 0},
    {"dir/deep/inner", "inner", 0},
    {"link/inner", "inner", 0},
    {"dir/up", "inner", 0},
    {"dir/deep/../up", "inner", 0},
    {"link/../deep/../../file", "file", 0},
    {"out", NULL, -EXDEV},
    {"dir/deep/../../../out", NULL, -EXDEV},
    {"nothing", NULL, -ENOENT},
    {"file/inner", NULL, -ENOTDIR},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static void assert_text(int fd, const char *text)
{
    char got[16] = "";
    assert_true(fd >= 0);
    assert_true(read(fd, got, sizeof got - 1) >= 0);
    assert_string_equal(got, text);
}

static void check_row(const struct tree *tree, int i)
{
    int fd = open_beneath(tree->top, rows[i].path, O_RDONLY);
    assert_int_equal(fake_sys_open_fds(), fd >= 0);
    if (rows[i].text == NULL) {
        assert_int_equal(fd, rows[i].error);
    } else {
        assert_text(fd, rows[i].text);
    }
}

static void without_openat2_the_walk_stands_in(void **state)
{
    static const int errors[] = {-ENOSYS, -EPERM}; /* no such system call; a filter that says the same */
    for (int i = 0; i < ROWS * 2; i++) {
        fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, errors[i % 2]);
        check_row(*state, i / 2);
        assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 1);
        assert_true(fake_sys_count(FAKE_OPEN) > 0);
        fake_sys_reset();
    }
}

static void with_openat2_one_system_call_does(void **state)
{
    const struct tree *tree = *state;
    int fd = open_beneath(tree->top, "file", O_RDONLY);
    if (fd == -EXDEV || fake_sys_count(FAKE_OPEN) > 0) {
        skip(); /* this kernel has none */
    }
    assert_text(fd, "file");
    assert_int_equal(fake_sys_total(), 1);
}

/* openat2(2) says EAGAIN when a rename elsewhere kept it from being sure. */
static void a_race_that_the_kernel_notices_is_run_again(void **state)
{
    const struct tree *tree = *state;
    for (int times = 1; times < 8; times++) {
        fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, times, -EAGAIN);
        fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, 1, -ENOSYS); /* so that the test needs no openat2(2) */
        assert_text(open_beneath(tree->top, "file", O_RDONLY), "file");
        fake_sys_reset();
    }
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, -EAGAIN);
    assert_int_equal(open_beneath(tree->top, "file", O_RDONLY), -EAGAIN); /* but not for ever */
    assert_true(fake_sys_count(FAKE_OPEN_BENEATH) <= 8);
}

static void other_errors_of_openat2_are_final(void **state)
{
    const struct tree *tree = *state;
    static const int errors[] = {-EXDEV, -ENOENT, -ELOOP, -EACCES, -EMFILE, -EINVAL, -EIO};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, 1, errors[i]);
        assert_int_equal(open_beneath(tree->top, "file", O_RDONLY), errors[i]);
        assert_int_equal(fake_sys_total(), 1);
        fake_sys_reset();
    }
}

static void any_system_call_of_the_walk_may_fail_and_no_fd_is_left(void **state)
{
    const struct tree *tree = *state;
    static const int errors[] = {-EMFILE, -EACCES, -EIO, -ENOENT};
    for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++) {
        for (int i = 0; i < ROWS; i++) {
            bool failed = true;
            for (uint64_t n = 1; failed; n++) {
                fake_sys_fail(n, errors[e]);
                int fd = open_beneath_by_steps(tree->top, rows[i].path, O_RDONLY);
                failed = fake_sys_failed();
                assert_int_equal(fake_sys_open_fds(), fd >= 0);
                assert_int_equal(fd < 0 ? fd : 0, failed ? errors[e] : rows[i].error);
                assert_true(fcntl(tree->top, F_GETFD) >= 0); /* the caller's */
                fake_sys_reset();
            }
        }
    }
}

/* Between the moment the walk finds a link and the moment it reads it, the name may have become something else. */
static void a_link_that_is_replaced_by_a_file_meanwhile_is_refused(void **state)
{
    const struct tree *tree = *state;
    fake_sys_fail_op(FAKE_READ_LINK, 0, 1, -EINVAL);
    assert_int_equal(open_beneath_by_steps(tree->top, "link/inner", O_RDONLY), -ENOTDIR);
    fake_sys_fail_op(FAKE_READ_LINK, 0, 1, -EINVAL);
    assert_int_equal(open_beneath_by_steps(tree->top, "out", O_RDONLY), -ELOOP);
    assert_int_equal(fake_sys_open_fds(), 0);
}

/* No step may follow a link by itself: every name is opened with O_NOFOLLOW. */
static void no_step_follows_a_link_unseen(void **state)
{
    const struct tree *tree = *state;
    for (int i = 0; i < ROWS; i++) {
        open_beneath_by_steps(tree->top, rows[i].path, O_RDONLY);
        size_t count;
        const struct fake_call *trace = fake_sys_trace(&count);
        for (size_t j = 0; j < count; j++) {
            assert_true(trace[j].op != FAKE_OPEN || (trace[j].arg & O_NOFOLLOW));
        }
        fake_sys_reset();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_openat2_the_walk_stands_in),
        TEST(with_openat2_one_system_call_does),
        TEST(a_race_that_the_kernel_notices_is_run_again),
        TEST(other_errors_of_openat2_are_final),
        TEST(any_system_call_of_the_walk_may_fail_and_no_fd_is_left),
        TEST(a_link_that_is_replaced_by_a_file_meanwhile_is_refused),
        TEST(no_step_follows_a_link_unseen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
