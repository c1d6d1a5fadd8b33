/* Open files by name.
 *
 * Happy path: file_cache_get() finds the file in its bucket, sees that the last look at the disk is not FILE_FRESH_MS
 * ago, moves it to the front of the order of use and hands out a reference: no allocation, and no system call except an
 * fstat(2) for a file that is sent from its fd. Otherwise it looks at the disk: open, stat, and when this is the version
 * it holds, close. Another version is loaded beside the one in use, which goes with its last reference.
 *
 * Failure modes: a file that cannot be opened any more is forgotten. Out of fds, files that only the cache holds open
 * are given up for the new one. A small file that changes while it is being read is looked at anew, a few times. A
 * table that cannot grow stays as it is and gets longer chains. */

#include "http/file_cache.h"

#include "core/beneath.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/visible.h"
#include "http/cached_file.h"
#include "http/file_load.h"
#include "http/file_room.h"
#include "http/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    FIRST_BUCKETS = 64,    /* a power of two */
    FD_RELIEF = 8,         /* fds given up at once when there are none left */
    IDLE_BUDGET = 2,       /* idle files dropped in one look at the disk (R6) */
    LOGGED_PATH_MAX = 256, /* bytes of a path in a log line, escaped, with its NUL */
    LOG_PAUSE_MS = 1000,   /* between two lines about failures: there may be one for each request */
};

/* Files in the order of their use. */
struct file_list {
    struct cached_file *newest, *oldest;
    size_t count;
};

struct file_cache {
    const struct limits *limits;
    const struct log *log;
    struct file_room room;        /* when relieve_fds() is not enough */
    struct cached_file **buckets; /* bucket_count of them */
    size_t bucket_count;          /* a power of two */
    struct file_list files;       /* all, linked by by_use */
    struct file_list with_fd;     /* those that hold an fd, linked by by_fd_use */
    uint64_t memory_bytes;        /* of contents that they hold in memory */
    uint64_t page_bytes;          /* of all pages, also of those that only their readers hold */
    int64_t logged_ms;            /* last line about a failure */
};

/* Roots are further apart in memory than there are encodings. */
static uint64_t hash_key(const struct file_key *key)
{
    return file_hash((uint64_t)(uintptr_t)key->root + key->encoding, key->path, key->len);
}

/* The two orders of use. */

static struct file_links *links_of(struct cached_file *file, const struct file_cache *cache,
                                   const struct file_list *list)
{
    return list == &cache->files ? &file->by_use : &file->by_fd_use;
}

static void list_add(struct file_cache *cache, struct file_list *list, struct cached_file *file)
{
    *links_of(file, cache, list) = (struct file_links){.older = list->newest};
    if (list->newest != NULL) {
        links_of(list->newest, cache, list)->newer = file;
    } else {
        list->oldest = file;
    }
    list->newest = file;
    list->count++;
}

static void list_remove(struct file_cache *cache, struct file_list *list, struct cached_file *file)
{
    struct file_links links = *links_of(file, cache, list);
    if (links.newer != NULL) {
        links_of(links.newer, cache, list)->older = links.older;
    } else {
        list->newest = links.older;
    }
    if (links.older != NULL) {
        links_of(links.older, cache, list)->newer = links.newer;
    } else {
        list->oldest = links.newer;
    }
    list->count--;
}

static void touch(struct file_cache *cache, struct cached_file *file)
{
    if (cache->files.newest != file) {
        list_remove(cache, &cache->files, file);
        list_add(cache, &cache->files, file);
    }
    if (file->fd >= 0 && cache->with_fd.newest != file) {
        list_remove(cache, &cache->with_fd, file);
        list_add(cache, &cache->with_fd, file);
    }
}

/* The table. */

static struct cached_file **bucket_of(const struct file_cache *cache, uint64_t hash)
{
    return &cache->buckets[hash & (cache->bucket_count - 1)];
}

static struct cached_file *find_cached(const struct file_cache *cache, const struct file_key *key)
{
    struct cached_file *file = *bucket_of(cache, key->hash);
    while (file != NULL && (file->hash != key->hash || file->root != key->root || file->encoding != key->encoding ||
                            file->path_len != key->len || memcmp(file->path, key->path, key->len) != 0)) {
        file = file->next;
    }
    return file;
}

