/* The file cache on real files behind the fake door: what a hit costs, when the disk is looked at, what goes when there
 * is no room, and that nothing is left behind whatever fails. Time is the argument now_ms. */

#include "core/sys.h"

/* The cache is compiled here with a stat and a pread of our own, so that a file can change between two calls of it, and
 * so that two versions can look the same. */
static int watched_stat(int fd, struct stat *st);
static ssize_t watched_pread(int fd, void *buf, size_t len, off_t offset);
#define sys_stat  watched_stat
#define sys_pread watched_pread
#include "http/file_cache.c" /* NOLINT(bugprone-suspicious-include) */
#include "http/file_load.c"  /* NOLINT(bugprone-suspicious-include) */
#undef sys_stat
#undef sys_pread

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char FIELDS[] = "Cache-Control: max-age=60\r\n";

struct scene {
    struct file_tree tree;
    struct limits limits;
    struct file_root root;
    struct file_cache *cache;
    struct log log;
    char log_lines[4096]; /* what was logged, each line with its newline */
    int64_t now_ms;
    void (*before_pread)(struct scene *scene); /* called before each pread; may be NULL */
    struct stat frozen;                        /* with is_frozen: what stat says of every file */
    bool is_frozen;
    int left; /* for before_pread */
};

static struct scene scene; /* there is one test at a time */

static int watched_stat(int fd, struct stat *st)
{
    int rv = sys_stat(fd, st);
    if (rv == 0 && scene.is_frozen) {
        *st = scene.frozen;
    }
    return rv;
}

static ssize_t watched_pread(int fd, void *buf, size_t len, off_t offset)
{
    if (scene.before_pread != NULL) {
        scene.before_pread(&scene);
    }
    return sys_pread(fd, buf, len, offset);
}

static void keep_line(void *arg, int level, const char *line)
{
    (void)level;
    struct scene *s = arg;
    size_t used = strlen(s->log_lines);
    snprintf(s->log_lines + used, sizeof s->log_lines - used, "%s\n", line);
}

static int set_up(void **state)
{
    memset(&scene, 0, sizeof scene);
    fake_sys_reset();
    fake_sys_set_wall_time_s(time(NULL) + 3600); /* every file here has settled */
    tree_make(&scene.tree);
    limits_init(&scene.limits);
    scene.log = (struct log){.sink = keep_line, .arg = &scene, .level = LOG_DEBUG};
    scene.root = (struct file_root){.dir_fd = scene.tree.fd, .base_fd = -1, .fields = FIELDS};
    scene.now_ms = 1000000;
    assert_int_equal(file_cache_create(&scene.cache, &scene.limits, &scene.log), 0);
    *state = &scene;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    file_cache_destroy(scene.cache);
    tree_remove(&scene.tree);
    if (fake_sys_open_fds() != 0) {
        fake_sys_print_open_fds();
    }
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), 0);
    fake_sys_reset();
    return 0;
}

static int get(struct scene *s, const char *path, struct cached_file **file)
{
    return file_cache_get(s->cache, &s->root, path, strlen(path), s->now_ms, file);
}

static struct cached_file *must_get(struct scene *s, const char *path)
{
    struct cached_file *file = NULL;
    int rv = get(s, path, &file);
    if (rv < 0) {
        fail_msg("%s: %s", path, strerror(-rv));
    }
    return file;
}

/* Get a file and give it back at once. */
static int visit(struct scene *s, const char *path)
{
    struct cached_file *file = NULL;
    int rv = get(s, path, &file);
    if (rv == 0) {
        file_cache_put(file);
    }
    return rv;
}

static void assert_contents(const struct cached_file *file, const char *text)
{
    assert_int_equal(file->fd, -1);
    assert_int_equal(file->size, strlen(text));
    assert_int_equal(file->full.content_len, strlen(text));
    assert_memory_equal(file->full.bytes + file->full.head_len, text, strlen(text));
}

static void assert_visit_contents(struct scene *s, const char *path, const char *text)
{
    struct cached_file *file = must_get(s, path);
    assert_contents(file, text);
    file_cache_put(file);
}

