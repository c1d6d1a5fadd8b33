/* Compressed siblings in the file cache, on real files behind the fake door: which count, what a hit costs, how a
 * change of the original or of a sibling is seen, and that nothing is left behind whatever fails. */

#include "core/log.h"
#include "http/cached_file.h"
#include "http/file_cache.h"
#include "http/file_root.h"
#include "http/limits.h"
#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <errno.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/lib/openat2.h"

#define ARRAY_LEN(array) (sizeof(array) / sizeof(array)[0])

enum {
    BR = 1U << ENCODING_BR,
    ZSTD = 1U << ENCODING_ZSTD,
    GZIP = 1U << ENCODING_GZIP,
    MTIME_S = 784111777,
    LARGE = 100000,
};

static struct {
    struct file_tree tree;
    struct limits limits;
    struct file_root root;
    struct file_cache *cache;
    int64_t now_ms;
} scene;

static void write_at(const char *name, const char *text, time_t mtime_s, long ns)
{
    tree_add_file(&scene.tree, name, text);
    tree_set_mtime(&scene.tree, name, mtime_s, ns);
}

static int set_up(void **state)
{
    (void)state;
    memset(&scene, 0, sizeof scene);
    fake_sys_reset();
    fake_sys_set_wall_time_s(time(NULL) + 3600); /* every file here has settled */
    tree_make(&scene.tree);
    limits_init(&scene.limits);
    scene.root =
        (struct file_root){.dir_fd = scene.tree.fd, .base_fd = -1, .fields = "X-A: b\r\n", .has_siblings = true};
    scene.now_ms = 1000000;
    write_at("a.css", "original", MTIME_S, 500);
    return file_cache_create(&scene.cache, &scene.limits, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    file_cache_destroy(scene.cache);
    tree_remove(&scene.tree);
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
    return 0;
}

static struct cached_file *must_get(const char *path)
{
    struct cached_file *file = NULL;
    assert_int_equal(file_cache_get(scene.cache, &scene.root, path, strlen(path), scene.now_ms, &file), 0);
    return file;
}

static int get_sibling(const struct cached_file *original, enum encoding encoding, struct cached_file **sibling)
{
    return file_cache_get_sibling(scene.cache, &scene.root, original, encoding, scene.now_ms, sibling);
}

static unsigned siblings_of(const char *path)
{
    struct cached_file *file = must_get(path);
    unsigned siblings = file->siblings;
    cached_file_put(file);
    return siblings;
}

/* What a client gets that wants encoding: the contents, or NULL when there is no such sibling. */
static const char *fetch(const char *path, enum encoding encoding)
{
    static char contents[256];
    struct cached_file *file = must_get(path);
    struct cached_file *sibling = NULL;
    int rv = (file->siblings & 1U << encoding) == 0 ? -ENOENT : get_sibling(file, encoding, &sibling);
    cached_file_put(file);
    if (rv < 0) {
        assert_int_equal(rv, -ENOENT);
        return NULL;
    }
    assert_true(sibling->fd == -1 && sibling->size < sizeof contents);
    snprintf(contents, sizeof contents, "%.*s", (int)sibling->size, sibling->full.bytes + sibling->full.head_len);
    cached_file_put(sibling);
    return contents;
}

static bool head_has(const struct prebuilt *prebuilt, const char *line)
{
    return memmem(prebuilt->bytes, prebuilt->head_len, line, strlen(line)) != NULL;
}

static void let_files_age(void)
{
    scene.now_ms += FILE_FRESH_MS;
}

/* What counts. */

static void siblings_are_found_with_their_original(void **state)
{
    (void)state;
    assert_int_equal(siblings_of("a.css"), 0);
    static const struct {
        const char *name;
        unsigned siblings;
    } rows[] = {{"a.css.gz", GZIP}, {"a.css.br", GZIP | BR}, {"a.css.zst", GZIP | BR | ZSTD}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tree_add_file(&scene.tree, rows[i].name, rows[i].name);
        let_files_age();
        assert_int_equal(siblings_of("a.css"), rows[i].siblings);
    }
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "a.css.gz");
    assert_string_equal(fetch("a.css", ENCODING_BR), "a.css.br");
    assert_string_equal(fetch("a.css", ENCODING_ZSTD), "a.css.zst");
    tree_unlink(&scene.tree, "a.css.br");
    let_files_age();
    assert_int_equal(siblings_of("a.css"), GZIP | ZSTD);
}

