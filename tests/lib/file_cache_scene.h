#ifndef EVSERVE_TESTS_FILE_CACHE_SCENE_H
#define EVSERVE_TESTS_FILE_CACHE_SCENE_H

/* What the tests of the file cache share: a cache over a tree of real files behind the fake door. Time is scene.now_ms.
 * When a test ends no memory and no fd may be left. */

#include "core/sys.h"

/* The cache is compiled here with a stat and a pread of our own, so that a file can change between two calls of it, and
 * so that two versions can look the same. */
static inline int watched_stat(int fd, struct stat *st);
static inline ssize_t watched_pread(int fd, void *buf, size_t len, off_t offset);
#define sys_stat  watched_stat
#define sys_pread watched_pread
#include "http/cached_file.c" /* NOLINT(bugprone-suspicious-include) */
#include "http/file_cache.c"  /* NOLINT(bugprone-suspicious-include) */
#include "http/file_load.c"   /* NOLINT(bugprone-suspicious-include) */
#undef sys_stat
#undef sys_pread

#include "tests/lib/fake_mem.h"
#include "tests/lib/fake_sys.h"
#include "tests/lib/file_tree.h"

#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/lib/openat2.h"

static const char FIELDS[] = "Cache-Control: max-age=60\r\n";

struct scene {
    struct file_tree tree;                     /* what is served */
    struct limits limits;                      /* of cache */
    struct file_root root;                     /* tree, with FIELDS */
    struct file_cache *cache;                  /* the one that is tested */
    struct log log;                            /* into log_lines */
    char log_lines[4096];                      /* what was logged, each line with its newline */
    int64_t now_ms;                            /* handed to each call */
    void (*before_pread)(struct scene *scene); /* called before each pread; may be NULL */
    struct stat frozen;                        /* with is_frozen: what stat says of every file */
    bool is_frozen;
    int left; /* for before_pread */
};

static struct scene scene; /* there is one test at a time */

static inline int watched_stat(int fd, struct stat *st)
{
    int rv = sys_stat(fd, st);
    if (rv == 0 && scene.is_frozen) {
        *st = scene.frozen;
    }
    return rv;
}

static inline ssize_t watched_pread(int fd, void *buf, size_t len, off_t offset)
{
    if (scene.before_pread != NULL) {
        scene.before_pread(&scene);
    }
    return sys_pread(fd, buf, len, offset);
}

static inline void keep_line(void *arg, int level, const char *line)
{
    (void)level;
    struct scene *s = arg;
    size_t used = strlen(s->log_lines);
    snprintf(s->log_lines + used, sizeof s->log_lines - used, "%s\n", line);
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline int get(struct scene *s, const char *path, struct cached_file **file)
{
    return file_cache_get(s->cache, &s->root, path, strlen(path), s->now_ms, file);
}

static inline struct cached_file *must_get(struct scene *s, const char *path)
{
    struct cached_file *file = NULL;
    int rv = get(s, path, &file);
    if (rv < 0) {
        fail_msg("%s: %s", path, strerror(-rv));
    }
    return file;
}

/* Get a file and give it back at once. */
static inline int visit(struct scene *s, const char *path)
{
    struct cached_file *file = NULL;
    int rv = get(s, path, &file);
    if (rv == 0) {
        cached_file_put(file);
    }
    return rv;
}

static inline void assert_contents(const struct cached_file *file, const char *text)
{
    assert_int_equal(file->fd, -1);
    assert_int_equal(file->size, strlen(text));
    assert_int_equal(file->full.content_len, strlen(text));
    assert_memory_equal(file->full.bytes + file->full.head_len, text, strlen(text));
}

static inline void assert_visit_contents(struct scene *s, const char *path, const char *text)
{
    struct cached_file *file = must_get(s, path);
    assert_contents(file, text);
    cached_file_put(file);
}

static inline bool is_held(struct scene *s, const char *path)
{
    struct file_key key = file_key_of(&s->root, path, strlen(path), ENCODING_IDENTITY);
    return file_table_find(&s->cache->table, &key) != NULL;
}

static inline void add_numbered(struct scene *s, int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        tree_add_filled(&s->tree, name, 'x', size);
    }
}

static inline int visit_numbered(struct scene *s, int i)
{
    char name[16];
    snprintf(name, sizeof name, "f%d", i);
    return visit(s, name);
}

static inline bool is_held_numbered(struct scene *s, int i)
{
    char name[16];
    snprintf(name, sizeof name, "f%d", i);
    return is_held(s, name);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