static bool is_held(struct scene *s, const char *path)
{
    struct file_key key = {.root = &s->root, .path = path, .len = strlen(path)};
    key.hash = hash_key(&key);
    return find(s->cache, &key) != NULL;
}

static void add_numbered(struct scene *s, int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        tree_add_filled(&s->tree, name, 'x', size);
    }
}

static int visit_numbered(struct scene *s, int i)
{
    char name[16];
    snprintf(name, sizeof name, "f%d", i);
    return visit(s, name);
}

static bool is_held_numbered(struct scene *s, int i)
{
    char name[16];
    snprintf(name, sizeof name, "f%d", i);
    return is_held(s, name);
}

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
    file_cache_put(file);
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
    file_cache_put(at);
    file_cache_put(past);
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
    file_cache_put(one);
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
        {1, 1},
        {0, -1}, /* nobody knows */
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
        file_cache_put(file);
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

static void hit_makes_no_system_call_and_no_allocation(void **state)
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
    size_t traced = 0;
    fake_sys_trace(&traced);
    assert_int_equal(traced, 0);
    assert_int_equal(fake_sys_count(FAKE_NOW_NS) + fake_sys_count(FAKE_WALL_TIME_S), 0); /* not in the trace */
    assert_int_equal(fake_sys_total(), calls_before);
    assert_int_equal(fake_mem_calls(), allocations_before);
}

static void unchanged_file_costs_three_calls_when_its_time_is_up(void **state)
{
    struct scene *s = *state;
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
        file_cache_put(again);
        file_cache_put(large_again);
        assert_int_equal(visit(s, "a"), 0); /* looked at: fresh again */
        size_t traced_after = 0;
        fake_sys_trace(&traced_after);
        assert_int_equal(traced_after, traced);
    }
    file_cache_put(small);
    file_cache_put(large);
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
    file_cache_put(old);
    file_cache_put(new);
}

static void large_replaced_file_stays_open_for_who_sends_it(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "a", 'o', 100000);
    struct cached_file *old = must_get(s, "a");
    tree_add_filled(&s->tree, ".new", 'n', 100000);
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
    file_cache_put(old);
    assert_int_equal(fake_sys_open_fds(), 1);
    file_cache_put(new);
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
        /* The device is no part of the tag: the same file has the same tag after a restart of the machine. */
        assert_int_equal(strcmp(before->etag, after->etag) == 0, part <= 1);
        file_cache_put(before);
        file_cache_put(after);
    }
    file_cache_put(file);
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
    file_cache_put(before);
    file_cache_put(after);
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
        file_cache_put(file);
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
    file_cache_put(first);
    file_cache_put(second);
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
    file_cache_put(large);
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

/* Each look finds the file longer than it is when it is read. */
static void shrink_always(struct scene *s)
{
    s->left++;
    s->is_frozen = true;
    tree_must(fstatat(s->tree.fd, "a", &s->frozen, 0), "a");
    s->frozen.st_size += 10;
}