static void older_sibling_does_not_count(void **state)
{
    (void)state;
    /* Of a time in whole seconds nobody knows what was cut: it counts in its second. */
    static const struct {
        time_t mtime_s;
        long ns;
        unsigned siblings;
    } rows[] = {{MTIME_S - 1, 999, 0}, {MTIME_S - 1, 0, 0},  {MTIME_S, 499, 0},      {MTIME_S, 0, GZIP},
                {MTIME_S, 500, GZIP},  {MTIME_S, 501, GZIP}, {MTIME_S + 1, 0, GZIP}, {0, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_at("a.css.gz", "gz", rows[i].mtime_s, rows[i].ns);
        let_files_age();
        assert_int_equal(siblings_of("a.css"), rows[i].siblings);
    }
}

/* brotli -k and pigz -k: the second agrees, and tells no more. */
static void sibling_with_a_time_in_seconds_must_have_been_made_after_the_original(void **state)
{
    (void)state;
    struct stat st;
    do {
        write_at("a.css.gz", "gz", time(NULL), 0);
        tree_must(fstatat(scene.tree.fd, "a.css.gz", &st, 0), "a.css.gz");
    } while (st.st_ctim.tv_sec != st.st_mtim.tv_sec || st.st_ctim.tv_nsec == 0 || st.st_ctim.tv_nsec == 999999999);
    tree_set_mtime(&scene.tree, "a.css", st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    assert_int_equal(siblings_of("a.css"), GZIP);
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "gz");
    tree_set_mtime(&scene.tree, "a.css", st.st_ctim.tv_sec, st.st_ctim.tv_nsec + 1); /* modified since */
    let_files_age();
    assert_int_equal(siblings_of("a.css"), 0);
}

static void only_regular_files_below_the_root_count(void **state)
{
    (void)state;
    tree_add_dir(&scene.tree, "a.css.br");
    tree_must(mkfifoat(scene.tree.fd, "a.css.zst", 0666), "fifo");
    tree_add_link(&scene.tree, "a.css.gz", "../etc/passwd");
    assert_int_equal(siblings_of("a.css"), 0);
    tree_unlink(&scene.tree, "a.css.gz");
    tree_add_file(&scene.tree, "elsewhere", "by link");
    tree_add_link(&scene.tree, "a.css.gz", "elsewhere");
    let_files_age();
    assert_int_equal(siblings_of("a.css"), GZIP);
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "by link");
}

static void compressed_file_is_itself_and_has_no_siblings(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    tree_add_file(&scene.tree, "a.css.gz.br", "twice");
    struct cached_file *file = must_get("a.css.gz");
    assert_int_equal(file->siblings, 0);
    assert_int_equal(file->encoding, ENCODING_IDENTITY);
    assert_string_equal(file->type, "application/gzip");
    assert_false(head_has(&file->full, "Content-Encoding") || head_has(&file->full, "Vary"));
    cached_file_put(file);
}

static void root_may_do_without(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    scene.root.has_siblings = false;
    fake_sys_clear_trace();
    assert_int_equal(siblings_of("a.css"), 0);
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 1);
}

static void name_that_leaves_no_room_for_a_suffix_has_no_siblings(void **state)
{
    (void)state;
    char name[256];
    memset(name, 'n', sizeof name - 1);
    name[255] = '\0';
    tree_add_file(&scene.tree, name, "long");
    assert_int_equal(siblings_of(name), 0);
}

/* What it is. */

