/* open_beneath() on a real tree: what the kernel lets through openat2(2) and what the walk by steps lets through must
 * be the same files, whatever path and links say. Where this kernel has no openat2(2), the table still holds the
 * walk. */

#include "core/beneath.h"
#include "core/sys.h"
#include "tests/lib/open_fds.h"
#include "tests/lib/remove_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { LINK_LIMIT = BENEATH_LINKS_MAX };

/* The tree:
 *
 *     ROOT/outside.txt            what must never be reached
 *     ROOT/top/                   what open_beneath() gets
 *     ROOT/top-secret/file        a neighbour whose name begins like top's
 */
struct tree {
    char root[64]; /* path of ROOT */
    int top;       /* fd of ROOT/top */
};

static void make_file(int dir, const char *path, const char *text)
{
    int fd = openat(dir, path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void make_dir(int dir, const char *path)
{
    assert_int_equal(mkdirat(dir, path, 0755), 0);
}

static void make_link(int dir, const char *path, const char *target)
{
    assert_int_equal(symlinkat(target, dir, path), 0);
}

/* chain0 is a file's link, chainN leads to it over N + 1 links in all. */
static void make_chain(int dir)
{
    make_link(dir, "chain0", "file");
    for (int i = 1; i <= LINK_LIMIT; i++) {
        char name[32];
        char target[32];
        snprintf(name, sizeof name, "chain%d", i);
        snprintf(target, sizeof target, "chain%d", i - 1);
        make_link(dir, name, target);
    }
}

static void make_special_files(int dir, const char *root)
{
    assert_int_equal(mkfifoat(dir, "fifo", 0644), 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s/top/socket", root);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    close(fd);
}

static void make_links(int dir, const char *root)
{
    char path[128];
    make_link(dir, "to_file", "file");
    make_link(dir, "to_dir", "dir");
    make_link(dir, "to_inner", "dir/inner");
    make_link(dir, "to_dir_slash", "dir/");
    make_link(dir, "to_file_slash", "file/");
    make_link(dir, "to_dots", "./dir/../dir/./inner");
    make_link(dir, "to_self", "to_self");
    make_link(dir, "loop_a", "loop_b");
    make_link(dir, "loop_b", "loop_a");
    make_link(dir, "dangling", "nothing");
    make_link(dir, "dangling_deep", "dir/nothing/at/all");
    make_link(dir, "to_top", ".");
    make_link(dir, "to_outside", "../outside.txt");
    make_link(dir, "to_parent", "..");
    make_link(dir, "to_out_and_in", "../top/file");
    make_link(dir, "to_neighbour", "../top-secret/file");
    make_link(dir, "to_root", "/");
    snprintf(path, sizeof path, "%s/outside.txt", root);
    make_link(dir, "absolute_outside", path);
    snprintf(path, sizeof path, "%s/top/file", root);
    make_link(dir, "absolute_inside", path);
    make_link(dir, "to_proc", "/proc/self/fd/0");
    make_link(dir, "through_file", "file/../file");
    make_link(dir, "dir/up_file", "../file");
    make_link(dir, "dir/up_up", "../..");
    make_link(dir, "dir/up_up_outside", "../../outside.txt");
    make_link(dir, "dir/deep/up_three", "../../../outside.txt");
    make_link(dir, "dir/deep/up_two", "../../file");
    make_link(dir, "dir/deep/to_dir", "../../to_dir");
    make_link(dir, "via_dir", "dir/deep/to_dir/inner");
}

static int set_up(void **state)
{
    struct tree *tree = calloc(1, sizeof *tree);
    assert_non_null(tree);
    strcpy(tree->root, "/tmp/evserve-beneath-XXXXXX");
    assert_non_null(mkdtemp(tree->root));
    int root = open(tree->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(root >= 0);
    make_file(root, "outside.txt", "outside");
    make_dir(root, "top-secret");
    make_file(root, "top-secret/file", "neighbour");
    make_dir(root, "top");
    close(root);

    char path[96];
    snprintf(path, sizeof path, "%s/top", tree->root);
    tree->top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(tree->top >= 0);
    make_file(tree->top, "file", "file");
    make_file(tree->top, "...", "three dots");
    make_file(tree->top, "..file", "dots in front");
    make_file(tree->top, ".hidden", "hidden");
    make_file(tree->top, "a b\\c%2e", "odd name");
    make_dir(tree->top, "dir");
    make_file(tree->top, "dir/inner", "inner");
    make_dir(tree->top, "dir/deep");
    make_file(tree->top, "dir/deep/bottom", "bottom");
    make_links(tree->top, tree->root);
    make_chain(tree->top);
    make_special_files(tree->top, tree->root);
    *state = tree;
    return 0;
}

static int tear_down(void **state)
{
    struct tree *tree = *state;
    close(tree->top);
    int status = remove_tree(tree->root);
    free(tree);
    return status;
}

#define NAME_255                                                                                                       \
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
    "nnnnnnnnnnnnnnn"                                                                                                  \
    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn" \
    "nnnnnnnnnnnnnnnn"

/* What a path must give: the text of a file, A_DIRECTORY for a directory, or an -errno. */
#define A_DIRECTORY "(a directory)"

struct row {
    const char *path;
    const char *text; /* NULL for a failure */
    int error;
    int flags; /* besides O_RDONLY */
};

static const struct row rows[] = {
    /* plain */
    {"file", "file", 0, 0},
    {"dir/inner", "inner", 0, 0},
    {"dir/deep/bottom", "bottom", 0, 0},
    {"...", "three dots", 0, 0},
    {"..file", "dots in front", 0, 0},
    {".hidden", "hidden", 0, 0},
    {"a b\\c%2e", "odd name", 0, 0},
    {"dir", A_DIRECTORY, 0, 0},
    {"dir", A_DIRECTORY, 0, O_DIRECTORY},
    {"file", NULL, -ENOTDIR, O_DIRECTORY},
    {"nothing", NULL, -ENOENT, 0},
    {"dir/nothing", NULL, -ENOENT, 0},
    {"nothing/inner", NULL, -ENOENT, 0},
    {"", NULL, -ENOENT, 0},
    /* slashes and dots */
    {".", A_DIRECTORY, 0, 0},
    {"./", A_DIRECTORY, 0, 0},
    {"./file", "file", 0, 0},
    {"././dir/./inner", "inner", 0, 0},
    {"dir//inner", "inner", 0, 0},
    {"dir///deep//bottom", "bottom", 0, 0},
    {"dir/", A_DIRECTORY, 0, 0},
    {"dir//", A_DIRECTORY, 0, 0},
    {"dir/.", A_DIRECTORY, 0, 0},
    {"file/", NULL, -ENOTDIR, 0},
    {"file/.", NULL, -ENOTDIR, 0},
    {"file/..", NULL, -ENOTDIR, 0},
    {"file/inner", NULL, -ENOTDIR, 0},
    {"file/../file", NULL, -ENOTDIR, 0},
    {"nothing/../file", NULL, -ENOENT, 0},
    {"nothing/", NULL, -ENOENT, 0},
    /* up, and still below */
    {"dir/..", A_DIRECTORY, 0, 0},
    {"dir/../file", "file", 0, 0},
    {"dir/deep/../inner", "inner", 0, 0},
    {"dir/deep/../../file", "file", 0, 0},
    {"dir/../dir/../dir/inner", "inner", 0, 0},
    {"dir/deep/..", A_DIRECTORY, 0, 0},
    /* out */
    {"..", NULL, -EXDEV, 0},
    {"../", NULL, -EXDEV, 0},
    {"../outside.txt", NULL, -EXDEV, 0},
    {"../top/file", NULL, -EXDEV, 0},
    {"../top-secret/file", NULL, -EXDEV, 0},
    {"./../outside.txt", NULL, -EXDEV, 0},
    {".//..//outside.txt", NULL, -EXDEV, 0},
    {"dir/../../outside.txt", NULL, -EXDEV, 0},
    {"dir/deep/../../../outside.txt", NULL, -EXDEV, 0},
    {"dir/../..", NULL, -EXDEV, 0},
    {"/", NULL, -EXDEV, 0},
    {"//", NULL, -EXDEV, 0},
    {"/etc/passwd", NULL, -EXDEV, 0},
    {"//etc/passwd", NULL, -EXDEV, 0},
    {"../../../../../../../../etc/passwd", NULL, -EXDEV, 0},
    /* links that stay below */
    {"to_file", "file", 0, 0},
    {"to_dir", A_DIRECTORY, 0, 0},
    {"to_dir", A_DIRECTORY, 0, O_DIRECTORY},
    {"to_dir/", A_DIRECTORY, 0, 0},
    {"to_dir/inner", "inner", 0, 0},
    {"to_inner", "inner", 0, 0},
    {"to_dir_slash", A_DIRECTORY, 0, 0},
    {"to_dir_slash/inner", "inner", 0, 0},
    {"to_dots", "inner", 0, 0},
    {"to_top/file", "file", 0, 0},
    {"to_top/to_top/to_top/dir/inner", "inner", 0, 0},
    {"dir/up_file", "file", 0, 0},
    {"dir/deep/up_two", "file", 0, 0},
    {"dir/deep/to_dir/inner", "inner", 0, 0},
    {"via_dir", "inner", 0, 0},
    {"to_dir/..", A_DIRECTORY, 0, 0},
    {"to_dir/../file", "file", 0, 0},
    {"dir/deep/to_dir/../file", "file", 0, 0}, /* the parent of what the link names, not of the link */
    {"dir/deep/to_dir/../../outside.txt", NULL, -EXDEV, 0},
    {"to_file/", NULL, -ENOTDIR, 0},
    {"to_file", NULL, -ENOTDIR, O_DIRECTORY},
    {"to_file_slash", NULL, -ENOTDIR, 0},
    {"to_file/inner", NULL, -ENOTDIR, 0},
    {"through_file", NULL, -ENOTDIR, 0},
    /* links that lead out, be it for a moment */
    {"to_outside", NULL, -EXDEV, 0},
    {"to_parent", NULL, -EXDEV, 0},
    {"to_parent/", NULL, -EXDEV, 0},
    {"to_parent/outside.txt", NULL, -EXDEV, 0},
    {"to_out_and_in", NULL, -EXDEV, 0},
    {"to_neighbour", NULL, -EXDEV, 0},
    {"dir/up_up", NULL, -EXDEV, 0},
    {"dir/up_up/top/file", NULL, -EXDEV, 0},
    {"dir/up_up_outside", NULL, -EXDEV, 0},
    {"dir/deep/up_three", NULL, -EXDEV, 0},
    {"to_dir/up_up_outside", NULL, -EXDEV, 0},
    {"to_root", NULL, -EXDEV, 0},
    {"to_root/etc/passwd", NULL, -EXDEV, 0},
    {"absolute_outside", NULL, -EXDEV, 0},
    {"absolute_inside", NULL, -EXDEV, 0}, /* RESOLVE_BENEATH refuses every absolute link */
    {"to_proc", NULL, -EXDEV, 0},
    /* links that lead nowhere */
    {"to_self", NULL, -ELOOP, 0},
    {"to_self/inner", NULL, -ELOOP, 0},
    {"loop_a", NULL, -ELOOP, 0},
    {"loop_b/", NULL, -ELOOP, 0},
    {"dangling", NULL, -ENOENT, 0},
    {"dangling/", NULL, -ENOENT, 0},
    {"dangling/inner", NULL, -ENOENT, 0},
    {"dangling_deep", NULL, -ENOENT, 0},
    {"chain0", "file", 0, 0},
    {"chain38", "file", 0, 0},
    {"chain39", "file", 0, 0}, /* 40 links */
    {"chain40", NULL, -ELOOP, 0},
    {"to_dir/../chain38", "file", 0, 0},
    {"to_dir/../chain39", NULL, -ELOOP, 0}, /* every link of the path counts */
    /* links not to be followed */
    {"file", "file", 0, O_NOFOLLOW},
    {"to_file", NULL, -ELOOP, O_NOFOLLOW},
    {"to_outside", NULL, -ELOOP, O_NOFOLLOW},
    {"to_dir/inner", "inner", 0, O_NOFOLLOW}, /* only the last name is meant */
    /* names too long */
    {NAME_255, NULL, -ENOENT, 0},
    {NAME_255 "n", NULL, -ENAMETOOLONG, 0},
    {"dir/" NAME_255 "n", NULL, -ENAMETOOLONG, 0},
    {NAME_255 "n/inner", NULL, -ENAMETOOLONG, 0},
    /* neither files nor directories */
    {"fifo", "", 0, O_NONBLOCK},
    {"fifo/", NULL, -ENOTDIR, O_NONBLOCK},
    {"fifo/inner", NULL, -ENOTDIR, O_NONBLOCK},
    {"socket", NULL, -ENXIO, O_NONBLOCK},
    {"socket/inner", NULL, -ENOTDIR, O_NONBLOCK},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

typedef int (*open_fn)(int dir_fd, const char *path, int flags);

/* The text of what was opened; closes it. */
static const char *read_and_close(int fd, char text[64])
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    if (S_ISDIR(st.st_mode)) {
        close(fd);
        return A_DIRECTORY;
    }
    ssize_t len = read(fd, text, 63);
    text[len < 0 ? 0 : len] = '\0';
    close(fd);
    return text;
}

static bool kernel_has_openat2(int top)
{
    int fd = sys_open_beneath(top, "file", O_RDONLY);
    if (fd >= 0) {
        close(fd);
    }
    return fd != -ENOSYS;
}

static int check_rows(const struct tree *tree, const char *name, open_fn open_it)
{
    int failures = 0;
    for (int i = 0; i < ROWS; i++) {
        const struct row *row = &rows[i];
        char buf[64];
        int before = open_fds();
        int fd = open_it(tree->top, row->path, O_RDONLY | row->flags);
        const char *text = fd < 0 ? NULL : read_and_close(fd, buf);
        bool as_expected = row->text == NULL ? fd == row->error : text != NULL && strcmp(text, row->text) == 0;
        if (!as_expected || open_fds() != before) {
            print_error("%s(\"%.60s\", %#x): %d %s, expected %d %s, %d fds more\n", name, row->path,
                        (unsigned)row->flags, fd, text == NULL ? "" : text, row->error,
                        row->text == NULL ? "" : row->text, open_fds() - before);
            failures++;
        }
    }
    return failures;
}

static void walking_by_steps_opens_what_lies_beneath_and_nothing_else(void **state)
{
    assert_int_equal(check_rows(*state, "open_beneath_by_steps", open_beneath_by_steps), 0);
}

static void the_kernel_agrees_with_the_walk(void **state)
{
    const struct tree *tree = *state;
    if (!kernel_has_openat2(tree->top)) {
        skip();
    }
    assert_int_equal(check_rows(tree, "open_beneath", open_beneath), 0);
}

/* Every name of the tree after every other one, to depth three: thousands of paths nobody thought of. The two ways must
 * open the same file or fail alike. */
static void both_ways_agree_on_every_path_of_three_names(void **state)
{
    static const char *const names[] = {".",
                                        "..",
                                        "",
                                        "file",
                                        "dir",
                                        "deep",
                                        "inner",
                                        "bottom",
                                        "nothing",
                                        "to_file",
                                        "to_dir",
                                        "to_inner",
                                        "to_dir_slash",
                                        "to_file_slash",
                                        "to_dots",
                                        "to_self",
                                        "loop_a",
                                        "dangling",
                                        "to_top",
                                        "to_outside",
                                        "to_parent",
                                        "to_out_and_in",
                                        "absolute_inside",
                                        "through_file",
                                        "up_file",
                                        "up_up",
                                        "up_two",
                                        "up_three",
                                        "via_dir",
                                        "chain39",
                                        "top",
                                        "outside.txt"};
    enum { NAMES = sizeof names / sizeof names[0] };
    const struct tree *tree = *state;
    if (!kernel_has_openat2(tree->top)) {
        skip();
    }
    int before = open_fds();
    int opened = 0;
    for (int i = 0; i < NAMES * NAMES * NAMES * 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s/%s%s", names[i % NAMES], names[i / NAMES % NAMES],
                 names[i / NAMES / NAMES % NAMES], i / NAMES / NAMES / NAMES == 0 ? "" : "/");
        int kernel = open_beneath(tree->top, path, O_RDONLY);
        int steps = open_beneath_by_steps(tree->top, path, O_RDONLY);
        struct stat a = {0};
        struct stat b = {0};
        if (kernel >= 0 && steps >= 0) {
            assert_int_equal(fstat(kernel, &a), 0);
            assert_int_equal(fstat(steps, &b), 0);
            opened++;
        }
        if ((kernel >= 0) != (steps >= 0) || (kernel < 0 && kernel != steps) || a.st_ino != b.st_ino) {
            fail_msg("\"%s\": the kernel says %d, the walk %d, inodes %lu and %lu", path, kernel, steps,
                     (unsigned long)a.st_ino, (unsigned long)b.st_ino);
        }
        close(kernel);
        close(steps);
    }
    assert_true(opened > 100);
    assert_int_equal(open_fds(), before);
}

/* first, slashes, and last, so that there are len bytes in all. */
static void make_long_path(char *path, size_t len, const char *first, const char *last)
{
    memset(path, '/', len);
    memcpy(path, first, strlen(first));
    memcpy(path + len - strlen(last), last, strlen(last));
    path[len] = '\0';
}

static void the_longest_path_is_4095_bytes(void **state)
{
    const struct tree *tree = *state;
    char path[BENEATH_PATH_MAX + 1];
    make_long_path(path, BENEATH_PATH_MAX - 1, "dir", "inner");
    open_fn ways[] = {open_beneath, open_beneath_by_steps};
    for (int i = 0; i < 2; i++) {
        char text[64];
        int fd = ways[i](tree->top, path, O_RDONLY);
        assert_true(fd >= 0);
        assert_string_equal(read_and_close(fd, text), "inner");
    }
    make_long_path(path, BENEATH_PATH_MAX, "dir", "inner");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ways[i](tree->top, path, O_RDONLY), -ENAMETOOLONG);
    }
}

/* An exception to the agreement: the kernel counts the bytes of the path and of each link by themselves, the walk those
 * of a link and of what is left behind it together. It fails where the kernel does not, which is the safe side. */
static void a_link_that_makes_the_path_longer_than_4095_bytes_stops_only_the_walk(void **state)
{
    const struct tree *tree = *state;
    char target[3001];
    make_long_path(target, 3000, "dir", "");
    make_link(tree->top, "to_dir_by_far", target);
    char path[3001];
    make_long_path(path, 3000, "to_dir_by_far", "inner");
    assert_int_equal(open_beneath_by_steps(tree->top, path, O_RDONLY), -ENAMETOOLONG);
    char text[64];
    int fd = open_beneath_by_steps(tree->top, "to_dir_by_far/inner", O_RDONLY);
    assert_true(fd >= 0);
    assert_string_equal(read_and_close(fd, text), "inner");
    if (kernel_has_openat2(tree->top)) {
        fd = open_beneath(tree->top, path, O_RDONLY);
        assert_true(fd >= 0);
        assert_string_equal(read_and_close(fd, text), "inner");
    }
}

static void what_it_opens_is_close_on_exec(void **state)
{
    const struct tree *tree = *state;
    open_fn ways[] = {open_beneath, open_beneath_by_steps};
    static const char *const paths[] = {"file", "to_file", "dir", "dir/..", "."};
    for (int i = 0; i < 2; i++) {
        for (size_t j = 0; j < sizeof paths / sizeof paths[0]; j++) {
            int fd = ways[i](tree->top, paths[j], O_RDONLY);
            assert_true(fd >= 0);
            assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
            assert_true(fd != tree->top);
            close(fd);
        }
    }
    assert_int_equal(fcntl(tree->top, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void a_bad_directory_fd_is_refused(void **state)
{
    (void)state;
    assert_int_equal(open_beneath(-1, "file", O_RDONLY), -EBADF);
    assert_int_equal(open_beneath_by_steps(-1, "file", O_RDONLY), -EBADF);
    assert_int_equal(open_beneath_by_steps(-1, "dir/inner", O_RDONLY), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walking_by_steps_opens_what_lies_beneath_and_nothing_else),
        cmocka_unit_test(the_kernel_agrees_with_the_walk),
        cmocka_unit_test(both_ways_agree_on_every_path_of_three_names),
        cmocka_unit_test(the_longest_path_is_4095_bytes),
        cmocka_unit_test(a_link_that_makes_the_path_longer_than_4095_bytes_stops_only_the_walk),
        cmocka_unit_test(what_it_opens_is_close_on_exec),
        cmocka_unit_test(a_bad_directory_fd_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