static void file_that_keeps_shrinking_is_given_up(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    shrink_always(s);
    s->before_pread = shrink_always;
    s->left = 0;
    assert_int_equal(visit(s, "a"), -EAGAIN);
    assert_int_equal(s->left, LOAD_TRIES * 2); /* a try reads the bytes there are, then finds the end */
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

static void file_that_grows_while_it_is_read_is_served_as_it_was_found(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    s->before_pread = grow_once;
    s->left = 1;
    assert_visit_contents(s, "a", "text");
    s->now_ms += FILE_FRESH_MS;
    assert_visit_contents(s, "a", "text and more");
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
    file_cache_put(file);
}

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
    file_cache_put(at);
    file_cache_put(past);
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
    file_cache_ref(large);
    file_cache_put(large);
    assert_int_equal(fake_sys_open_fds(), 1);
    file_cache_put(large);
    assert_int_equal(fake_sys_open_fds(), 0);
    file_cache_put(small);
    file_cache_put(NULL);
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
    file_cache_put(small);
    file_cache_put(large);
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
    assert_true(s->cache->bucket_count >= COUNT);
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
    add_numbered(s, FIRST_BUCKETS + 2, 1);
    for (int i = 0; i < FIRST_BUCKETS; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    assert_int_equal(s->cache->bucket_count, FIRST_BUCKETS);
    /* Contents, file, lines, two heads; the sixth allocation is the table's. */
    fake_mem_fail_after(6, false);
    assert_int_equal(visit_numbered(s, FIRST_BUCKETS), 0);
    assert_true(fake_mem_failed());
    assert_int_equal(s->cache->bucket_count, FIRST_BUCKETS);
    for (int i = 0; i <= FIRST_BUCKETS; i++) {
        assert_true(is_held_numbered(s, i));
    }
    assert_int_equal(visit_numbered(s, FIRST_BUCKETS + 1), 0);
    assert_int_equal(s->cache->bucket_count, 2 * FIRST_BUCKETS);
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
    file_cache_put(file);
    assert_visit_contents(s, "a", "here");
    assert_int_equal(file_cache_count(s->cache), 2);
    /* Also if their hashes should meet. */
    struct file_key key = {.root = &s->root, .path = "a", .len = 1};
    key.hash = hash_key(&key);
    assert_non_null(find(s->cache, &key));
    key.root = &other;
    assert_null(find(s->cache, &key));
    key.root = &s->root;
    key.encoding = ENCODING_GZIP;
    assert_null(find(s->cache, &key));
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
    file_cache_put(file);
    file_cache_put(again);
}

/* Failures. */

static void out_of_fds_the_least_recently_used_make_room(void **state)
{
    struct scene *s = *state;
    add_numbered(s, FD_RELIEF + 4, 100000);
    struct cached_file *used = NULL;
    assert_int_equal(get(s, "f0", &used), 0); /* the oldest, but somebody sends it */
    for (int i = 1; i < FD_RELIEF + 3; i++) {
        assert_int_equal(visit_numbered(s, i), 0);
    }
    fake_sys_set_fd_limit(fake_sys_open_fds());
    assert_int_equal(visit_numbered(s, FD_RELIEF + 3), 0);
    assert_true(is_held_numbered(s, 0));
    for (int i = 1; i < FD_RELIEF + 4; i++) {
        assert_int_equal(is_held_numbered(s, i), i > FD_RELIEF);
    }
    file_cache_put(used);
}

static void out_of_fds_with_nothing_to_give_up_is_an_error(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "text");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    struct cached_file *large = must_get(s, "large");
    fake_sys_set_fd_limit(1);
    fake_sys_clear_trace();
    assert_int_equal(visit(s, "a"), -EMFILE);
    assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 1); /* no second try without hope */
    assert_true(is_held(s, "large"));
    assert_non_null(strstr(s->log_lines, "cannot serve file \"a\": Too many open files\n"));
    file_cache_put(large);
    assert_int_equal(visit(s, "a"), 0); /* now there is one */
    assert_false(is_held(s, "large"));
}

static void version_held_is_served_while_there_are_no_fds(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "old");
    assert_visit_contents(s, "a", "old");
    tree_replace_file(&s->tree, "a", "new");
    fake_sys_set_fd_limit(0);
    for (int i = 0; i < 5; i++) {
        s->now_ms += FILE_FRESH_MS;
        fake_sys_clear_trace();
        assert_visit_contents(s, "a", "old");
        assert_visit_contents(s, "a", "old");
        assert_int_equal(fake_sys_count(FAKE_OPEN_BENEATH), 1); /* asked once in FILE_FRESH_MS */
    }
    fake_sys_set_fd_limit(-1);
    s->now_ms += FILE_FRESH_MS;
    assert_visit_contents(s, "a", "new");
}

static void large_file_survives_its_own_shortage_of_fds(void **state)
{
    struct scene *s = *state;
    tree_add_filled(&s->tree, "large", 'l', 100000);
    assert_int_equal(visit(s, "large"), 0);
    fake_sys_set_fd_limit(1);
    s->now_ms += FILE_FRESH_MS;
    struct cached_file *file = must_get(s, "large"); /* its own fd is not the one to give up */
    char byte = 0;
    assert_int_equal(pread(file->fd, &byte, 1, 0), 1);
    file_cache_put(file);
    assert_true(is_held(s, "large"));
}