static void drop(struct file_cache *cache, struct cached_file *file)
{
    struct cached_file **at = bucket_of(cache, file->hash);
    while (*at != file) {
        at = &(*at)->next;
    }
    *at = file->next;
    list_remove(cache, &cache->files, file);
    if (file->fd >= 0) {
        list_remove(cache, &cache->with_fd, file);
    }
    cache->memory_bytes -= file->full.content_len;
    cached_file_put(file);
}

/* As many buckets as files, when there is memory for them. */
static void grow_table(struct file_cache *cache)
{
    size_t count = cache->bucket_count * 2;
    struct cached_file **buckets = mem_zalloc(count * sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    mem_free(cache->buckets);
    cache->buckets = buckets;
    cache->bucket_count = count;
    for (struct cached_file *file = cache->files.oldest; file != NULL; file = file->by_use.newer) {
        struct cached_file **bucket = bucket_of(cache, file->hash);
        file->next = *bucket;
        *bucket = file;
    }
}

/* Whether one file more would be too much. */
static bool is_full(const struct file_cache *cache, const struct cached_file *file)
{
    return cache->files.count >= cache->limits->max_cached_files ||
           cache->memory_bytes + file->full.content_len > cache->limits->max_cached_memory_bytes;
}

/* Hold a file, within the bounds of the cache. */
static void insert(struct file_cache *cache, struct cached_file *file)
{
    while (cache->files.count > 0 && is_full(cache, file)) {
        drop(cache, cache->files.oldest);
    }
    cache->memory_bytes += file->full.content_len;
    if (file->fd >= 0 && cache->with_fd.count >= FILE_FDS_MAX) {
        drop(cache, cache->with_fd.oldest);
    }
    if (cache->files.count >= cache->bucket_count) {
        grow_table(cache);
    }
    struct cached_file **bucket = bucket_of(cache, file->hash);
    file->next = *bucket;
    *bucket = file;
    list_add(cache, &cache->files, file);
    if (file->fd >= 0) {
        list_add(cache, &cache->with_fd, file);
    }
    cached_file_ref(file);
}

/* Drop the oldest files if nobody asked for them for long. The last look stands for the last use: it is never later,
 * and less than FILE_FRESH_MS earlier. */
static void drop_idle(struct file_cache *cache, int64_t now_ms)
{
    for (int left = IDLE_BUDGET; left > 0; left--) {
        struct cached_file *oldest = cache->files.oldest;
        if (oldest == NULL || now_ms - oldest->checked_ms < FILE_IDLE_MS) {
            return;
        }
        drop(cache, oldest);
    }
}

/* Close some fds of files that nobody uses, least recently used first. Returns whether there were any. */
static bool relieve_fds(struct file_cache *cache)
{
    int closed = 0;
    struct cached_file *newer;
    for (struct cached_file *file = cache->with_fd.oldest; file != NULL && closed < FD_RELIEF; file = newer) {
        newer = file->by_fd_use.newer;
        if (file->refs == 1) {
            drop(cache, file);
            closed++;
        }
    }
    return closed > 0;
}

/* Looking at the disk. */

static int open_file(struct file_cache *cache, const struct file_key *key, int64_t now_ms)
{
    int fd;
    int tries = FILE_ROOM_TRIES;
    do {
        fd = file_open(key, now_ms);
        if (file_room_is_wanted(fd) && --tries > 0 && (relieve_fds(cache) || file_room_make(&cache->room, fd))) {
            fd = -EINTR; /* once more */
        }
    } while (fd == -EINTR);
    /* A socket cannot be opened, nor a device without a driver. */
    return fd == -ENXIO || fd == -ENODEV ? -ENOENT : fd;
}

/* Whether a failure is the machine's and not that of who asks for the path. */
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

/* What is held has an fd, and was not written since it was found. *st is what the kernel says of it now. */
static bool is_as_found(const struct cached_file *held, struct stat *st)
{
    return sys_stat(held->fd, st) == 0 && (uint64_t)st->st_size == held->size &&
           cached_file_time_ns(st->st_mtim) == held->mtime_ns;
}

/* Whether a file that was looked at lately can be served as it was found. Contents in memory can. */
static bool is_current(const struct cached_file *held)
{
    struct stat st;
    return held->fd < 0 || (is_as_found(held, &st) && cached_file_time_ns(st.st_ctim) == held->ctime_ns);
}

/* There are no fds for a look: whether what is held can be served. If it was replaced nobody knows, but its head must not
 * go out with bytes that were written since. */
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
    if (held != NULL && ((rv == 0 && loaded == NULL) || (file_room_is_wanted(rv) && can_stand_in(held)))) {
        held->checked_ms = now_ms;
        touch(cache, held);
        *file = held; /* with the reference taken above */
        return 0;
    }
    if (held != NULL) {
        if (rv != -ENOMEM) {
            drop(cache, held);
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
    made->bucket_count = FIRST_BUCKETS;
    made->buckets = mem_zalloc(made->bucket_count * sizeof *made->buckets);
    if (made->buckets == NULL) {
        mem_free(made);
        return -ENOMEM;
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

void file_cache_abandon(struct file_cache *cache)
{
    for (struct cached_file *file = cache->with_fd.newest; file != NULL; file = file->by_fd_use.older) {
        sys_close(file->fd);
        file->fd = -1;
    }
}

void file_cache_destroy(struct file_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    while (cache->files.oldest != NULL) {
        drop(cache, cache->files.oldest);
    }
    mem_free(cache->buckets);
    mem_free(cache);
}

/* The version that was seen since fresh_ms will do. */
static int get_key(struct file_cache *cache, struct file_key *key, int64_t fresh_ms, int64_t now_ms,
                   struct cached_file **file)
{
    key->hash = hash_key(key);
    struct cached_file *held = find_cached(cache, key);
    if (held != NULL && held->checked_ms >= fresh_ms && is_current(held)) {
        touch(cache, held);
        cached_file_ref(held);
        *file = held;
        return 0;
    }
    int rv = look_at_disk(cache, key, held, now_ms, file);
    if (rv < 0) {
        log_failure(cache, key, rv, now_ms);
    }
    drop_idle(cache, now_ms);
    return rv;
}

int file_cache_get(struct file_cache *cache, struct file_root *root, const char *path, size_t len, int64_t now_ms,
                   struct cached_file **file)
{
    if (len >= BENEATH_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    struct file_key key = {.root = root, .path = path, .len = len, .least_mtime_ns = INT64_MIN, .room = &cache->room};
    return get_key(cache, &key, now_ms - FILE_FRESH_MS + 1, now_ms, file);
}

int file_cache_get_sibling(struct file_cache *cache, struct file_root *root, const struct cached_file *original,
                           enum encoding encoding, int64_t now_ms, struct cached_file **sibling)
{
    struct file_key key = {
        .root = root,
        .path = original->path,
        .len = original->path_len,
        .encoding = encoding,
        .least_mtime_ns = original->mtime_ns,
        .room = &cache->room,
    };
    /* Looked at when the original was looked at, or later: otherwise it could be the sibling of an earlier version. */
    return get_key(cache, &key, original->checked_ms, now_ms, sibling);
}

/* Pages. */

enum { KEY_PAGE = ENCODING_COUNT }; /* stands where files have their encoding */

static struct file_key page_key(struct file_root *root, const char *path, size_t len)
{
    struct file_key key = {.root = root, .path = path, .len = len, .encoding = (enum encoding)KEY_PAGE};
    key.hash = hash_key(&key);
    return key;
}

struct cached_file *file_cache_get_page(struct file_cache *cache, struct file_root *root, const char *path, size_t len,
                                        const struct stat *st, int64_t now_ms)
{
    struct file_key key = page_key(root, path, len);
    struct cached_file *held = find_cached(cache, &key);
    if (held == NULL) {
        return NULL;
    }
    if (now_ms >= held->until_ms || held->device != st->st_dev || held->inode != st->st_ino ||
        held->mtime_ns != cached_file_time_ns(st->st_mtim) || held->ctime_ns != cached_file_time_ns(st->st_ctim)) {
        drop(cache, held);
        return NULL;
    }
    held->checked_ms = now_ms;
    touch(cache, held);
    cached_file_ref(held);
    return held;
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
    struct cached_file *held = find_cached(cache, &key);
    if (held != NULL) {
        drop(cache, held);
    }
    if (page->len <= cache->limits->max_cached_memory_bytes) {
        insert(cache, made);
    }
    *file = made;
    return 0;
}

bool file_cache_has_page_room(const struct file_cache *cache)
{
    return cache->page_bytes < FILE_PAGES_MAX + cache->memory_bytes; /* those that it holds are in both */
}

size_t file_cache_count(const struct file_cache *cache)
{
    return cache->files.count;
}

size_t file_cache_fd_count(const struct file_cache *cache)
{
    return cache->with_fd.count;
}

uint64_t file_cache_memory(const struct file_cache *cache)
{
    return cache->memory_bytes;
}
