/* The file cache when there is no room: how many files, how much memory and how many fds it holds, and who goes
 * first. */

#include "tests/lib/file_cache_scene.h"

/* Room. */

static void least_recently_used_goes_at_one_past_the_limit(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_files = 3;
    add_numbered(s, 5, 10);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    assert_int_equal(file_cache_count(s->cache), 3);
    for (int i = 0; i < 3; i++) {
        assert_true(is_held_numbered(s, i)); /* at the limit all stay */
    }
    assert_int_equal(visit_numbered(s, 0), 0); /* order of use is now 1, 2, 0 */
    assert_int_equal(visit_numbered(s, 3), 0);
    assert_int_equal(file_cache_count(s->cache), 3);
    assert_false(is_held_numbered(s, 1));
    assert_true(is_held_numbered(s, 0) && is_held_numbered(s, 2) && is_held_numbered(s, 3));
    s->now_ms += FILE_FRESH_MS;
    assert_int_equal(visit_numbered(s, 2), 0); /* a look at the disk is a use too: 0, 3, 2 */
    assert_int_equal(visit_numbered(s, 4), 0);
    assert_false(is_held_numbered(s, 0));
    assert_true(is_held_numbered(s, 2) && is_held_numbered(s, 3) && is_held_numbered(s, 4));
}

static void contents_in_memory_are_bounded_in_total(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_memory_bytes = 300;
    add_numbered(s, 4, 100);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    assert_int_equal(file_cache_memory(s->cache), 300);
    assert_int_equal(file_cache_count(s->cache), 3); /* at the limit all stay */
    assert_int_equal(visit_numbered(s, 3), 0);
    assert_int_equal(file_cache_memory(s->cache), 300);
    assert_false(is_held_numbered(s, 0));
    assert_true(is_held_numbered(s, 1) && is_held_numbered(s, 2) && is_held_numbered(s, 3));
}

static void file_larger_than_all_memory_for_contents_is_sent_from_disk(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_memory_bytes = 100;
    tree_add_filled(&s->tree, "at", 'a', 100);
    tree_add_filled(&s->tree, "past", 'p', 101);
    struct cached_file *at = must_get(s, "at");
    struct cached_file *past = must_get(s, "past");
    assert_int_equal(at->full.content_len, 100);
    assert_true(past->fd >= 0);
    assert_int_equal(file_cache_count(s->cache), 2); /* one of them takes no memory */
    cached_file_put(at);
    cached_file_put(past);
}

static void limit_of_one_holds_one(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_files = 1;
    s->limits.max_cached_file_bytes = 1000;
    add_numbered(s, 2, 100000);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(visit_numbered(s, i), 0);
            assert_int_equal(file_cache_count(s->cache), 1);
            assert_true(is_held_numbered(s, i));
            assert_int_equal(fake_sys_open_fds(), 1);
        }
    }
}

static void lowered_limit_is_kept_from_the_next_file_on(void **state)
{
    struct scene *s = *state;
    add_numbered(s, 10, 10);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    s->limits.max_cached_files = 4;
    assert_int_equal(visit_numbered(s, 9), 0);
    assert_int_equal(file_cache_count(s->cache), 4);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(is_held_numbered(s, i), i >= 6);
    }
}

static void references_keep_evicted_files_alive(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_files = 1;
    tree_add_file(&s->tree, "small", "text");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    struct cached_file *small = must_get(s, "small");
    struct cached_file *large = must_get(s, "large");
    assert_false(is_held(s, "small"));
    assert_int_equal(visit(s, "small"), 0);
    assert_false(is_held(s, "large"));
    assert_contents(small, "text");
    char byte = 0;
    assert_int_equal(pread(large->fd, &byte, 1, 0), 1);
    cached_file_ref(large);
    cached_file_put(large);
    assert_int_equal(fake_sys_open_fds(), 1);
    cached_file_put(large);
    assert_int_equal(fake_sys_open_fds(), 0);
    cached_file_put(small);
    cached_file_put(NULL);
}