static void version_known_to_be_old_is_not_served_without_memory(void **state)
{
    struct scene *s = *state;
    tree_add_file(&s->tree, "a", "old");
    assert_visit_contents(s, "a", "old");
    tree_replace_file(&s->tree, "a", "new");
    s->now_ms += FILE_FRESH_MS;
    fake_mem_fail_after(1, true);
    assert_int_equal(visit(s, "a"), -ENOMEM);
    assert_int_equal(visit(s, "a"), -ENOMEM);
    fake_mem_fail_after(0, false);
    assert_visit_contents(s, "a", "new");
}

static void lines_about_failures_are_rare_and_safe_to_read(void **state)
{
    struct scene *s = *state;
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, -EIO);
    assert_int_equal(visit(s, "a\n\"\\\x1b[31m\xc3\xa9"), -EIO);
    assert_string_equal(s->log_lines,
                        "cannot serve file \"a\\x0a\\x22\\x5c\\x1b[31m\\xc3\\xa9\": Input/output error\n");
    s->now_ms += LOG_PAUSE_MS - 1;
    size_t len = strlen(s->log_lines);
    assert_int_equal(visit(s, "b"), -EIO);
    assert_int_equal(strlen(s->log_lines), len);
    s->now_ms += 1;
    char path[LOGGED_PATH_MAX + 2];
    memset(path, '\n', sizeof path);
    path[LOGGED_PATH_MAX + 1] = '\0';
    assert_int_equal(visit(s, path), -EIO);
    assert_int_equal(strlen(s->log_lines),
                     len + 4 * LOGGED_PATH_MAX + strlen("cannot serve file \"...\": Input/output error\n"));
    s->cache->log = NULL;
    s->now_ms += LOG_PAUSE_MS;
    assert_int_equal(visit(s, "c"), -EIO);
}

/* One of everything, from an empty cache on: a miss, a hit, a look that finds the same, one that finds another version,
 * a larger one, a file that is gone. Returns the first failure that is not the file's own. */
static int go_through_everything(struct scene *s)
{
    tree_add_file(&s->tree, "a", "old");
    tree_add_filled(&s->tree, "large", 'l', 100000);
    int rv = visit(s, "a");
    rv = rv < 0 ? rv : visit(s, "large");
    rv = rv < 0 ? rv : visit(s, "a");
    s->now_ms += FILE_FRESH_MS;
    rv = rv < 0 ? rv : visit(s, "a");
    rv = rv < 0 ? rv : visit(s, "large");
    tree_replace_file(&s->tree, "a", "new");
    tree_add_filled(&s->tree, "large", 'L', 100001);
    s->now_ms += FILE_FRESH_MS;
    struct cached_file *large = NULL;
    rv = rv < 0 ? rv : visit(s, "a");
    rv = rv < 0 ? rv : get(s, "large", &large);
    tree_unlink(&s->tree, "a");
    s->now_ms += FILE_FRESH_MS;
    if (rv == 0) {
        rv = visit(s, "a");
        rv = rv == -ENOENT ? 0 : rv;
    }
    if (rv == 0 && !fake_sys_failed()) { /* out of fds, the version held is served */
        assert_int_equal(large->size, 100001);
    }
    file_cache_put(large);
    return rv;
}

static void start_again(struct scene *s)
{
    file_cache_destroy(s->cache);
    s->cache = NULL;
    assert_int_equal(fake_sys_open_fds(), 0);
    assert_int_equal(fake_mem_live(), 0);
    assert_int_equal(file_cache_create(&s->cache, &s->limits, &s->log), 0);
}

static void every_failing_allocation_leaves_nothing_behind(void **state)
{
    struct scene *s = *state;
    bool failed = true;
    uint64_t n = 1;
    for (; failed; n++) {
        start_again(s);
        fake_mem_fail_after(n, false);
        int rv = go_through_everything(s);
        failed = fake_mem_failed();
        fake_mem_fail_after(0, false);
        assert_int_equal(rv, failed ? -ENOMEM : 0);
        assert_int_equal(go_through_everything(s), 0); /* it has recovered */
    }
    assert_true(n > 15);
}

