/* core/file_text.c: whole files and pipes, up to the limit and one byte past it. */

#include "core/file_text.h"

#include "core/write_buffer.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/remove_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX = 20000 };

static char folder[64], path[128];
static struct write_buffer text;

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    write_buffer_init(&text);
    strcpy(folder, "/tmp/evserve-text-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    int open_fds = fake_sys_open_fds();
    write_buffer_done(&text);
    remove_tree(folder);
    fake_sys_reset();
    return open_fds;
}

/* A file of len bytes. */
static void write_file(size_t len)
{
    snprintf(path, sizeof path, "%s/file", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    close(fd);
}

static void file_is_read_up_to_the_limit(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 4095, 4096, 4097, MAX - 4096, MAX - 1, MAX};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        write_file(lens[i]);
        assert_int_equal(file_text_read(&text, AT_FDCWD, path, MAX), 0);
        assert_int_equal(write_buffer_len(&text), lens[i]);
        write_buffer_done(&text);
        write_buffer_init(&text);
    }
    write_file(MAX + 1);
    assert_int_equal(file_text_read(&text, AT_FDCWD, path, MAX), -EFBIG);
}

static void pipe_is_read_to_its_end(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], "script", 6), 6);
    close(fds[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    assert_true(file_text_is_passing(0, path));
    fake_sys_fail_op(FAKE_READ, 0, 1, -EINTR); /* a signal while it waits */
    assert_int_equal(file_text_read(&text, AT_FDCWD, path, MAX), 0);
    assert_int_equal(write_buffer_len(&text), 6);
    assert_memory_equal(write_buffer_data(&text), "script", 6);
    close(fds[0]);
}

static void what_lasts_is_told_from_what_passes(void **state)
{
    (void)state;
    write_file(1);
    assert_false(file_text_is_passing(0, path));
    assert_false(file_text_is_passing(0, folder));
    assert_false(file_text_is_passing(0, "/nothing/there"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true(file_text_is_passing(0, path)); /* without waiting for a writer */
}

static void failures_are_told(void **state)
{
    (void)state;
    assert_int_equal(file_text_read(&text, AT_FDCWD, "/nothing/there", MAX), -ENOENT);
    assert_int_equal(file_text_read(&text, AT_FDCWD, folder, MAX), -EISDIR);
    write_file(10);
    fake_sys_fail_op(FAKE_READ, 0, 1, -EIO);
    assert_int_equal(file_text_read(&text, AT_FDCWD, path, MAX), -EIO);
    fake_mem_fail_after(1, false);
    write_buffer_done(&text);
    write_buffer_init(&text);
    assert_int_equal(file_text_read(&text, AT_FDCWD, path, MAX), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_int_equal(fake_sys_open_fds(), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(file_is_read_up_to_the_limit),
        TEST(pipe_is_read_to_its_end),
        TEST(what_lasts_is_told_from_what_passes),
        TEST(failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