static void sibling_is_a_representation_of_its_own(void **state)
{
    (void)state;
    write_at("a.css.gz", "original", MTIME_S + 10, 0); /* the same bytes */
    write_at("a.css.br", "original", MTIME_S + 10, 0);
    struct cached_file *file = must_get("a.css");
    struct cached_file *gzip = NULL;
    struct cached_file *br = NULL;
    assert_int_equal(get_sibling(file, ENCODING_GZIP, &gzip), 0);
    assert_int_equal(get_sibling(file, ENCODING_BR, &br), 0);
    assert_string_not_equal(file->etag, gzip->etag); /* RFC 9110 section 8.8.3.3 */
    assert_string_not_equal(file->etag, br->etag);
    assert_string_not_equal(gzip->etag, br->etag);
    assert_string_equal(gzip->type, "text/css; charset=utf-8");
    assert_true(head_has(&gzip->full, "\r\nContent-Encoding: gzip\r\n"));
    assert_true(head_has(&br->full, "\r\nContent-Encoding: br\r\n"));
    assert_true(head_has(&gzip->full, "\r\nLast-Modified: Sun, 06 Nov 1994 08:49:47 GMT\r\n"));
    assert_false(head_has(&gzip->not_modified, "Content-Encoding"));
    assert_false(head_has(&file->full, "Content-Encoding"));
    const struct cached_file *all[] = {file, gzip, br};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_true(head_has(&all[i]->full, "\r\nVary: Accept-Encoding\r\n")); /* RFC 9110 section 12.5.5 */
        assert_true(head_has(&all[i]->not_modified, "\r\nVary: Accept-Encoding\r\n"));
        assert_true(head_has(&all[i]->full, "\r\nX-A: b\r\n"));
        assert_true(head_has(&all[i]->not_modified, "\r\nX-A: b\r\n"));
        assert_true(head_has(&all[i]->not_modified, all[i]->etag));
    }
    cached_file_put(file);
    cached_file_put(gzip);
    cached_file_put(br);
}

static void file_without_siblings_does_not_vary(void **state)
{
    (void)state;
    struct cached_file *file = must_get("a.css");
    assert_false(head_has(&file->full, "Vary") || head_has(&file->not_modified, "Vary"));
    cached_file_put(file);
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    let_files_age();
    char etag[FILE_ETAG_MAX];
    file = must_get("a.css"); /* the file is the same, what is said of it is not */
    assert_true(head_has(&file->full, "Vary") && head_has(&file->not_modified, "Vary"));
    memcpy(etag, file->etag, sizeof etag);
    cached_file_put(file);
    tree_unlink(&scene.tree, "a.css.gz");
    let_files_age();
    file = must_get("a.css");
    assert_false(head_has(&file->full, "Vary") || head_has(&file->not_modified, "Vary"));
    assert_string_equal(file->etag, etag);
    cached_file_put(file);
}

static void large_empty_and_equal_siblings_differ_in_their_tags(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.css", "");
    tree_add_file(&scene.tree, "a.css.gz", "");
    tree_add_filled(&scene.tree, "b", 'b', LARGE);
    tree_add_filled(&scene.tree, "b.gz", 'b', LARGE);
    static const char *const names[] = {"a.css", "b"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct cached_file *file = must_get(names[i]);
        struct cached_file *sibling = NULL;
        assert_int_equal(get_sibling(file, ENCODING_GZIP, &sibling), 0);
        assert_int_equal(sibling->fd >= 0, i == 1);
        assert_string_not_equal(file->etag, sibling->etag);
        cached_file_put(file);
        cached_file_put(sibling);
    }
    assert_int_equal(file_cache_fd_count(scene.cache), 2);
}

/* What it costs. */

static void fresh_file_and_sibling_cost_a_look_at_an_fd_and_no_memory(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    tree_add_filled(&scene.tree, "a.css.br", 'b', LARGE);
    for (enum encoding encoding = ENCODING_BR; encoding < ENCODING_COUNT; encoding++) {
        struct cached_file *file = must_get("a.css");
        struct cached_file *sibling = NULL;
        get_sibling(file, encoding, &sibling);
        cached_file_put(sibling);
        cached_file_put(file);
    }
    scene.now_ms += FILE_FRESH_MS - 1;
    fake_sys_clear_trace();
    uint64_t allocations = fake_mem_calls();
    for (int i = 0; i < 10; i++) {
        struct cached_file *file = must_get("a.css");
        struct cached_file *sibling = NULL;
        assert_int_equal(file->siblings, BR | GZIP);
        assert_int_equal(get_sibling(file, i % 2 == 0 ? ENCODING_GZIP : ENCODING_BR, &sibling), 0);
        cached_file_put(sibling);
        cached_file_put(file);
    }
    size_t traced = 0;
    fake_sys_trace(&traced);
    assert_int_equal(fake_sys_count(FAKE_STAT), 5); /* the large one, five times */
    assert_int_equal(traced, 5);
    assert_int_equal(fake_mem_calls(), allocations);
}

