/* core/file_stamps.c on real files: what counts as a change, how many are watched, and what fails. */

#include "core/file_stamps.h"
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

static struct file_stamps stamps;
static char folder[64];

static int set_up(void **state)
{
    (void)state;
    fake_sys_reset();
    strcpy(folder, "/tmp/evserve-stamps-XXXXXX");
    file_stamps_init(&stamps);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_mem_fail_after(0, false);
    file_stamps_done(&stamps);
    remove_tree(folder);
    int fds = fake_sys_open_fds();
    fake_sys_reset();
    return fds == 0 && fake_mem_live() == 0 ? 0 : -1;
}

/* The path of a file of the test's folder; valid until the second next call. */
static const char *path_of(const char *name)
{
    static char paths[2][128];
    static int turn;
    turn = !turn;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
    return paths[turn];
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void set_time(const char *name, long ns)
{
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = ns}};
    assert_int_equal(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

static void change_is_told_once(void **state)
{
    (void)state;
    write_file("a", "1");
    set_time("a", 1);
    assert_false(file_stamps_changed(&stamps));
    assert_int_equal(file_stamps_note(&stamps, path_of("a")), 0);
    assert_false(file_stamps_changed(&stamps));
    set_time("a", 2);
    assert_true(file_stamps_changed(&stamps));
    assert_false(file_stamps_changed(&stamps));
    write_file("a", "two");
    set_time("a", 2);
    assert_true(file_stamps_changed(&stamps)); /* by its size */
    write_file("b", "two");
    set_time("b", 2);
    assert_int_equal(rename(path_of("b"), path_of("a")), 0);
    assert_true(file_stamps_changed(&stamps)); /* another file */
    set_time("a", 3);
    assert_int_equal(file_stamps_note(&stamps, path_of("a")), 0); /* noted anew */
    assert_false(file_stamps_changed(&stamps));
    assert_int_equal(stamps.count, 1);
}

static void file_that_is_not_there_is_unchanged_until_it_comes(void **state)
{
    (void)state;
    assert_int_equal(file_stamps_note(&stamps, path_of("a")), 0);
    assert_false(file_stamps_changed(&stamps));
    write_file("a", "1");
    assert_true(file_stamps_changed(&stamps));
    unlink(path_of("a"));
    assert_false(file_stamps_changed(&stamps));
}

static void link_that_turns_to_another_file_is_a_change(void **state)
{
    (void)state;
    write_file("a", "1");
    write_file("b", "1");
    set_time("a", 1);
    set_time("b", 1);
    assert_int_equal(symlink("a", path_of("link")), 0);
    assert_int_equal(file_stamps_note(&stamps, path_of("link")), 0);
    assert_false(file_stamps_changed(&stamps));
    unlink(path_of("link"));
    assert_int_equal(symlink("b", path_of("link")), 0);
    assert_true(file_stamps_changed(&stamps));
}

static void every_change_is_taken_note_of(void **state)
{
    (void)state;
    write_file("a", "1");
    write_file("b", "1");
    assert_int_equal(file_stamps_note(&stamps, path_of("a")), 0);
    assert_int_equal(file_stamps_note(&stamps, path_of("b")), 0);
    set_time("a", 5);
    set_time("b", 5);
    assert_true(file_stamps_changed(&stamps));
    assert_false(file_stamps_changed(&stamps));
}

static void data_counts_until_the_program_writes_it(void **state)
{
    (void)state;
    write_file("a", "1");
    set_time("a", 1);
    file_stamps_ignore(&stamps, path_of("a")); /* not on the list: nothing to ignore */
    assert_int_equal(file_stamps_note_data(&stamps, path_of("a")), 0);
    assert_false(file_stamps_changed(&stamps));
    set_time("a", 2);
    assert_true(file_stamps_changed(&stamps));
    file_stamps_ignore(&stamps, path_of("a"));
    set_time("a", 3);
    assert_false(file_stamps_changed(&stamps));
    assert_int_equal(file_stamps_note_data(&stamps, path_of("a")), 0); /* read again after a reload */
    set_time("a", 4);
    assert_false(file_stamps_changed(&stamps));
    assert_int_equal(file_stamps_note(&stamps, path_of("a")), 0); /* what the program is made of counts always */
    set_time("a", 5);
    assert_true(file_stamps_changed(&stamps));
    assert_int_equal(stamps.count, 1);
}

static void what_has_no_lasting_content_is_no_data(void **state)
{
    (void)state;
    write_file("empty", "");
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    const char *const names[] = {"empty", "fifo", "nothing", "."};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(file_stamps_note_data(&stamps, path_of(names[i])), 0);
    }
    assert_int_equal(stamps.count, 0);
}

static int count_path(void *arg, const char *path)
{
    assert_string_equal(strrchr(path, '/'), "/code");
    ++*(int *)arg;
    return 0;
}

static void each_is_told_of_code_alone(void **state)
{
    (void)state;
    int count = 0;
    write_file("code", "1");
    write_file("data", "1");
    assert_int_equal(file_stamps_note(&stamps, path_of("code")), 0);
    assert_int_equal(file_stamps_note_data(&stamps, path_of("data")), 0);
    assert_int_equal(file_stamps_each(&stamps, count_path, &count), 0);
    assert_int_equal(count, 1);
}

static void as_many_files_as_allowed_and_one_more(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < FILE_STAMPS_MAX; i++) {
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(file_stamps_note(&stamps, path_of(name)), 0);
    }
    assert_int_equal(file_stamps_note(&stamps, path_of("one more")), -ENOSPC);
    assert_int_equal(file_stamps_note(&stamps, path_of("0")), 0);
    assert_int_equal(stamps.count, FILE_STAMPS_MAX);
}

static void without_memory_the_list_is_as_before(void **state)
{
    (void)state;
    bool has_failed = true;
    for (uint64_t n = 1; has_failed; n++) {
        fake_mem_fail_after(n, false);
        int rv = file_stamps_note(&stamps, path_of("a"));
        has_failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, has_failed ? -ENOMEM : 0);
        assert_int_equal(stamps.count, has_failed ? 0 : 1);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(change_is_told_once),
        TEST(file_that_is_not_there_is_unchanged_until_it_comes),
        TEST(link_that_turns_to_another_file_is_a_change),
        TEST(every_change_is_taken_note_of),
        TEST(data_counts_until_the_program_writes_it),
        TEST(what_has_no_lasting_content_is_no_data),
        TEST(each_is_told_of_code_alone),
        TEST(as_many_files_as_allowed_and_one_more),
        TEST(without_memory_the_list_is_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
