/* The file cache on real files behind the fake door: what a hit costs, when the disk is looked at, and what becomes of
 * files that change. Room is in test_file_cache_room.c, failures are in test_file_cache_fault.c. */

#include "tests/lib/file_cache_scene.h"

/* What a file is. */

static void small_file_is_ready_in_memory(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a.txt", "hello\n");
    tree_set_mtime(&s->tree, "a.txt", 784111777, 5);
    struct cached_file *file = must_get(s, "a.txt");
    assert_contents(file, "hello\n");
    assert_int_equal(file->last_modified_s, 784111777);
    assert_string_equal(file->type, mime_type("a.txt", 5));
    assert_int_equal(file->etag_len, strlen(file->etag));
    assert_int_equal(file->etag[0], '"');
    assert_int_equal(file->etag[file->etag_len - 1], '"');
    char *head = strndup(file->full.bytes, file->full.head_len);
    assert_non_null(strstr(head, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(head, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    assert_non_null(strstr(head, "\r\nContent-Length: 6\r\n"));
    assert_non_null(strstr(head, "\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    assert_non_null(strstr(head, "\r\nCache-Control: max-age=60\r\n"));
    char line[80];
    snprintf(line, sizeof line, "\r\nETag: %s\r\n", file->etag);
    assert_non_null(strstr(head, line));
    free(head);
    head = strndup(file->not_modified.bytes, file->not_modified.head_len);
    assert_non_null(strstr(head, "HTTP/1.1 304 Not Modified\r\n"));
    assert_non_null(strstr(head, line));
    assert_non_null(strstr(head, "\r\nCache-Control: max-age=60\r\n"));
    assert_null(strstr(head, "Content-")); /* RFC 9110 section 15.4.5: what it must have and no more */
    assert_null(strstr(head, "Last-Modified"));
    free(head);
    assert_int_equal(file->not_modified.content_len, 0);
    cached_file_put(file);
    assert_int_equal(file_cache_fd_count(s->cache), 0);
    assert_int_equal(fake_sys_open_fds(), 0);
}

static void contents_are_held_up_to_the_limit_and_an_fd_from_one_past_it(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_file_bytes = 100;
    tree_add_filled(&s->tree, "at", 'a', 100);
    tree_add_filled(&s->tree, "past", 'p', 101);
    struct cached_file *at = must_get(s, "at");
    assert_int_equal(at->fd, -1);
    assert_int_equal(at->full.content_len, 100);
    assert_int_equal(file_cache_fd_count(s->cache), 0);
    struct cached_file *past = must_get(s, "past");
    assert_true(past->fd >= 0);
    assert_int_equal(past->size, 101);
    assert_int_equal(past->full.content_len, 0);
    assert_int_equal(file_cache_fd_count(s->cache), 1);
    cached_file_put(at);
    cached_file_put(past);
}

static void empty_file_is_in_memory_even_without_room_for_contents(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_file_bytes = 0;
    tree_add_file(&s->tree, "empty", "");
    tree_add_file(&s->tree, "one", "1");
    assert_visit_contents(s, "empty", "");
    struct cached_file *one = must_get(s, "one");
    assert_true(one->fd >= 0);
    cached_file_put(one);
}

static void contents_arrive_whole_when_reads_are_short(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "hello");
    fake_sys_fail_op(FAKE_PREAD, 0, 2, -EINTR);
    assert_visit_contents(s, "a", "hello");
}

/* RFC 9110 section 8.8.2.1 */
static void last_modified_is_never_later_than_now(void **state)
{
    struct scene *s = *state;
    int64_t now_s = sys_wall_time_s();
    const struct {
        time_t mtime_s;
        int64_t wanted_s;
    } rows[] = {
        {(time_t)now_s - 1, now_s - 1},
        {(time_t)now_s, now_s},
        {(time_t)now_s + 1, now_s},
        {(time_t)now_s + 86400, now_s},
        {2, 2},
        {1, -1}, /* nobody knows */
        {0, -1},
        {-1, -1},
        {-86400L * 365 * 30, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tree_add_file(&s->tree, "a", "text");
        tree_set_mtime(&s->tree, "a", rows[i].mtime_s, 999999999);
        s->now_ms += FILE_FRESH_MS;
        struct cached_file *file = must_get(s, "a");
        assert_int_equal(file->last_modified_s, rows[i].wanted_s);
        char *head = strndup(file->full.bytes, file->full.head_len);
        assert_int_equal(strstr(head, "Last-Modified: ") != NULL, rows[i].wanted_s >= 0);
        assert_non_null(strstr(head, "\r\nETag: \""));
        free(head);
        cached_file_put(file);
    }
}

static void path_too_long_for_the_kernel_is_refused_without_a_call(void **state)
{
    struct scene *s = *state;
    char path[BENEATH_PATH_MAX + 1];
    memset(path, 'a', BENEATH_PATH_MAX);
    path[BENEATH_PATH_MAX] = '\0';
    fake_sys_clear_trace();
    assert_int_equal(visit(s, path), -ENAMETOOLONG);
    assert_int_equal(fake_sys_total(), 0);
    path[BENEATH_PATH_MAX - 1] = '\0';
    assert_int_equal(visit(s, path), -ENAMETOOLONG); /* the kernel's own word: one name is at most 255 bytes */
}

/* What a hit costs. */

static void hit_costs_a_look_at_a_file_with_an_fd_and_nothing_else(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "small", "text");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    assert_int_equal(visit(s, "small"), 0);
    assert_int_equal(visit(s, "large"), 0);
    fake_sys_clear_trace();
    uint64_t calls_before = fake_sys_total();
    uint64_t allocations_before = fake_mem_calls();
    for (int i = 0; i < FILE_FRESH_MS; i++) {
        assert_int_equal(visit(s, "small"), 0);
        assert_int_equal(visit(s, "large"), 0);
        s->now_ms++;
    }
    assert_int_equal(fake_sys_count(FAKE_STAT), FILE_FRESH_MS); /* of the large one */
    assert_int_equal(fake_sys_count(FAKE_NOW_NS) + fake_sys_count(FAKE_WALL_TIME_S), 0);
    assert_int_equal(fake_sys_total(), calls_before + FILE_FRESH_MS);
    assert_int_equal(fake_mem_calls(), allocations_before);
}

static void unchanged_file_costs_three_calls_when_its_time_is_up(void **state)
{
    struct scene *s = *state;
    skip_without_openat2();
    tree_add_file(&s->tree, "a", "text");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    struct cached_file *small = must_get(s, "a");
    struct cached_file *large = must_get(s, "large");
    for (int i = 0; i < 3; i++) {
        s->now_ms += FILE_FRESH_MS;
        fake_sys_clear_trace();
        uint64_t allocations_before = fake_mem_calls();
        struct cached_file *again = must_get(s, "a");
        struct cached_file *large_again = must_get(s, "large");
        assert_ptr_equal(again, small);
        assert_ptr_equal(large_again, large);
        assert_int_equal(fake_mem_calls(), allocations_before);
        size_t traced = 0;
        fake_sys_trace(&traced);
        assert_int_equal(traced, 2 * 3);
        assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 2);
        assert_int_equal(fake_sys_count(FAKE_STAT), 2);
        assert_int_equal(fake_sys_count(FAKE_CLOSE), 2);
        cached_file_put(again);
        cached_file_put(large_again);
        assert_int_equal(visit(s, "a"), 0); /* looked at: fresh again */
        size_t traced_after = 0;
        fake_sys_trace(&traced_after);
        assert_int_equal(traced_after, traced);
    }
    cached_file_put(small);
    cached_file_put(large);
}

static void missing_paths_are_not_remembered(void **state)
{
    struct scene *s = *state;
    tree_add_dir(&s->tree, "dir");
    tree_add_file(&s->tree, "file", "text");
    size_t blocks = fake_mem_live();
    size_t bytes = fake_mem_live_bytes();
    for (int i = 0; i < 10000; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s%d", i % 3 == 0 ? "no" : i % 3 == 1 ? "dir/no" : "file/no", i);
        int rv = visit(s, path);
        assert_int_equal(rv, i % 3 == 2 ? -ENOTDIR : -ENOENT);
    }
    assert_int_equal(visit(s, "dir"), -EISDIR);
    assert_int_equal(fake_mem_live(), blocks);
    assert_int_equal(fake_mem_live_bytes(), bytes);
    assert_int_equal(file_cache_count(s->cache), 0);
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_string_equal(s->log_lines, ""); /* a client's mistakes are no news */
}

/* Changes on disk. */

static void replaced_file_is_seen_when_its_time_is_up_and_not_before(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "old");
    struct cached_file *old = must_get(s, "a");
    tree_replace_file(&s->tree, "a", "new");
    s->now_ms += FILE_FRESH_MS - 1;
    assert_visit_contents(s, "a", "old");
    s->now_ms += 1;
    struct cached_file *new = must_get(s, "a");
    assert_contents(new, "new");
    assert_string_not_equal(new->etag, old->etag);
    assert_contents(old, "old"); /* whoever has it keeps it */
    assert_int_equal(file_cache_count(s->cache), 1);
    cached_file_put(old);
    cached_file_put(new);
}

static void large_replaced_file_stays_open_for_who_sends_it(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "a", 'o', 100000);
    struct cached_file *old = must_get(s, "a");
    tree_add_filled(&s->tree, ".new", 'n', 100000);
    tree_set_mtime(&s->tree, ".new", 784111777, 0);
    tree_must(renameat(s->tree.fd, ".new", s->tree.fd, "a"), "a");
    s->now_ms += FILE_FRESH_MS;
    struct cached_file *new = must_get(s, "a");
    assert_ptr_not_equal(new, old);
    assert_string_not_equal(new->etag, old->etag);
    char byte = 0;
    assert_int_equal(pread(old->fd, &byte, 1, 99999), 1);
    assert_int_equal(byte, 'o');
    assert_int_equal(pread(new->fd, &byte, 1, 99999), 1);
    assert_int_equal(byte, 'n');
    assert_int_equal(file_cache_fd_count(s->cache), 1);
    assert_int_equal(fake_sys_open_fds(), 2);
    cached_file_put(old);
    assert_int_equal(fake_sys_open_fds(), 1);
    cached_file_put(new);
}

/* Each of these differs from the version held in one thing alone. */
static void every_part_of_a_version_tells(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "large", 'l', 100000);
    struct cached_file *file = must_get(s, "large");
    struct stat same = {
        .st_mode = S_IFREG | 0644,
        .st_dev = file->device,
        .st_ino = file->inode,
        .st_size = 100000,
        .st_mtim = {.tv_sec = file->mtime_ns / NS_PER_S, .tv_nsec = file->mtime_ns % NS_PER_S},
        .st_ctim = {.tv_sec = file->ctime_ns / NS_PER_S, .tv_nsec = file->ctime_ns % NS_PER_S},
    };
    s->is_frozen = true;
    for (int part = 0; part < 8; part++) {
        struct stat st = same;
        switch (part) {
        case 1:
            st.st_dev++;
            break;
        case 2:
            st.st_ino++;
            break;
        case 3:
            st.st_size++;
            break;
        case 4:
            st.st_mtim.tv_nsec ^= 1;
            break;
        case 5:
            st.st_mtim.tv_sec++;
            break;
        case 6:
            st.st_ctim.tv_nsec ^= 1;
            break;
        case 7:
            st.st_ctim.tv_sec++;
            break;
        default:
            break;
        }
        s->frozen = same;
        s->now_ms += FILE_FRESH_MS;
        struct cached_file *before = must_get(s, "large");
        s->frozen = st;
        s->now_ms += FILE_FRESH_MS;
        struct cached_file *after = must_get(s, "large");
        if ((after == before) != (part == 0)) {
            fail_msg("part %d", part);
        }
        /* The tag is that of copies elsewhere, too: only size and modification time are in it. */
        bool is_in_tag = part >= 3 && part <= 5;
        assert_int_equal(strcmp(before->etag, after->etag) == 0, !is_in_tag);
        cached_file_put(before);
        cached_file_put(after);
    }
    cached_file_put(file);
}

