/* The file cache on the real kernel: what kind of thing a path leads to, links, permissions, the real clock. */

#include "core/mem.h"
#include "http/cached_file.h"
#include "http/file_cache.h"
#include "http/file_root.h"
#include "http/limits.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/file_tree.h"
#include "tests/lib/open_fds.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { NOBODY = 65534, BLOCKED_S = 30 };

struct scene {
    struct file_tree tree; /* "outside" and "site" */
    struct limits limits;
    struct file_root root; /* "site" */
    struct file_cache *cache;
    int64_t now_ms;
    int fds_before;
};

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->fds_before = open_fds();
    tree_make(&s->tree);
    tree_must(chmod(s->tree.path, 0755), s->tree.path);
    tree_add_dir(&s->tree, "site");
    tree_add_dir(&s->tree, "site/dir");
    tree_add_file(&s->tree, "outside", "outside");
    tree_add_file(&s->tree, "site/file", "inside");
    tree_add_file(&s->tree, "site/dir/file", "below");
    limits_init(&s->limits);
    int fd = openat(s->tree.fd, "site", O_PATH | O_DIRECTORY | O_CLOEXEC);
    s->root = (struct file_root){.dir_fd = fd, .base_fd = -1, .fields = ""};
    assert_int_equal(file_cache_create(&s->cache, &s->limits, NULL), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    file_cache_destroy(s->cache);
    close(s->root.dir_fd);
    tree_remove(&s->tree);
    assert_int_equal(open_fds(), s->fds_before);
    assert_int_equal(fake_mem_live(), 0);
    free(s);
    return 0;
}

/* Get a file by its path and give it back. Returns 0 after checking its contents, or -errno. */
static int visit(struct scene *s, const char *path, const char *text)
{
    struct cached_file *file = NULL;
    int rv = file_cache_get(s->cache, &s->root, path, strlen(path), s->now_ms, &file);
    if (rv == 0) {
        assert_int_equal(file->size, strlen(text));
        assert_memory_equal(file->full.bytes + file->full.head_len, text, strlen(text));
        cached_file_put(file);
    }
    return rv;
}

static void add_socket(const struct scene *s, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", s->tree.path, name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    close(fd);
}

static void only_regular_files_are_files(void **state)
{
    struct scene *s = *state;
    tree_must(mkfifoat(s->tree.fd, "site/fifo", 0644), "fifo");
    add_socket(s, "site/socket");
    alarm(BLOCKED_S); /* opening a fifo that nobody writes to must not wait */
    assert_int_equal(visit(s, "file", "inside"), 0);
    assert_int_equal(visit(s, "fifo", ""), -ENOENT);
    assert_int_equal(visit(s, "socket", ""), -ENOENT);
    assert_int_equal(visit(s, "dir", ""), -EISDIR);
    assert_int_equal(visit(s, "file/", ""), -ENOTDIR);
    assert_int_equal(visit(s, "file/x", ""), -ENOTDIR);
    assert_int_equal(visit(s, "fifo/x", ""), -ENOTDIR);
    assert_int_equal(visit(s, "none", ""), -ENOENT);
    assert_int_equal(visit(s, "none/x", ""), -ENOENT);
    alarm(0);
}

static void fifo_with_a_writer_is_no_file_either(void **state)
{
    struct scene *s = *state;
    tree_must(mkfifoat(s->tree.fd, "site/fifo", 0644), "fifo");
    int fd = openat(s->tree.fd, "site/fifo", O_RDWR | O_CLOEXEC);
    assert_int_equal(write(fd, "text", 4), 4);
    assert_int_equal(visit(s, "fifo", ""), -ENOENT);
    char text[4];
    assert_int_equal(read(fd, text, 4), 4); /* and nothing was taken out of it */
    close(fd);
}

static void devices_are_no_files(void **state)
{
    struct scene *s = *state;
    struct file_root dev = {.dir_fd = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC), .base_fd = -1, .fields = ""};
    assert_true(dev.dir_fd >= 0);
    static const char *const names[] = {"null", "zero", "tty"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct cached_file *file = NULL;
        assert_int_equal(file_cache_get(s->cache, &dev, names[i], strlen(names[i]), 0, &file), -ENOENT);
    }
    close(dev.dir_fd);
    /* One without a driver, where we may make it. */
    if (mknodat(s->tree.fd, "site/device", S_IFCHR | 0644, makedev(60, 77)) == 0) {
        assert_int_equal(visit(s, "device", ""), -ENOENT);
    }
}

static void links_are_followed_where_they_stay_inside(void **state)
{
    struct scene *s = *state;
    static const struct {
        const char *name, *target;
        const char *text; /* or NULL */
        int rv;
    } rows[] = {
        {"site/to-file", "file", "inside", 0},
        {"site/to-dir", "dir", NULL, -EISDIR},
        {"site/dir/up", "../file", "inside", 0},
        {"site/to-link", "to-file", "inside", 0},
        {"site/around", "dir/../dir/file", "below", 0},
        {"site/out", "../outside", NULL, -EXDEV},
        {"site/around-outside", "../site/file", NULL, -EXDEV},
        {"site/absolute", "/etc/passwd", NULL, -EXDEV},
        {"site/etc", "/etc", NULL, -EXDEV},
        {"site/nowhere", "none", NULL, -ENOENT},
        {"site/loop", "loop", NULL, -ELOOP},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tree_add_link(&s->tree, rows[i].name, rows[i].target);
        const char *path = rows[i].name + strlen("site/");
        int rv = visit(s, path, rows[i].text);
        if (rv != rows[i].rv) {
            fail_msg("%s: %s", path, strerror(-rv));
        }
    }
    assert_int_equal(visit(s, "to-dir/file", "below"), 0);
    assert_int_equal(visit(s, "etc/passwd", ""), -EXDEV);
    assert_int_equal(visit(s, "../outside", ""), -EXDEV);
    assert_int_equal(visit(s, "dir/../../outside", ""), -EXDEV);
    assert_int_equal(visit(s, "/etc/passwd", ""), -EXDEV);
}

