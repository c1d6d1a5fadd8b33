/* Open files by name.
 *
 * Happy path: file_cache_get() finds the file in its table, sees that the last look at the disk was less than
 * FILE_FRESH_MS ago, moves the file to the front of the order of use and returns a reference. This takes no allocation,
 * and no system call except an fstat(2) for a file that is sent from its fd. Otherwise it looks at the disk: open,
 * stat, and, if this is the version it holds, close. Another version is loaded beside the one in use, which is freed
 * with its last reference.
 *
 * Failure modes: a file that can no longer be opened is dropped. If there are no fds left, files that only the cache
 * holds open are closed for the new one. */

#include "http/file_cache.h"

#include "core/beneath.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/visible.h"
#include "http/cached_file.h"
#include "http/denied_places.h"
#include "http/file_load.h"
#include "http/file_room.h"
#include "http/file_table.h"
#include "http/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    IDLE_BUDGET = 2,       /* idle files dropped in one look at the disk (R6) */
    LOGGED_PATH_MAX = 256, /* bytes of a path in a log line, escaped, with its NUL */
    LOG_PAUSE_MS = 1000,   /* between two lines about failures: there may be one for each request */
};

struct file_cache {
    const struct limits *limits;
    const struct log *log;
    struct file_room room;   /* when the table has no fds to give up */
    struct file_table table; /* what it holds */
    uint64_t page_bytes;     /* of all pages, also of those that only their readers hold */
    int64_t logged_ms;       /* last line about a failure */
    struct file_cache_looks looks;
    struct denied_places denied; /* by the site's permissions */
};

/* Whether one file more would be too much. */
static bool is_full(const struct file_cache *cache, const struct cached_file *file)
{
    return cache->table.files.count >= cache->limits->max_cached_files ||
           cache->table.memory_bytes + file->full.content_len > cache->limits->max_cached_memory_bytes;
}

/* Hold a file, within the bounds of the cache. */
static void insert(struct file_cache *cache, struct cached_file *file)
{
    struct file_table *table = &cache->table;
    while (table->files.count > 0 && is_full(cache, file)) {
        file_table_drop(table, table->files.oldest);
    }
    if (file->fd >= 0 && table->with_fd.count >= FILE_FDS_MAX) {
        file_table_drop(table, table->with_fd.oldest);
    }
    file_table_add(table, file);
}

/* Drop the oldest files if nobody requested them for long. The last look stands for the last use: it is never later,
 * and less than FILE_FRESH_MS earlier. */
static void drop_idle(struct file_cache *cache, int64_t now_ms)
{
    for (int left = IDLE_BUDGET; left > 0; left--) {
        struct cached_file *oldest = cache->table.files.oldest;
        if (oldest == NULL || now_ms - oldest->checked_ms < FILE_IDLE_MS) {
            return;
        }
        file_table_drop(&cache->table, oldest);
    }
}

/* Looking at the disk. */

static int open_file(struct file_cache *cache, const struct file_key *key, int64_t now_ms)
{
    int fd;
    int tries = FILE_ROOM_TRIES;
    do {
        fd = file_open(key, now_ms);
        if (sys_is_out_of_fds(fd) && --tries > 0 &&
            (file_table_relieve_fds(&cache->table) || file_room_make(&cache->room, fd))) {
            fd = -EINTR; /* once more */
        }
    } while (fd == -EINTR);
    /* A socket cannot be opened, nor a device without a driver. */
    return fd == -ENXIO || fd == -ENODEV ? -ENOENT : fd;
}

/* Whether the machine failed, and not the path. */
static bool is_notable(int error)
{
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
    case -EISDIR:
    case -EACCES:
    case -EPERM:
    case -EXDEV:
    case -ELOOP:
    case -ENAMETOOLONG:
        return false;
    default:
        return true;
    }
}

static void log_failure(struct file_cache *cache, const struct file_key *key, int error, int64_t now_ms)
{
    if (!is_notable(error) || !log_is_on(cache->log, LOG_ERROR) || now_ms < cache->logged_ms + LOG_PAUSE_MS) {
        return;
    }
    cache->logged_ms = now_ms;
    char shown[LOGGED_PATH_MAX];
    size_t taken;
    visible_copy(shown, sizeof shown, key->path, key->len, VISIBLE_QUOTED, &taken);
    log_write(cache->log, LOG_ERROR, "cannot serve file \"%s%s%s\": %s", shown, taken < key->len ? "..." : "",
              encoding_suffix(key->encoding), errno_text(-error));
}