static void look_at_the_disk_costs_an_open_for_each_coding(void **state)
{
    (void)state;
    fake_sys_clear_trace();
    assert_int_equal(siblings_of("a.css"), 0);
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 4);
    assert_int_equal(fake_sys_count(FAKE_STAT), 2); /* before the contents were read, and after */
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    assert_string_equal((let_files_age(), fetch("a.css", ENCODING_GZIP)), "gz");
    let_files_age();
    fake_sys_clear_trace();
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "gz");
    /* the original, three siblings, and the one that is wanted; nothing is read anew */
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 5);
    assert_int_equal(fake_sys_count(FAKE_STAT), 3);
    assert_int_equal(fake_sys_count(FAKE_PREAD), 0);
}

static void missing_files_leave_nothing_and_look_for_no_siblings(void **state)
{
    (void)state;
    size_t live = fake_mem_live();
    fake_sys_clear_trace();
    for (int i = 0; i < 10000; i++) {
        char name[32];
        struct cached_file *file = NULL;
        int len = snprintf(name, sizeof name, "missing-%d", i);
        assert_int_equal(file_cache_get(scene.cache, &scene.root, name, (size_t)len, scene.now_ms, &file), -ENOENT);
    }
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 10000);
    assert_int_equal(fake_mem_live(), live);
}

static void siblings_count_against_the_bounds(void **state)
{
    (void)state;
    scene.limits.max_cached_files = 1;
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    for (int i = 0; i < 3; i++) { /* each takes the place of the other */
        assert_string_equal(fetch("a.css", ENCODING_GZIP), "gz");
        assert_int_equal(file_cache_count(scene.cache), 1);
    }
}

/* What changes. */

static void replaced_sibling_is_seen_in_time(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.css.gz", "one");
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "one");
    tree_replace_file(&scene.tree, "a.css.gz", "two");
    let_files_age();
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "two");
}

static void replace_at(const char *name, const char *text, time_t mtime_s)
{
    tree_replace_file(&scene.tree, name, text);
    tree_set_mtime(&scene.tree, name, mtime_s, 500);
}

static void sibling_is_never_served_for_a_later_original(void **state)
{
    (void)state;
    replace_at("a.css.gz", "gz of one", MTIME_S + 1);
    assert_int_equal(siblings_of("a.css"), GZIP);
    scene.now_ms += FILE_FRESH_MS / 2; /* so the sibling is looked at later than the original */
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "gz of one");
    replace_at("a.css", "two", MTIME_S + 2);
    scene.now_ms += FILE_FRESH_MS / 2; /* the original's time is over, the sibling's would not be */
    assert_null(fetch("a.css", ENCODING_GZIP));
    replace_at("a.css.gz", "gz of two", MTIME_S + 3);
    let_files_age();
    assert_int_equal(siblings_of("a.css"), GZIP);
    scene.now_ms += FILE_FRESH_MS / 2;
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "gz of two");
    replace_at("a.css", "three", MTIME_S + 4); /* both are replaced, in no time */
    replace_at("a.css.gz", "gz of three", MTIME_S + 4);
    scene.now_ms += FILE_FRESH_MS / 2;
    assert_string_equal(fetch("a.css", ENCODING_GZIP), "gz of three");
}

static void sibling_that_is_older_by_now_is_not_there(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    struct cached_file *file = must_get("a.css");
    struct cached_file *sibling = NULL;
    assert_int_equal(file->siblings, GZIP);
    tree_set_mtime(&scene.tree, "a.css.gz", MTIME_S, 499); /* after the original's look */
    assert_int_equal(get_sibling(file, ENCODING_GZIP, &sibling), -ENOENT);
    tree_unlink(&scene.tree, "a.css.gz");
    assert_int_equal(get_sibling(file, ENCODING_GZIP, &sibling), -ENOENT);
    cached_file_put(file);
}