static void touched_file_with_the_same_contents_keeps_its_tag(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    struct cached_file *before = must_get(s, "a");
    tree_set_mtime(&s->tree, "a", 784111777, 0);
    s->now_ms += FILE_FRESH_MS;
    struct cached_file *after = must_get(s, "a");
    assert_ptr_not_equal(after, before);
    assert_int_equal(after->last_modified_s, 784111777);
    assert_string_equal(after->etag, before->etag);
    cached_file_put(before);
    cached_file_put(after);
}

static void tags_of_similar_contents_differ(void **state)
{
    struct scene *s = *state;
    static const char *const texts[] = {"",         "a",        "b",         "ab",        "ba",        "abcdefgh",
                                        "abcdefgi", "hbcdefga", "abcdefgha", "abcdefghb", "aaaaaaaab", "aaaaaaaaab"};
    enum { COUNT = sizeof texts / sizeof texts[0] };
    char tags[COUNT][FILE_ETAG_MAX];
    for (size_t i = 0; i < COUNT; i++) {
        tree_replace_file(&s->tree, "a", texts[i]);
        s->now_ms += FILE_FRESH_MS;
        struct cached_file *file = must_get(s, "a");
        memcpy(tags[i], file->etag, sizeof tags[i]);
        cached_file_put(file);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(tags[i], tags[j]);
        }
    }
}

