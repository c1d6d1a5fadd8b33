/* What the file cache takes for a version of a file: files written in place, entity tags, and files whose size says
 * nothing. */

#include "tests/lib/file_cache_scene.h"

#include <errno.h>

/* Written in place, with an fd held. */

static void large_file_written_in_place_is_seen_at_once(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "a", 'o', 20000);
    struct cached_file *old = must_get(s, "a");
    assert_int_equal(cached_file_check(old), 0);
    tree_add_filled(&s->tree, "a", 'n', 30000);
    struct cached_file *longer = must_get(s, "a");
    assert_int_equal(longer->size, 30000);
    assert_string_not_equal(longer->etag, old->etag);
    tree_add_filled(&s->tree, "a", 'm', 30000);
    tree_set_mtime(&s->tree, "a", 784111777, 0);
    struct cached_file *same_size = must_get(s, "a");
    assert_int_equal(same_size->size, 30000);
    assert_string_not_equal(same_size->etag, longer->etag);
    assert_int_equal(file_cache_count(s->cache), 1);
    /* Those that send the earlier ones stop. */
    assert_int_equal(cached_file_check(old), -ESTALE);
    assert_int_equal(cached_file_check(longer), -ESTALE);
    assert_int_equal(cached_file_check(same_size), 0);
    tree_add_filled(&s->tree, "a", 'm', 29999);
    assert_int_equal(cached_file_check(same_size), -ESTALE);
    fake_sys_fail_op(FAKE_STAT, 0, 1, -EIO);
    assert_int_equal(cached_file_check(same_size), -EIO);
    cached_file_put(old);
    cached_file_put(longer);
    cached_file_put(same_size);
}

static void large_file_that_grows_was_appended_to_if_its_former_end_is_the_same(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "log", 'l', 20000);
    struct cached_file *file = must_get(s, "log");
    tree_add_filled(&s->tree, "log", 'l', 20001);
    assert_int_equal(cached_file_check(file), 0);
    tree_add_filled(&s->tree, "log", 'n', 20001);
    assert_int_equal(cached_file_check(file), -ESTALE);
    cached_file_put(file);
}

static void large_file_that_cannot_be_looked_at_is_opened_anew(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "a", 'a', 20000);
    assert_int_equal(visit(s, "a"), 0);
    fake_sys_fail_op(FAKE_STAT, 0, 1, -EIO);
    uint64_t opened = fake_sys_count(FAKE_OPEN_BENEATH);
    assert_int_equal(visit(s, "a"), 0);
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), opened + 1);
}

/* Entity tags of files with an fd. */

static const char *tag_of(struct scene *s, const char *path)
{
    static char tags[2][FILE_ETAG_MAX];
    static int next;
    s->now_ms += FILE_FRESH_MS;
    struct cached_file *file = must_get(s, path);
    assert_true(file->fd >= 0);
    char *tag = tags[next++ % 2];
    memcpy(tag, file->etag, FILE_ETAG_MAX);
    cached_file_put(file);
    return tag;
}

static void tag_survives_what_does_not_touch_the_contents(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "a", 'a', 20000);
    tree_set_mtime(&s->tree, "a", 784111777, 123456789);
    char tag[FILE_ETAG_MAX];
    memcpy(tag, tag_of(s, "a"), sizeof tag);
    assert_int_equal(tag[0], '"');
    tree_must(fchmodat(s->tree.fd, "a", 0600, 0), "a");
    assert_string_equal(tag_of(s, "a"), tag);
    tree_must(linkat(s->tree.fd, "a", s->tree.fd, "hard", 0), "hard");
    assert_string_equal(tag_of(s, "a"), tag);
    assert_string_equal(tag_of(s, "hard"), tag);
    tree_add_filled(&s->tree, "copy", 'a', 20000); /* as cp -p and rsync -t make it, on another machine too */
    tree_set_mtime(&s->tree, "copy", 784111777, 123456789);
    assert_string_equal(tag_of(s, "copy"), tag);
    tree_set_mtime(&s->tree, "copy", 784111777, 123456790);
    assert_string_not_equal(tag_of(s, "copy"), tag);
    tree_add_filled(&s->tree, "copy", 'a', 20001);
    tree_set_mtime(&s->tree, "copy", 784111777, 123456789);
    assert_string_not_equal(tag_of(s, "copy"), tag);
}

/* Reproducible builds give every file the same time. */
static void time_that_says_nothing_is_not_what_a_tag_rests_on(void **state)
{
    struct scene *s = *state;
    for (time_t mtime_s = -1; mtime_s <= 2; mtime_s++) {
        tree_add_filled(&s->tree, "a", 'a', 20000);
        tree_add_filled(&s->tree, "b", 'b', 20000);
        tree_set_mtime(&s->tree, "a", mtime_s, 0);
        tree_set_mtime(&s->tree, "b", mtime_s, 0);
        bool is_same = strcmp(tag_of(s, "a"), tag_of(s, "b")) == 0;
        assert_int_equal(is_same, mtime_s == 2);
    }
}