static void link_that_is_turned_is_followed_anew(void **state)
{
    struct scene *s = *state;
    tree_add_link(&s->tree, "site/current", "file");
    assert_int_equal(visit(s, "current", "inside"), 0);
    tree_add_link(&s->tree, "site/.new", "dir/file");
    tree_must(renameat(s->tree.fd, "site/.new", s->tree.fd, "site/current"), "current");
    s->now_ms += FILE_FRESH_MS;
    assert_int_equal(visit(s, "current", "below"), 0);
}

static void names_are_bytes(void **state)
{
    struct scene *s = *state;
    static const char *const names[] = {"with space",  "caf\xc3\xa9", "\xff\xfe", "line\nbreak", "percent%20",
                                        "back\\slash", "-",           "~",        "*",           "..."};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "site/%s", names[i]);
        tree_add_file(&s->tree, path, "text");
        assert_int_equal(visit(s, names[i], "text"), 0);
    }
}

/* What may not be read, for somebody who is not root. */
static void permissions_are_respected(void **state)
{
    struct scene *s = *state;
    bool is_root = geteuid() == 0;
    if (is_root && seteuid(NOBODY) < 0) {
        skip();
    }
    assert_int_equal(visit(s, "file", "inside"), 0);
    if (is_root) {
        tree_must(seteuid(0), "seteuid");
    }
    tree_must(fchmodat(s->tree.fd, "site/file", 0, 0), "file");
    tree_must(fchmodat(s->tree.fd, "site/dir", 0, 0), "dir");
    if (is_root) {
        tree_must(seteuid(NOBODY), "seteuid");
    }
    int while_fresh = visit(s, "file", "inside");
    s->now_ms += FILE_FRESH_MS;
    int file = visit(s, "file", "inside");
    int in_dir = visit(s, "dir/file", "below");
    int dir = visit(s, "dir", "");
    if (is_root) {
        tree_must(seteuid(0), "seteuid");
    }
    tree_must(fchmodat(s->tree.fd, "site/dir", 0755, 0), "dir");
    assert_int_equal(while_fresh, 0);
    assert_int_equal(file, -EACCES);
    assert_int_equal(in_dir, -EACCES);
    assert_int_equal(dir, -EACCES);
    assert_int_equal(file_cache_count(s->cache), 0);
}

/* sysfs says 4096 bytes of every file, and has less: what is read is what is promised. */
static void file_shorter_than_its_size_is_what_read_gives(void **state)
{
    struct scene *s = *state;
    struct file_root sys = {.dir_fd = open("/sys/devices/system/cpu", O_PATH | O_DIRECTORY | O_CLOEXEC),
                            .base_fd = -1,
                            .fields = ""};
    struct stat st;
    if (sys.dir_fd < 0 || fstatat(sys.dir_fd, "online", &st, 0) < 0 || st.st_size != 4096) {
        if (sys.dir_fd >= 0) {
            close(sys.dir_fd);
        }
        skip();
    }
    struct cached_file *file = NULL;
    char text[4096];
    int fd = openat(sys.dir_fd, "online", O_RDONLY | O_CLOEXEC);
    ssize_t len = read(fd, text, sizeof text);
    close(fd);
    int rv = file_cache_get(s->cache, &sys, "online", 6, 0, &file);
    close(sys.dir_fd);
    assert_int_equal(rv, 0);
    assert_int_equal(file->size, len);
    assert_memory_equal(file->full.bytes + file->full.head_len, text, (size_t)len);
    cached_file_put(file);
}

/* The same length, written in place as fast as it goes: whatever the clock's tick, the next look finds the last. */
static void file_written_in_place_is_never_stale_for_long(void **state)
{
    struct scene *s = *state;
    char tag[FILE_ETAG_MAX] = "";
    for (int i = 0; i < 300; i++) {
        char text[16];
        snprintf(text, sizeof text, "%08d", i);
        tree_add_file(&s->tree, "site/file", text);
        s->now_ms += FILE_FRESH_MS;
        struct cached_file *file = NULL;
        assert_int_equal(file_cache_get(s->cache, &s->root, "file", 4, s->now_ms, &file), 0);
        assert_memory_equal(file->full.bytes + file->full.head_len, text, 8);
        assert_string_not_equal(file->etag, tag);
        memcpy(tag, file->etag, sizeof tag);
        cached_file_put(file);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_regular_files_are_files),
        TEST(fifo_with_a_writer_is_no_file_either),
        TEST(devices_are_no_files),
        TEST(links_are_followed_where_they_stay_inside),
        TEST(link_that_is_turned_is_followed_anew),
        TEST(names_are_bytes),
        TEST(permissions_are_respected),
        TEST(file_shorter_than_its_size_is_what_read_gives),
        TEST(file_written_in_place_is_never_stale_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