/* Two changes within one tick of the file system's clock: nothing that stat says is different. */
static void second_change_within_a_tick_is_seen(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "first!");
    s->is_frozen = true;
    tree_must(fstatat(s->tree.fd, "a", &s->frozen, 0), "a");
    fake_sys_reset();
    fake_sys_set_wall_time_s(s->frozen.st_ctim.tv_sec);
    struct cached_file *first = must_get(s, "a");
    assert_contents(first, "first!");
    tree_add_file(&s->tree, "a", "second");
    s->now_ms += FILE_FRESH_MS;
    fake_sys_advance_ms(FILE_FRESH_MS);
    struct cached_file *second = must_get(s, "a");
    assert_contents(second, "second");
    assert_string_not_equal(second->etag, first->etag);
    cached_file_put(first);
    cached_file_put(second);
}

static void contents_are_read_again_until_the_file_has_settled(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    struct stat st;
    tree_must(fstatat(s->tree.fd, "a", &st, 0), "a");
    const struct {
        int age_s;
        int reads; /* at the next look */
    } rows[] = {{-1000, 0}, {-3, 0}, {-2, 1}, {-1, 1}, {0, 1}, {1, 1}, {2, 1}, {3, 0}, {1000, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        file_cache_destroy(s->cache);
        assert_int_equal(file_cache_create(&s->cache, &s->limits, &s->log), 0);
        fake_sys_reset();
        fake_sys_set_wall_time_s(st.st_ctim.tv_sec + rows[i].age_s);
        assert_int_equal(visit(s, "a"), 0);
        assert_int_equal(fake_sys_count(FAKE_PREAD), 1);
        s->now_ms += FILE_FRESH_MS - 1;
        assert_int_equal(visit(s, "a"), 0);
        assert_int_equal(fake_sys_count(FAKE_PREAD), 1); /* fresh all the same */
        s->now_ms += 1;
        fake_sys_advance_ms(10000);
        assert_int_equal(visit(s, "a"), 0);
        assert_int_equal(fake_sys_count(FAKE_PREAD), 1 + rows[i].reads);
        s->now_ms += FILE_FRESH_MS;
        assert_int_equal(visit(s, "a"), 0);
        assert_int_equal(fake_sys_count(FAKE_PREAD), 1 + rows[i].reads); /* now it has */
    }
}

static void removed_file_is_gone_when_its_time_is_up(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    assert_int_equal(visit(s, "a"), 0);
    assert_int_equal(visit(s, "large"), 0);
    tree_unlink(&s->tree, "a");
    tree_unlink(&s->tree, "large");
    assert_int_equal(visit(s, "a"), 0);
    s->now_ms += FILE_FRESH_MS;
    assert_int_equal(visit(s, "a"), -ENOENT);
    assert_int_equal(visit(s, "large"), -ENOENT);
    assert_int_equal(file_cache_count(s->cache), 0);
    assert_int_equal(file_cache_fd_count(s->cache), 0);
    assert_int_equal(fake_sys_open_fds(), 0);
}

static void file_that_becomes_a_directory_is_one(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    assert_int_equal(visit(s, "a"), 0);
    tree_unlink(&s->tree, "a");
    tree_add_dir(&s->tree, "a");
    s->now_ms += FILE_FRESH_MS;
    assert_int_equal(visit(s, "a"), -EISDIR);
    assert_int_equal(file_cache_count(s->cache), 0);
}

static void file_that_grows_or_shrinks_past_the_limit_changes_its_kind(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_file_bytes = 10;
    tree_add_file(&s->tree, "a", "small");
    assert_visit_contents(s, "a", "small");
    tree_add_file(&s->tree, "a", "not small any more");
    s->now_ms += FILE_FRESH_MS;
    struct cached_file *large = must_get(s, "a");
    assert_true(large->fd >= 0);
    assert_int_equal(large->size, 18);
    cached_file_put(large);
    tree_add_file(&s->tree, "a", "small");
    s->now_ms += FILE_FRESH_MS;
    assert_visit_contents(s, "a", "small");
    assert_int_equal(file_cache_fd_count(s->cache), 0);
    assert_int_equal(fake_sys_open_fds(), 0);
}

/* Changes while the file is being read. */

static void shrink_once(struct scene *s)
{
    if (s->left-- > 0) {
        tree_add_file(&s->tree, "a", "short");
    }
}

static void file_that_shrinks_while_it_is_read_is_read_again(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "a rather long text");
    s->before_pread = shrink_once;
    s->left = 1;
    assert_visit_contents(s, "a", "short");
    assert_int_equal(fake_sys_open_fds(), 0);
}