/* Within a tick of the file system's clock another write could not be told. */
static void tag_is_weak_and_another_one_until_the_file_has_settled(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "a", 'a', 20000);
    struct stat st;
    tree_must(fstatat(s->tree.fd, "a", &st, 0), "a");
    fake_sys_reset();
    fake_sys_set_wall_time_s(st.st_mtim.tv_sec + 2);
    char weak[FILE_ETAG_MAX];
    memcpy(weak, tag_of(s, "a"), sizeof weak);
    assert_memory_equal(weak, "W/\"", 3);
    assert_string_equal(tag_of(s, "a"), weak);
    fake_sys_advance_ms(1000);
    const char *strong = tag_of(s, "a");
    assert_int_equal(strong[0], '"');
    assert_string_not_equal(strong, weak + 2); /* a weak comparison does not take one for the other, either */
}

/* Files whose size says nothing. */

static void generated_file_is_what_read_gives(void **state)
{
    struct scene *s = *state;
    static const int64_t sizes[] = {4096, 0, 100000}; /* sysfs, procfs, and larger than what is held in memory */
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        tree_add_file(&s->tree, "a", "42\n");
        s->is_frozen = false;
        tree_must(fstatat(s->tree.fd, "a", &s->frozen, 0), "a");
        s->frozen.st_size = sizes[i];
        s->frozen.st_blocks = 0;
        s->frozen.st_ino += i;
        s->is_frozen = true;
        s->now_ms += FILE_FRESH_MS;
        struct cached_file *file = must_get(s, "a");
        assert_contents(file, "42\n");
        assert_int_equal(file->last_modified_s, -1);
        assert_int_equal(file->etag[0], '"');
        cached_file_put(file);
        tree_add_file(&s->tree, "a", "43\n"); /* the times say nothing, either */
        s->now_ms += FILE_FRESH_MS;
        assert_visit_contents(s, "a", "43\n");
    }
    assert_int_equal(fake_sys_open_fds(), 0);
}

static void generated_file_has_a_bound(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "a", 'a', FILE_GENERATED_MAX);
    tree_must(fstatat(s->tree.fd, "a", &s->frozen, 0), "a");
    s->frozen.st_size = 0;
    s->is_frozen = true;
    struct cached_file *file = must_get(s, "a");
    assert_int_equal(file->size, FILE_GENERATED_MAX);
    cached_file_put(file);
    tree_add_filled(&s->tree, "a", 'a', FILE_GENERATED_MAX + 1);
    s->now_ms += FILE_FRESH_MS;
    assert_int_equal(visit(s, "a"), -EFBIG);
    assert_non_null(strstr(s->log_lines, "cannot serve file \"a\": File too large"));
}

static void generated_file_that_finds_no_room_is_served_and_not_held(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_memory_bytes = 100;
    tree_add_file(&s->tree, "small", "text");
    assert_visit_contents(s, "small", "text");
    tree_add_filled(&s->tree, "a", 'a', 101);
    tree_must(fstatat(s->tree.fd, "a", &s->frozen, 0), "a");
    s->frozen.st_size = 0;
    s->is_frozen = true;
    struct cached_file *file = must_get(s, "a");
    assert_int_equal(file->size, 101);
    cached_file_put(file);
    assert_false(is_held(s, "a"));
    assert_true(is_held(s, "small"));
}

/* A file system may say of a large file that it takes no room (a hole), and mean it. */
static void sparse_file_is_not_taken_for_a_generated_one(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "");
    char path[128];
    snprintf(path, sizeof path, "%s/a", s->tree.path);
    tree_must(truncate(path, 5000000), path);
    struct cached_file *file = must_get(s, "a");
    assert_int_equal(file->size, 5000000);
    assert_true(file->fd >= 0);
    cached_file_put(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(large_file_written_in_place_is_seen_at_once),
        TEST(large_file_that_grows_was_appended_to_if_its_former_end_is_the_same),
        TEST(large_file_that_cannot_be_looked_at_is_opened_anew),
        TEST(tag_survives_what_does_not_touch_the_contents),
        TEST(time_that_says_nothing_is_not_what_a_tag_rests_on),
        TEST(tag_is_weak_and_another_one_until_the_file_has_settled),
        TEST(generated_file_is_what_read_gives),
        TEST(generated_file_has_a_bound),
        TEST(generated_file_that_finds_no_room_is_served_and_not_held),
        TEST(sparse_file_is_not_taken_for_a_generated_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
