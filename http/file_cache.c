/* Open files by name.
 *
 * Happy path: file_cache_get() finds the file in its bucket, sees that the last look at the disk is not FILE_FRESH_MS
 * ago, moves it to the front of the order of use and hands out a reference: no system call, no allocation. Otherwise it
 * looks at the disk: open, stat, and when this is the version it holds, close. Another version is loaded beside the one
 * in use, which goes with its last reference.
 *
 * Failure modes: a file that cannot be opened any more is forgotten. Out of fds, files that only the cache holds open
 * are given up for the new one. A small file that shrinks while it is being read is looked at anew, a few times. A table
 * that cannot grow stays as it is and gets longer chains. */

#include "http/file_cache.h"

#include "core/beneath.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/file_root.h"
#include "http/limits.h"
#include "http/mime.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    FIRST_BUCKETS = 64,  /* a power of two */
    LOAD_TRIES = 4,      /* looks at a file that shrinks under our hands */
    FD_RELIEF = 8,       /* fds given up at once when there are none left */
    IDLE_BUDGET = 2,     /* idle files dropped in one look at the disk (R6) */
    UNSETTLED_S = 2,     /* the longest tick of a file system's clock */
    LOGGED_PATH_MAX = 256,
    LOG_PAUSE_MS = 1000, /* between two lines about failures: there may be one for each request */
    NS_PER_S = 1000000000,
};

/* Files in the order of their use. */
struct file_list {
    struct cached_file *newest, *oldest;
    size_t count;
};

struct file_cache {
    const struct limits *limits;
    const struct log *log;
    struct cached_file **buckets; /* bucket_count of them */
    size_t bucket_count;          /* a power of two */
    struct file_list files;       /* all, linked by by_use */
    struct file_list with_fd;     /* those that hold an fd, linked by by_fd_use */
    int64_t logged_ms;            /* last line about a failure */
};

/* What a file is asked for by. */
struct file_key {
    struct file_root *root;
    const char *path;
    size_t len;
    uint64_t hash;
};

/* Hashes. One for keys and for contents: each step is a bijection of the state, so that texts that differ in one word
 * never meet. */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static uint64_t mix_bytes(uint64_t hash, const char *bytes, size_t len)
{
    uint64_t word;
    for (; len >= sizeof word; bytes += sizeof word, len -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = mix(hash, word);
    }
    word = 0;
    for (size_t i = 0; i < len; i++) {
        word = word << 8 | (unsigned char)bytes[i];
    }
    return mix(mix(hash, word), len);
}