static void empty_once(struct scene *s)
{
    if (s->left-- > 0) {
        tree_add_file(&s->tree, "a", "");
    }
}

static void file_that_is_emptied_while_it_is_read_is_empty(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    s->before_pread = empty_once;
    s->left = 1;
    assert_visit_contents(s, "a", "");
}

/* Each look finds a file that was modified since the one before. */
static void modify_always(struct scene *s)
{
    s->left++;
    s->frozen.st_mtim.tv_nsec ^= 1;
}

static void file_that_keeps_changing_is_given_up(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    tree_must(fstatat(s->tree.fd, "a", &s->frozen, 0), "a");
    s->is_frozen = true;
    s->before_pread = modify_always;
    assert_int_equal(visit(s, "a"), -EAGAIN);
    assert_int_equal(s->left, LOAD_TRIES);
    assert_int_equal(file_cache_count(s->cache), 0);
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_non_null(strstr(s->log_lines, "cannot serve file \"a\": "));
}

static void grow_once(struct scene *s)
{
    if (s->left-- > 0) {
        tree_add_file(&s->tree, "a", "text and more");
    }
}

static void file_that_grows_while_it_is_read_is_read_again(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    s->before_pread = grow_once;
    s->left = 1;
    assert_visit_contents(s, "a", "text and more");
}