static void types_of_the_root_come_first(void **state)
{
    (void)state;
    static const struct mime_override types[] = {{"css", "text/x-own"}, {"extensionless", "x/y"}};
    scene.root.types = types;
    scene.root.type_count = ARRAY_LEN(types);
    static const struct {
        const char *name, *type;
    } rows[] = {{"a.css", "text/x-own"},
                {"b.CSS", "text/x-own"},
                {"css", "application/octet-stream"},
                {".css", "application/octet-stream"},
                {"c.extensionless", "x/y"},
                {"d.xcss", "application/octet-stream"},
                {"e.css.txt", "text/plain; charset=utf-8"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tree_add_file(&scene.tree, rows[i].name, "x");
        struct cached_file *file = must_get(rows[i].name);
        assert_string_equal(file->type, rows[i].type);
        cached_file_put(file);
    }
}

/* What fails. */

static void without_fds_siblings_stay_as_they_were(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    assert_int_equal(siblings_of("a.css"), GZIP);
    let_files_age();
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 1, 3, -EMFILE); /* the original opens */
    assert_int_equal(siblings_of("a.css"), GZIP);
    let_files_age();
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 1, 3, -EACCES);
    assert_int_equal(siblings_of("a.css"), 0);
}

static void failing_sibling_is_no_failure_of_the_original(void **state)
{
    (void)state;
    skip_without_openat2();
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    bool failed = true;
    uint64_t n = 1;
    for (; failed; n++) {
        let_files_age();
        tree_replace_file(&scene.tree, "a.css", "new");
        tree_replace_file(&scene.tree, "a.css.gz", "new gz");
        fake_sys_fail(n, -EIO);
        struct cached_file *file = NULL;
        struct cached_file *sibling = NULL;
        int rv = file_cache_get(scene.cache, &scene.root, "a.css", 5, scene.now_ms, &file);
        if (rv == 0) {
            get_sibling(file, ENCODING_GZIP, &sibling);
        }
        failed = fake_sys_failed();
        fake_sys_fail(0, 0);
        assert_true(rv == 0 || (failed && n <= 9)); /* open and stat, two calls to read it, siblings between them */
        cached_file_put(file);
        cached_file_put(sibling);
    }
    assert_true(n > 9);
}

static void every_failing_allocation_leaves_nothing_behind(void **state)
{
    (void)state;
    tree_add_file(&scene.tree, "a.css.gz", "gz");
    tree_add_filled(&scene.tree, "a.css.br", 'b', LARGE);
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        struct file_cache *cache = NULL;
        struct cached_file *files[3] = {NULL, NULL, NULL};
        size_t live = fake_mem_live();
        fake_mem_fail_after(n, false);
        int rv = file_cache_create(&cache, &scene.limits, NULL);
        rv = rv < 0 ? rv : file_cache_get(cache, &scene.root, "a.css", 5, scene.now_ms, &files[0]);
        if (rv == 0) {
            file_cache_get_sibling(cache, &scene.root, files[0], ENCODING_GZIP, scene.now_ms, &files[1]);
            file_cache_get_sibling(cache, &scene.root, files[0], ENCODING_BR, scene.now_ms, &files[2]);
        }
        failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        for (size_t i = 0; i < ARRAY_LEN(files); i++) {
            cached_file_put(files[i]);
        }
        file_cache_destroy(cache);
        assert_int_equal(fake_mem_live(), live);
        assert_int_equal(fake_sys_open_fds(), 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(siblings_are_found_with_their_original),
        TEST(older_sibling_does_not_count),
        TEST(sibling_with_a_time_in_seconds_must_have_been_made_after_the_original),
        TEST(only_regular_files_below_the_root_count),
        TEST(compressed_file_is_itself_and_has_no_siblings),
        TEST(root_may_do_without),
        TEST(name_that_leaves_no_room_for_a_suffix_has_no_siblings),
        TEST(sibling_is_a_representation_of_its_own),
        TEST(file_without_siblings_does_not_vary),
        TEST(large_empty_and_equal_siblings_differ_in_their_tags),
        TEST(fresh_file_and_sibling_cost_a_look_at_an_fd_and_no_memory),
        TEST(look_at_the_disk_costs_an_open_for_each_coding),
        TEST(missing_files_leave_nothing_and_look_for_no_siblings),
        TEST(siblings_count_against_the_bounds),
        TEST(replaced_sibling_is_seen_in_time),
        TEST(sibling_is_never_served_for_a_later_original),
        TEST(sibling_that_is_older_by_now_is_not_there),
        TEST(types_of_the_root_come_first),
        TEST(without_fds_siblings_stay_as_they_were),
        TEST(failing_sibling_is_no_failure_of_the_original),
        TEST(every_failing_allocation_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