static uint64_t hash_key(const struct file_root *root, const char *path, size_t len)
{
    return mix_bytes((uint64_t)(uintptr_t)root, path, len);
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

/* References. */

void file_cache_ref(struct cached_file *file)
{
    file->refs++;
}

void file_cache_put(struct cached_file *file)
{
    if (file == NULL) {
        return;
    }
    assert(file->refs > 0);
    if (--file->refs > 0) {
        return;
    }
    if (file->fd >= 0) {
        sys_close(file->fd);
    }
    response_prebuilt_done(&file->full);
    response_prebuilt_done(&file->not_modified);
    mem_free(file);
}

/* The table. */

static struct cached_file **bucket_of(const struct file_cache *cache, uint64_t hash)
{
    return &cache->buckets[hash & (cache->bucket_count - 1)];
}

static struct cached_file *find(const struct file_cache *cache, const struct file_key *key)
{
    struct cached_file *file = *bucket_of(cache, key->hash);
    while (file != NULL && (file->hash != key->hash || file->root != key->root || file->path_len != key->len ||
                            memcmp(file->path, key->path, key->len) != 0)) {
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
    file_cache_put(file);
}

/* As many buckets as files, when there is memory for them. */
static void grow(struct file_cache *cache)
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

/* Hold a file, within the bounds of the cache. */
static void insert(struct file_cache *cache, struct cached_file *file)
{
    while (cache->files.count > 0 && cache->files.count >= cache->limits->max_cached_files) {
        drop(cache, cache->files.oldest);
    }
    if (file->fd >= 0 && cache->with_fd.count >= FILE_FDS_MAX) {
        drop(cache, cache->with_fd.oldest);
    }
    if (cache->files.count >= cache->bucket_count) {
        grow(cache);
    }
    struct cached_file **bucket = bucket_of(cache, file->hash);
    file->next = *bucket;
    *bucket = file;
    list_add(cache, &cache->files, file);
    if (file->fd >= 0) {
        list_add(cache, &cache->with_fd, file);
    }
    file_cache_ref(file);
}

/* Drop the oldest files if nobody asked for them for long. The last look stands for the last use: it is never later, and
 * less than FILE_FRESH_MS earlier. */
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

/* Loading. */

static int64_t timespec_to_ns(struct timespec time)
{
    int64_t ns;
    /* A time beyond the year 2262 is told from others by what the arithmetic leaves of it. */
    bool is_beyond = __builtin_mul_overflow((int64_t)time.tv_sec, (int64_t)NS_PER_S, &ns);
    return is_beyond ? (int64_t)time.tv_sec : ns + time.tv_nsec;
}

/* What its change time says about a file that was read at now_s: it may change again without the time showing it. */
static bool is_unsettled(const struct stat *st, int64_t now_s)
{
    int64_t age_s = now_s - (int64_t)st->st_ctim.tv_sec;
    return age_s <= UNSETTLED_S && age_s >= -UNSETTLED_S; /* further in the future it is another clock's time */
}

static bool is_same_version(const struct cached_file *file, const struct stat *st)
{
    return file->device == st->st_dev && file->inode == st->st_ino && file->size == (uint64_t)st->st_size &&
           file->mtime_ns == timespec_to_ns(st->st_mtim) && file->ctime_ns == timespec_to_ns(st->st_ctim);
}

/* Last-Modified may not be later than the answer's Date (RFC 9110 section 8.8.2.1). A time before the epoch, or the epoch
 * itself, says that nobody knows. */
static int64_t last_modified(const struct stat *st, int64_t now_s)
{
    int64_t mtime_s = st->st_mtim.tv_sec;
    if (mtime_s <= 0) {
        return -1;
    }
    return mtime_s < now_s ? mtime_s : now_s;
}

/* A strong entity tag: from the contents where we have them, else from what makes a version. */
static void make_etag(struct cached_file *file, const char *contents)
{
    uint64_t hash = contents != NULL
                        ? mix_bytes(0, contents, file->size)
                        : mix(mix(mix(0, (uint64_t)file->mtime_ns), (uint64_t)file->ctime_ns), file->inode);
    int len = snprintf(file->etag, sizeof file->etag, "\"%" PRIx64 "-%016" PRIx64 "\"", file->size, hash);
    assert(len > 0 && (size_t)len < sizeof file->etag);
    file->etag_len = (uint32_t)len;
}

/* The heads of 200 and 304. A 304 carries what a cache needs to find and refresh its copy (RFC 9110 section 15.4.5). */
static int make_heads(struct cached_file *file, const char *fields, uint32_t content_room)
{
    static const char modified_name[] = "Last-Modified: ";
    size_t room = sizeof modified_name + HTTP_DATE_LEN + sizeof "\r\nETag: \r\n" + FILE_ETAG_MAX + strlen(fields);
    char *lines = mem_alloc(room);
    if (lines == NULL) {
        return -ENOMEM;
    }
    char date[HTTP_DATE_LEN];
    size_t date_line_len = 0;
    if (file->last_modified_s >= 0) {
        response_format_date(file->last_modified_s, date);
        date_line_len = (size_t)snprintf(lines, room, "%s%.*s\r\n", modified_name, HTTP_DATE_LEN, date);
    }
    snprintf(lines + date_line_len, room - date_line_len, "ETag: %s\r\n%s", file->etag, fields);
    int rv = response_prebuild(&file->full, 200, file->type, lines, file->size, content_room);
    rv = rv < 0 ? rv : response_prebuild(&file->not_modified, 304, NULL, lines + date_line_len, 0, 0);
    mem_free(lines);
    return rv;
}

/* Read size bytes. Returns 0, -EAGAIN when the file ends before, or -errno. */
static int read_all(int fd, char *contents, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = sys_pread(fd, contents + done, size - done, (off_t)done);
        if (got < 0 && got != -EINTR) {
            return (int)got;
        }
        if (got == 0) {
            return -EAGAIN;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

/* Make the file of what stat says and, if contents is not NULL, the contents. Takes over fd when it is not -1, but not on
 * failure. */
static int make_file(const struct file_key *key, const struct stat *st, int64_t now_ms, int fd, const char *contents,
                     struct cached_file **file)
{
    struct cached_file *made = mem_alloc(sizeof *made + key->len + 1);
    if (made == NULL) {
        return -ENOMEM;
    }
    int64_t now_s = sys_wall_time_s();
    *made = (struct cached_file){
        .fd = -1,
        .size = (uint64_t)st->st_size,
        .last_modified_s = last_modified(st, now_s),
        .type = mime_type(key->path, key->len),
        .refs = 1,
        .is_unsettled = contents != NULL && is_unsettled(st, now_s),
        .root = key->root,
        .hash = key->hash,
        .checked_ms = now_ms,
        .device = st->st_dev,
        .inode = st->st_ino,
        .mtime_ns = timespec_to_ns(st->st_mtim),
        .ctime_ns = timespec_to_ns(st->st_ctim),
        .path_len = (uint32_t)key->len,
    };
    memcpy(made->path, key->path, key->len + 1);
    make_etag(made, contents);
    int rv = make_heads(made, key->root->fields, contents == NULL ? 0 : (uint32_t)st->st_size);
    if (rv < 0) {
        file_cache_put(made);
        return rv;
    }
    if (contents != NULL) {
        memcpy(made->full.bytes + made->full.head_len, contents, made->size);
        made->full.content_len = (uint32_t)made->size;
    }
    made->fd = fd;
    *file = made;
    return 0;
}

static int load_contents(const struct file_key *key, const struct stat *st, int64_t now_ms, int fd,
                         struct cached_file **file)
{
    size_t size = (size_t)st->st_size;
    char *contents = mem_alloc(size + 1); /* an empty file has contents too */
    if (contents == NULL) {
        return -ENOMEM;
    }
    int rv = read_all(fd, contents, size);
    rv = rv < 0 ? rv : make_file(key, st, now_ms, -1, contents, file);
    mem_free(contents);
    return rv;
}

/* 0 for a regular file, else what the asker is told. */
static int check_kind(const struct stat *st)
{
    if (S_ISREG(st->st_mode)) {
        return 0;
    }
    return S_ISDIR(st->st_mode) ? -EISDIR : -ENOENT;
}

/* Look at an open file, and load it unless it is the version that held (or NULL) is. Returns 0 with *file, which is NULL
 * if it is, or -errno. Takes over fd in every case. */
static int load(const struct file_cache *cache, const struct file_key *key, int fd, const struct cached_file *held,
                int64_t now_ms, struct cached_file **file)
{
    *file = NULL;
    struct stat st;
    int rv;
    int tries = 0;
    do {
        rv = sys_stat(fd, &st);
        rv = rv < 0 ? rv : check_kind(&st);
        if (rv < 0 || (held != NULL && !held->is_unsettled && is_same_version(held, &st))) {
            break;
        }
        if ((uint64_t)st.st_size > cache->limits->max_cached_file_bytes) {
            rv = make_file(key, &st, now_ms, fd, NULL, file);
        } else {
            rv = load_contents(key, &st, now_ms, fd, file);
        }
    } while (rv == -EAGAIN && ++tries < LOAD_TRIES);
    if (*file == NULL || (*file)->fd < 0) {
        sys_close(fd);
    }
    return rv;
}

/* Looking at the disk. */

static bool is_out_of_fds(int error)
{
    return error == -EMFILE || error == -ENFILE;
}

static int open_file(struct file_cache *cache, const struct file_key *key, int64_t now_ms)
{
    int fd;
    bool may_relieve = true;
    do {
        int dir_fd = file_root_dir(key->root, now_ms);
        fd = open_beneath(dir_fd, key->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (is_out_of_fds(fd) && may_relieve && relieve_fds(cache)) {
            may_relieve = false;
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

/* The path is a client's: what would not show in a log line, or would break it, is shown as an escape. */
static void log_failure(struct file_cache *cache, const struct file_key *key, int error, int64_t now_ms)
{
    if (!is_notable(error) || !log_is_on(cache->log, LOG_ERROR) || now_ms < cache->logged_ms + LOG_PAUSE_MS) {
        return;
    }
    cache->logged_ms = now_ms;
    char shown[4 * LOGGED_PATH_MAX + 1];
    size_t used = 0;
    for (size_t i = 0; i < key->len && i < LOGGED_PATH_MAX; i++) {
        unsigned char c = (unsigned char)key->path[i];
        bool is_plain = c >= ' ' && c < 0x7f && c != '"' && c != '\\';
        used += (size_t)snprintf(shown + used, sizeof shown - used, is_plain ? "%c" : "\\x%02x", c);
    }
    log_write(cache->log, LOG_ERROR, "cannot serve file \"%.*s%s\": %s", (int)used, shown,
              key->len > LOGGED_PATH_MAX ? "..." : "", strerror(-error));
}

/* Open the file and bring the cache up to date with it. held is the version in the cache, or NULL. */
static int look(struct file_cache *cache, const struct file_key *key, struct cached_file *held, int64_t now_ms,
                struct cached_file **file)
{
    if (held != NULL) {
        file_cache_ref(held); /* relieving fds must not take it from us */
    }
    struct cached_file *loaded = NULL;
    int fd = open_file(cache, key, now_ms);
    int rv = fd < 0 ? fd : load(cache, key, fd, held, now_ms, &loaded);
    if (held != NULL && ((rv == 0 && loaded == NULL) || is_out_of_fds(rv))) {
        held->checked_ms = now_ms;
        touch(cache, held);
        *file = held; /* with the reference taken above */
        return 0;
    }
    if (held != NULL) {
        if (rv != -ENOMEM) {
            drop(cache, held);
        }
        file_cache_put(held);
    }
    if (rv == 0) {
        insert(cache, loaded);
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

int file_cache_get(struct file_cache *cache, struct file_root *root, const char *path, size_t len, int64_t now_ms,
                   struct cached_file **file)
{
    if (len >= BENEATH_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    struct file_key key = {.root = root, .path = path, .len = len, .hash = hash_key(root, path, len)};
    struct cached_file *held = find(cache, &key);
    if (held != NULL && now_ms - held->checked_ms < FILE_FRESH_MS) {
        touch(cache, held);
        file_cache_ref(held);
        *file = held;
        return 0;
    }
    int rv = look(cache, &key, held, now_ms, file);
    if (rv < 0) {
        log_failure(cache, &key, rv, now_ms);
    }
    drop_idle(cache, now_ms);
    return rv;
}

size_t file_cache_count(const struct file_cache *cache)
{
    return cache->files.count;
}

size_t file_cache_fd_count(const struct file_cache *cache)
{
    return cache->with_fd.count;
}