static uint64_t most_in_memory(const struct limits *limits)
{
    return limits->max_cached_file_bytes < limits->max_cached_memory_bytes ? limits->max_cached_file_bytes
                                                                           : limits->max_cached_memory_bytes;
}

/* Whether a file with an fd was not written since it was found. *st gets its present state. */
static bool is_as_found(const struct cached_file *held, struct stat *st)
{
    return sys_stat(held->fd, st) == 0 && (uint64_t)st->st_size == held->size &&
           cached_file_time_ns(st->st_mtim) == held->mtime_ns;
}

__attribute__((noinline)) static bool is_current_on_disk(const struct cached_file *held)
{
    struct stat st;
    return is_as_found(held, &st) && cached_file_time_ns(st.st_ctim) == held->ctime_ns;
}

/* Whether a file that was looked at lately can be served as it was found. Contents in memory always can. */
static bool is_current(const struct cached_file *held)
{
    return held->fd < 0 || is_current_on_disk(held);
}

/* Whether the file that is held can be served although there are no fds for a look. It may have been replaced, but its
 * head must not go out with bytes that were written since. */
static bool can_stand_in(const struct cached_file *held)
{
    struct stat st;
    return held->fd < 0 || is_as_found(held, &st);
}

/* Open the file and bring the cache up to date with it. held is the version in the cache, or NULL. */
static int look_at_disk(struct file_cache *cache, const struct file_key *key, struct cached_file *held, int64_t now_ms,
                        struct cached_file **file)
{
    if (held != NULL) {
        cached_file_ref(held); /* relieving fds must not take it from us */
    }
    struct cached_file *loaded = NULL;
    int fd = open_file(cache, key, now_ms);
    int rv = fd < 0 ? fd : file_load(key, fd, held, most_in_memory(cache->limits), now_ms, &loaded);
    if (held != NULL && ((rv == 0 && loaded == NULL) || (sys_is_out_of_fds(rv) && can_stand_in(held)))) {
        held->checked_ms = now_ms;
        file_table_touch(&cache->table, held);
        *file = held; /* with the reference taken above */
        return 0;
    }
    if (held != NULL) {
        if (rv != -ENOMEM) {
            file_table_drop(&cache->table, held);
        }
        cached_file_put(held);
    }
    if (rv == 0) {
        if (loaded->full.content_len <= cache->limits->max_cached_memory_bytes) {
            insert(cache, loaded);
        }
        *file = loaded;
    }
    return rv;
}

/* The interface. */