static void every_failing_system_call_leaves_nothing_behind(void **state)
{
    struct scene *s = *state;
    static const int errors[] = {-EIO, -EMFILE, -ENOMEM, -EINTR, -EACCES, -EAGAIN};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        bool failed = true;
        uint64_t n = 1;
        for (; failed; n++) {
            start_again(s);
            fake_sys_fail(n, errors[i]);
            int rv = go_through_everything(s);
            failed = fake_sys_failed();
            fake_sys_fail(0, 0);
            /* Interrupted calls are made again, and out of fds the version held will do: no failure to see. */
            bool may_pass = errors[i] == -EINTR || errors[i] == -EMFILE || errors[i] == -EAGAIN;
            if (rv != errors[i] && !(rv == 0 && (may_pass || !failed))) {
                fail_msg("call %d, %s: %d", (int)n, strerror(-errors[i]), rv);
            }
            assert_int_equal(go_through_everything(s), 0);
        }
        assert_true(n > 10);
    }
}

static void kernel_without_openat2_serves_the_same(void **state)
{
    struct scene *s = *state;
    fake_sys_fail_op(FAKE_OPEN_BENEATH, 0, FAKE_FOREVER, -ENOSYS);
    assert_int_equal(go_through_everything(s), 0);
    tree_add_dir(&s->tree, "dir");
    tree_add_file(&s->tree, "dir/b", "below");
    tree_add_link(&s->tree, "out", "/etc/passwd");
    assert_visit_contents(s, "dir/b", "below");
    assert_int_equal(visit(s, "out"), -EXDEV);
    assert_int_equal(visit(s, "dir"), -EISDIR);
}

static void create_fails_cleanly(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 2; n++) {
        struct file_cache *cache = NULL;
        size_t before = fake_mem_live();
        fake_mem_fail_after(n, false);
        assert_int_equal(file_cache_create(&cache, &scene.limits, NULL), -ENOMEM);
        fake_mem_fail_after(0, false);
        assert_int_equal(fake_mem_live(), before);
    }
    file_cache_destroy(NULL);
}

/* Against a list: random gets, replacements and removals must show what was on disk at the last look. */
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
            file_cache_put(file);
        }
        assert_true(file_cache_count(s->cache) <= 5);
        /* The two lists and the table tell of the same files. */
        size_t count = 0;
        size_t with_fd = 0;
        for (struct cached_file *at = s->cache->files.newest; at != NULL; at = at->by_use.older) {
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(small_file_is_ready_in_memory),
        TEST(contents_are_held_up_to_the_limit_and_an_fd_from_one_past_it),
        TEST(empty_file_is_in_memory_even_without_room_for_contents),
        TEST(contents_arrive_whole_when_reads_are_short),
        TEST(last_modified_is_never_later_than_now),
        TEST(path_too_long_for_the_kernel_is_refused_without_a_call),
        TEST(hit_makes_no_system_call_and_no_allocation),
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
        TEST(file_that_keeps_shrinking_is_given_up),
        TEST(file_that_grows_while_it_is_read_is_served_as_it_was_found),
        TEST(file_that_becomes_large_while_it_is_read_gets_an_fd),
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
        TEST(out_of_fds_the_least_recently_used_make_room),
        TEST(out_of_fds_with_nothing_to_give_up_is_an_error),
        TEST(version_held_is_served_while_there_are_no_fds),
        TEST(large_file_survives_its_own_shortage_of_fds),
        TEST(version_known_to_be_old_is_not_served_without_memory),
        TEST(lines_about_failures_are_rare_and_safe_to_read),
        TEST(every_failing_allocation_leaves_nothing_behind),
        TEST(every_failing_system_call_leaves_nothing_behind),
        TEST(kernel_without_openat2_serves_the_same),
        TEST(create_fails_cleanly),
        TEST(random_use_agrees_with_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
