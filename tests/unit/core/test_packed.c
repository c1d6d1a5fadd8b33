/* core/packed.c: files in memory by path, however that is written. */

#include "core/packed.h"

#include "core/mem.h"
#include "tests/lib/fake_mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct packed_file files[] = {
    {.path = "site.lua", .content = "s", .len = 1},   {.path = "public/index.html", .content = "i", .len = 1},
    {.path = "public-2/a", .content = "2", .len = 1}, {.path = "public/css/a.css", .content = "c", .len = 1},
    {.path = "public/b", .content = NULL, .len = 0},
};

static void a_file_is_found_however_its_path_is_written(void **state)
{
    (void)state;
    static const struct {
        const char *path, *found;
    } rows[] = {
        {"site.lua", "site.lua"},
        {"./site.lua", "site.lua"},
        {".//./public//css/./a.css", "public/css/a.css"},
        {"public/../site.lua", "site.lua"},
        {"public/css/../../public/b", "public/b"},
        {"public/css/a.css/", "public/css/a.css"},
        {"../site.lua", NULL},
        {"public/../../site.lua", NULL},
        {"/site.lua", NULL},
        {"public", NULL},
        {"", NULL},
        {".", NULL},
        {"site.lua2", NULL},
        {"site.lu", NULL},
    };
    struct packed *packed = NULL;
    char err[512];
    assert_int_equal(packed_create(&packed, files, COUNT(files), err, sizeof err), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct packed_file *found = packed_find(packed, rows[i].path);
        if (rows[i].found == NULL) {
            assert_null(found);
        } else {
            assert_non_null(found);
            assert_string_equal(found->path, rows[i].found);
        }
    }
    assert_null(packed_find(NULL, "site.lua"));
    char longest[PACKED_PATH_MAX + 3] = "";
    memset(longest, 'x', sizeof longest - 1);
    assert_null(packed_find(packed, longest));
    packed_destroy(packed);
}

static void a_folder_has_what_is_below_it(void **state)
{
    (void)state;
    static const struct {
        const char *folder;
        size_t count, skip;
    } rows[] = {
        {"public", 3, 7}, {"./public/", 3, 7}, {"public/css", 1, 11}, {".", 5, 0},
        {"publi", 0, 0},  {"site.lua", 0, 0},  {"/public", 0, 0},     {"..", 0, 0},
    };
    struct packed *packed = NULL;
    char err[512];
    size_t count, skip;
    assert_int_equal(packed_create(&packed, files, COUNT(files), err, sizeof err), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct packed_file *below = packed_below(packed, rows[i].folder, &count, &skip);
        assert_int_equal(below != NULL, rows[i].count > 0);
        if (below != NULL) {
            assert_int_equal(count, rows[i].count);
            assert_int_equal(skip, rows[i].skip);
        }
    }
    assert_null(packed_below(NULL, "public", &count, &skip));
    packed_destroy(packed);
}

static void what_makes_no_sense_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        struct packed_file file;
        const char *text;
    } rows[] = {
        {{.path = "/a"}, "\"/a\" is not a relative path"},
        {{.path = ""}, "\"\" is not a relative path"},
        {{.path = "a//b"}, "\"a//b\" is not a relative"},
        {{.path = "./a"}, "\"./a\" is not a relative path"},
        {{.path = "a/../b"}, "\"a/../b\" is not a relative"},
        {{.path = "a/"}, "\"a/\" is not a relative path"},
        {{.path = "one"}, "\"one\" occurs twice"},
        {{.path = "a", .len = 1}, "\"a\" has no content"},
    };
    struct packed *packed = NULL;
    char err[2048];
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct packed_file list[] = {{.path = "one"}, rows[i].file};
        assert_int_equal(packed_create(&packed, list, 2, err, sizeof err), -EBADMSG);
        assert_non_null(strstr(err, rows[i].text));
    }
    char path[PACKED_PATH_MAX + 2] = "";
    memset(path, 'x', PACKED_PATH_MAX + 1);
    const struct packed_file longest = {.path = path};
    assert_int_equal(packed_create(&packed, &longest, 1, err, sizeof err), -EBADMSG);
    path[PACKED_PATH_MAX] = '\0';
    assert_int_equal(packed_create(&packed, &longest, 1, err, sizeof err), 0);
    assert_ptr_equal(packed_find(packed, path)->path, path);
    packed_destroy(packed);
}

static void files_have_a_limit(void **state)
{
    (void)state;
    enum { NAME = 8 };
    struct packed *packed = NULL;
    char err[512];
    char *names = malloc((PACKED_FILES_MAX + 1) * NAME);
    struct packed_file *list = calloc(PACKED_FILES_MAX + 1, sizeof *list);
    for (int i = 0; i <= PACKED_FILES_MAX; i++) {
        snprintf(names + (size_t)i * NAME, NAME, "%d", i);
        list[i].path = names + (size_t)i * NAME;
    }
    assert_int_equal(packed_create(&packed, list, PACKED_FILES_MAX + 1, err, sizeof err), -EFBIG);
    assert_int_equal(packed_create(&packed, list, PACKED_FILES_MAX, err, sizeof err), 0);
    assert_non_null(packed_find(packed, "65533"));
    packed_destroy(packed);
    free(list);
    free(names);
}

static void no_memory_leaves_nothing(void **state)
{
    (void)state;
    struct packed *packed = NULL;
    char err[512];
    size_t live = fake_mem_live();
    fake_mem_fail_after(1, false);
    assert_int_equal(packed_create(&packed, files, COUNT(files), err, sizeof err), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_int_equal(fake_mem_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_found_however_its_path_is_written),
        cmocka_unit_test(a_folder_has_what_is_below_it),
        cmocka_unit_test(what_makes_no_sense_is_refused_by_name),
        cmocka_unit_test(files_have_a_limit),
        cmocka_unit_test(no_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