int file_cache_create(struct file_cache **cache, const struct limits *limits, const struct log *log)
{
    struct file_cache *made = mem_zalloc(sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->limits = limits;
    made->log = log;
    made->logged_ms = INT64_MIN;
    int rv = file_table_init(&made->table);
    if (rv < 0) {
        mem_free(made);
        return rv;
    }
    *cache = made;
    return 0;
}

void file_cache_set_room(struct file_cache *cache, const struct file_room *room)
{
    cache->room = *room;
}

const struct file_room *file_cache_room(const struct file_cache *cache)
{
    return &cache->room;
}

void file_cache_note_denied(struct file_cache *cache, struct file_root *root, const char *path, size_t len, int error,
                            int64_t now_ms)
{
    denied_places_note(&cache->denied, cache->log, root, path, len, error, now_ms);
}

void file_cache_abandon(struct file_cache *cache)
{
    for (struct cached_file *file = cache->table.with_fd.newest; file != NULL; file = file->by_fd_use.older) {
        sys_close(file->fd);
        file->fd = -1;
    }
}

void file_cache_destroy(struct file_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    file_table_done(&cache->table);
    mem_free(cache);
}

/* Take one more reference to a file that is held, as the one used last. */
static struct cached_file *hand_out(struct file_cache *cache, struct cached_file *held)
{
    file_table_touch(&cache->table, held);
    cached_file_ref(held);
    return held;
}

/* Get a file of which no version was seen lately. held is the version that the cache has, or NULL. Not inlined: hits
 * would pay for its registers. */
__attribute__((noinline)) static int get_anew(struct file_cache *cache, const struct file_key *key,
                                              struct cached_file *held, int64_t now_ms, struct cached_file **file)
{
    cache->looks.misses++;
    int rv = key->len < BENEATH_PATH_MAX ? look_at_disk(cache, key, held, now_ms, file) : -ENAMETOOLONG;
    if (rv < 0) {
        log_failure(cache, key, rv, now_ms);
        file_cache_note_denied(cache, key->root, key->path, key->len, rv, now_ms);
    }
    drop_idle(cache, now_ms);
    return rv;
}

/* Get a file; a version that was seen since fresh_ms is good enough. */
static int get_key(struct file_cache *cache, const struct file_key *key, int64_t fresh_ms, int64_t now_ms,
                   struct cached_file **file)
{
    struct cached_file *held = file_table_find(&cache->table, key);
    if (held != NULL && held->checked_ms >= fresh_ms && is_current(held)) {
        cache->looks.hits++;
        *file = hand_out(cache, held);
        return 0;
    }
    return get_anew(cache, key, held, now_ms, file);
}

int file_cache_get(struct file_cache *cache, struct file_root *root, const char *path, size_t len, int64_t now_ms,
                   struct cached_file **file)
{
    struct file_key key = file_key_of(root, path, len, ENCODING_IDENTITY);
    key.room = &cache->room;
    return get_key(cache, &key, now_ms - FILE_FRESH_MS + 1, now_ms, file);
}

int file_cache_get_sibling(struct file_cache *cache, struct file_root *root, const struct cached_file *original,
                           enum encoding encoding, int64_t now_ms, struct cached_file **sibling)
{
    struct file_key key = file_key_of(root, original->path, original->path_len, encoding);
    key.least_mtime_ns = original->mtime_ns;
    key.room = &cache->room;
    /* Looked at when the original was looked at, or later: otherwise it could be the sibling of an earlier version. */
    return get_key(cache, &key, original->checked_ms, now_ms, sibling);
}

/* Pages. */

enum { KEY_PAGE = ENCODING_COUNT }; /* in place of the encoding of a file */

static struct file_key page_key(struct file_root *root, const char *path, size_t len)
{
    return file_key_of(root, path, len, (enum encoding)KEY_PAGE);
}

struct cached_file *file_cache_get_page(struct file_cache *cache, struct file_root *root, const char *path, size_t len,
                                        const struct stat *st, int64_t now_ms)
{
    struct file_key key = page_key(root, path, len);
    struct cached_file *held = file_table_find(&cache->table, &key);
    if (held == NULL) {
        return NULL;
    }
    if (now_ms >= held->until_ms || held->device != st->st_dev || held->inode != st->st_ino ||
        held->mtime_ns != cached_file_time_ns(st->st_mtim) || held->ctime_ns != cached_file_time_ns(st->st_ctim)) {
        file_table_drop(&cache->table, held);
        return NULL;
    }
    held->checked_ms = now_ms;
    return hand_out(cache, held);
}

int file_cache_add_page(struct file_cache *cache, struct file_root *root, const char *path, size_t len,
                        const struct stat *st, const struct file_page *page, struct cached_file **file)
{
    struct file_key key = page_key(root, path, len);
    struct cached_file *made = mem_alloc(sizeof *made + len + 1);
    if (made == NULL) {
        mem_free(page->bytes);
        return -ENOMEM;
    }
    *made = (struct cached_file){
        .fd = -1,
        .size = page->len,
        .last_modified_s = -1,
        .cut_rows = page->cut_rows,
        .type = "text/html; charset=utf-8",
        .encoding = key.encoding,
        .full = {.bytes = page->bytes, .content_len = (uint32_t)page->len},
        .refs = 1,
        .root = root,
        .hash = key.hash,
        .checked_ms = page->made_ms,
        .until_ms = page->until_ms,
        .page_bytes = &cache->page_bytes,
        .device = st->st_dev,
        .inode = st->st_ino,
        .mtime_ns = cached_file_time_ns(st->st_mtim),
        .ctime_ns = cached_file_time_ns(st->st_ctim),
        .path_len = (uint32_t)len,
    };
    memcpy(made->path, path, len);
    made->path[len] = '\0';
    cache->page_bytes += page->len;
    struct cached_file *held = file_table_find(&cache->table, &key);
    if (held != NULL) {
        file_table_drop(&cache->table, held);
    }
    if (page->len <= cache->limits->max_cached_memory_bytes) {
        insert(cache, made);
    }
    *file = made;
    return 0;
}

bool file_cache_has_page_room(const struct file_cache *cache)
{
    return cache->page_bytes < FILE_PAGES_MAX + cache->table.memory_bytes; /* those that it holds are in both */
}

size_t file_cache_count(const struct file_cache *cache)
{
    return cache->table.files.count;
}

size_t file_cache_fd_count(const struct file_cache *cache)
{
    return cache->table.with_fd.count;
}

uint64_t file_cache_memory(const struct file_cache *cache)
{
    return cache->table.memory_bytes;
}

struct file_cache_looks file_cache_looks(const struct file_cache *cache)
{
    return cache->looks;
}