static void files_in_use_outlive_the_cache(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "small", "text");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    struct cached_file *small = must_get(s, "small");
    struct cached_file *large = must_get(s, "large");
    file_cache_destroy(s->cache);
    s->cache = NULL;
    assert_contents(small, "text");
    assert_int_equal(fake_sys_open_fds(), 1);
    cached_file_put(small);
    cached_file_put(large);
}

static void fds_are_bounded_by_themselves(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_file_bytes = 9;
    add_numbered(s, FILE_FDS_MAX + 2, 10);
    tree_add_file(&s->tree, "small", "text");
    assert_int_equal(visit(s, "small"), 0);
    for (int i = 0; i < FILE_FDS_MAX; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    assert_int_equal(file_cache_fd_count(s->cache), FILE_FDS_MAX);
    assert_true(is_held_numbered(s, 0));
    assert_int_equal(visit_numbered(s, 0), 0); /* used again: 1 is the oldest */
    assert_int_equal(visit_numbered(s, FILE_FDS_MAX), 0);
    assert_int_equal(file_cache_fd_count(s->cache), FILE_FDS_MAX);
    assert_int_equal(fake_sys_open_fds(), FILE_FDS_MAX);
    assert_true(is_held_numbered(s, 0));
    assert_false(is_held_numbered(s, 1));
    assert_true(is_held(s, "small")); /* it has no fd to give */
    assert_int_equal(file_cache_count(s->cache), FILE_FDS_MAX + 1);
}

static void many_files_are_all_found(void **state)
{
    struct scene *s = *state;
    enum { COUNT = 1000 };
    s->limits.max_cached_files = COUNT;
    add_numbered(s, COUNT, 1);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    assert_int_equal(file_cache_count(s->cache), COUNT);
    assert_true(s->cache->table.bucket_count >= COUNT);
    fake_sys_clear_trace();
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    size_t traced = 0;
    fake_sys_trace(&traced);
    assert_int_equal(traced, 0);
}

static void table_that_cannot_grow_goes_on(void **state)
{
    struct scene *s = *state;
    add_numbered(s, TABLE_FIRST_BUCKETS + 2, 1);
    for (int i = 0; i < TABLE_FIRST_BUCKETS; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    assert_int_equal(s->cache->table.bucket_count, TABLE_FIRST_BUCKETS);
    /* Contents, file, lines, two heads; the sixth allocation is the table's. */
    fake_mem_fail_after(6, false);
    assert_int_equal(visit_numbered(s, TABLE_FIRST_BUCKETS), 0);
    assert_true(fake_mem_failed());
    assert_int_equal(s->cache->table.bucket_count, TABLE_FIRST_BUCKETS);
    for (int i = 0; i <= TABLE_FIRST_BUCKETS; i++) {
        assert_true(is_held_numbered(s, i));
    }
    assert_int_equal(visit_numbered(s, TABLE_FIRST_BUCKETS + 1), 0);
    assert_int_equal(s->cache->table.bucket_count, 2 * TABLE_FIRST_BUCKETS);
}

static void same_path_below_another_root_is_another_file(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "here");
    struct file_tree other_tree;
    tree_make(&other_tree);
    tree_add_file(&other_tree, "a", "there");
    struct file_root other = {.dir_fd = other_tree.fd, .base_fd = -1, .fields = ""};
    assert_visit_contents(s, "a", "here");
    struct cached_file *file = NULL;
    assert_int_equal(file_cache_get(s->cache, &other, "a", 1, s->now_ms, &file), 0);
    assert_contents(file, "there");
    assert_null(memmem(file->full.bytes, file->full.head_len, "Cache-Control", 13));
    cached_file_put(file);
    assert_visit_contents(s, "a", "here");
    assert_int_equal(file_cache_count(s->cache), 2);
    /* Also if their hashes should meet. */
    struct file_key key = file_key_of(&s->root, "a", 1, ENCODING_IDENTITY);
    assert_non_null(file_table_find(&s->cache->table, &key));
    key.root = &other;
    assert_null(file_table_find(&s->cache->table, &key));
    key.root = &s->root;
    key.encoding = ENCODING_GZIP;
    assert_null(file_table_find(&s->cache->table, &key));
    tree_remove(&other_tree);
}

static void idle_files_go_when_the_disk_is_looked_at(void **state)
{
    struct scene *s = *state;
    add_numbered(s, 5, 100000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    s->now_ms += FILE_IDLE_MS - 1;
    assert_int_equal(visit_numbered(s, 3), 0);
    assert_int_equal(file_cache_count(s->cache), 4); /* not yet */
    s->now_ms += 1;
    assert_int_equal(visit(s, "missing"), -ENOENT);
    assert_int_equal(file_cache_count(s->cache), 4 - IDLE_BUDGET);
    assert_true(is_held_numbered(s, 2) && is_held_numbered(s, 3));
    assert_int_equal(visit_numbered(s, 4), 0);
    assert_int_equal(file_cache_count(s->cache), 2);
    assert_true(is_held_numbered(s, 3) && is_held_numbered(s, 4));
    assert_int_equal(fake_sys_open_fds(), 2);
}

static void idle_file_that_is_asked_for_again_stays(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    struct cached_file *file = must_get(s, "a");
    s->now_ms += 10 * FILE_IDLE_MS;
    struct cached_file *again = must_get(s, "a");
    assert_ptr_equal(again, file);
    assert_true(is_held(s, "a"));
    cached_file_put(file);
    cached_file_put(again);
}

/* At random. */

/* Gets, replacements and removals must show what was on disk at the last look. */
static void random_use_agrees_with_the_disk(void **state)
{
    struct scene *s = *state;
    enum { NAMES = 12, STEPS = 5000 };
    s->limits.max_cached_files = 5;
    s->limits.max_cached_file_bytes = 4;
    uint32_t seed = 12345;
    int version[NAMES] = {0}; /* 0: not there */
    for (int step = 1; step <= STEPS; step++) {
        seed = seed * 1664525 + 1013904223;
        int name = (int)(seed >> 16) % NAMES;
        int action = (int)(seed >> 24) % 4;
        char path[16];
        char text[16];
        snprintf(path, sizeof path, "f%d", name);
        snprintf(text, sizeof text, "%d", step);
        if (action == 0) {
            tree_replace_file(&s->tree, path, text);
            version[name] = step;
        } else if (action == 1 && version[name] != 0) {
            tree_unlink(&s->tree, path);
            version[name] = 0;
        }
        s->now_ms += FILE_FRESH_MS;
        struct cached_file *file = NULL;
        int rv = get(s, path, &file);
        assert_int_equal(rv, version[name] == 0 ? -ENOENT : 0);
        if (rv == 0) {
            snprintf(text, sizeof text, "%d", version[name]);
            assert_int_equal(file->size, strlen(text));
            cached_file_put(file);
        }
        assert_true(file_cache_count(s->cache) <= 5);
        /* The two lists and the table tell of the same files. */
        size_t count = 0;
        size_t with_fd = 0;
        for (struct cached_file *at = s->cache->table.files.newest; at != NULL; at = at->by_use.older) {
            assert_true(is_held(s, at->path));
            assert_int_equal(at->refs, 1);
            with_fd += at->fd >= 0 ? 1 : 0;
            count++;
        }
        assert_int_equal(count, file_cache_count(s->cache));
        assert_int_equal(with_fd, file_cache_fd_count(s->cache));
        assert_int_equal(with_fd, fake_sys_open_fds());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(least_recently_used_goes_at_one_past_the_limit),
        TEST(contents_in_memory_are_bounded_in_total),
        TEST(file_larger_than_all_memory_for_contents_is_sent_from_disk),
        TEST(limit_of_one_holds_one),
        TEST(lowered_limit_is_kept_from_the_next_file_on),
        TEST(references_keep_evicted_files_alive),
        TEST(files_in_use_outlive_the_cache),
        TEST(fds_are_bounded_by_themselves),
        TEST(many_files_are_all_found),
        TEST(table_that_cannot_grow_goes_on),
        TEST(same_path_below_another_root_is_another_file),
        TEST(idle_files_go_when_the_disk_is_looked_at),
        TEST(idle_file_that_is_asked_for_again_stays),
        TEST(random_use_agrees_with_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