/* The size stays, the contents do not: what was read may be half of each. */
static void rewrite_once(struct scene *s)
{
    if (s->left-- > 0) {
        tree_add_file(&s->tree, "a", "TEXT");
        tree_set_mtime(&s->tree, "a", 784111777, 0);
    }
}

static void file_that_is_rewritten_while_it_is_read_is_read_again(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    s->before_pread = rewrite_once;
    s->left = 1;
    assert_visit_contents(s, "a", "TEXT");
    assert_int_equal(fake_sys_count(FAKE_PREAD), 2);
}

/* The first read finds an end that stat did not promise; from then on stat says that the file is large. */
static void say_large(struct scene *s)
{
    s->frozen.st_size = 50;
}

static void file_that_becomes_large_while_it_is_read_gets_an_fd(void **state)
{
    struct scene *s = *state;
    s->limits.max_cached_file_bytes = 10;
    tree_add_file(&s->tree, "a", "text");
    tree_must(fstatat(s->tree.fd, "a", &s->frozen, 0), "a");
    s->frozen.st_size = 10;
    s->is_frozen = true;
    s->before_pread = say_large;
    struct cached_file *file = must_get(s, "a");
    assert_true(file->fd >= 0);
    assert_int_equal(file->size, 50);
    assert_int_equal(fake_sys_open_fds(), 1);
    cached_file_put(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(small_file_is_ready_in_memory),
        TEST(contents_are_held_up_to_the_limit_and_an_fd_from_one_past_it),
        TEST(empty_file_is_in_memory_even_without_room_for_contents),
        TEST(contents_arrive_whole_when_reads_are_short),
        TEST(last_modified_is_never_later_than_now),
        TEST(path_too_long_for_the_kernel_is_refused_without_a_call),
        TEST(hit_costs_a_look_at_a_file_with_an_fd_and_nothing_else),
        TEST(unchanged_file_costs_three_calls_when_its_time_is_up),
        TEST(missing_paths_are_not_remembered),
        TEST(replaced_file_is_seen_when_its_time_is_up_and_not_before),
        TEST(large_replaced_file_stays_open_for_who_sends_it),
        TEST(every_part_of_a_version_tells),
        TEST(touched_file_with_the_same_contents_keeps_its_tag),
        TEST(tags_of_similar_contents_differ),
        TEST(second_change_within_a_tick_is_seen),
        TEST(contents_are_read_again_until_the_file_has_settled),
        TEST(removed_file_is_gone_when_its_time_is_up),
        TEST(file_that_becomes_a_directory_is_one),
        TEST(file_that_grows_or_shrinks_past_the_limit_changes_its_kind),
        TEST(file_that_shrinks_while_it_is_read_is_read_again),
        TEST(file_that_is_emptied_while_it_is_read_is_empty),
        TEST(file_that_keeps_changing_is_given_up),
        TEST(file_that_grows_while_it_is_read_is_read_again),
        TEST(file_that_is_rewritten_while_it_is_read_is_read_again),
        TEST(file_that_becomes_large_while_it_is_read_gets_an_fd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
