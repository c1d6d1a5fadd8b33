/* From an open file to one that can be served.
 *
 * Happy path: file_load() stats the file, looks for compressed siblings beside it, reads the contents if they are few, and
 * prepares tag and heads.
 *
 * Failure modes: a small file that shrinks while it is being read is looked at anew, a few times. A sibling that cannot
 * be opened is none. */

#include "http/file_load.h"

#include "core/beneath.h"
#include "core/mem.h"
#include "core/sys.h"
#include "http/file_root.h"
#include "http/http_date.h"
#include "http/mime.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    LOAD_TRIES = 4,      /* looks at a file that shrinks under our hands */
    UNSETTLED_S = 2,     /* the longest tick of a file system's clock */
    OWN_LINES_MAX = 128, /* bytes of Accept-Ranges, Last-Modified and Content-Encoding */
    NS_PER_S = 1000000000,
};

/* Hashes. One for keys and for contents: each step is a bijection of the state, so that texts of the same length that
 * differ in one word never meet. */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

uint64_t file_hash(uint64_t hash, const char *bytes, size_t len)
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
    return mix(hash, word);
}

/* Opening. */

int file_open(const struct file_key *key, int64_t now_ms)
{
    int dir_fd = file_root_dir(key->root, now_ms);
    static const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    if (key->encoding == ENCODING_IDENTITY) {
        return open_beneath(dir_fd, key->path, flags);
    }
    char path[BENEATH_PATH_MAX];
    if (key->len + ENCODING_SUFFIX_MAX >= sizeof path) {
        return -ENAMETOOLONG;
    }
    snprintf(path, sizeof path, "%s%s", key->path, encoding_suffix(key->encoding));
    return open_beneath(dir_fd, path, flags);
}

static int64_t timespec_to_ns(struct timespec time)
{
    int64_t ns;
    /* A time beyond the year 2262 is told from others by what the arithmetic leaves of it. */
    bool is_beyond = __builtin_mul_overflow((int64_t)time.tv_sec, (int64_t)NS_PER_S, &ns);
    return is_beyond ? (int64_t)time.tv_sec : ns + time.tv_nsec;
}

/* Siblings. */

/* Whether the file is there in that coding, and not older than the file itself. */
static bool has_sibling(const struct file_key *key, enum encoding encoding, const struct stat *st, unsigned held,
                        int64_t now_ms)
{
    struct file_key sibling = *key;
    struct stat sibling_st;
    int fd;
    sibling.encoding = encoding;
    do {
        fd = file_open(&sibling, now_ms);
    } while (fd == -EINTR);
    if (fd < 0) { /* without fds nobody can tell: it is as it was */
        return (fd == -EMFILE || fd == -ENFILE) && (held & 1U << encoding) != 0;
    }
    int rv = sys_stat(fd, &sibling_st);
    sys_close(fd);
    return rv == 0 && S_ISREG(sibling_st.st_mode) && timespec_to_ns(sibling_st.st_mtim) >= timespec_to_ns(st->st_mtim);
}

/* The codings that a file is there in. What is compressed by its name has no siblings of its own. */
static unsigned find_siblings(const struct file_key *key, const struct stat *st, const struct cached_file *held,
                              int64_t now_ms)
{
    unsigned found = 0;
    bool is_original = key->encoding == ENCODING_IDENTITY && encoding_of_name(key->path, key->len) == ENCODING_IDENTITY;
    if (!key->root->has_siblings || !is_original) {
        return 0;
    }
    for (enum encoding encoding = ENCODING_BR; encoding < ENCODING_COUNT; encoding++) {
        if (has_sibling(key, encoding, st, held == NULL ? 0 : held->siblings, now_ms)) {
            found |= 1U << encoding;
        }
    }
    return found;
}

/* Loading. */

/* What its change time says about a file that was read at now_s: it may change again without the time showing it. */
static bool is_unsettled(const struct stat *st, int64_t now_s)
{
    int64_t age_s = now_s - (int64_t)st->st_ctim.tv_sec;
    return age_s <= UNSETTLED_S && age_s >= -UNSETTLED_S; /* further in the future it is another clock's time */
}

static bool is_same_version(const struct cached_file *file, const struct stat *st, unsigned siblings)
{
    return file->siblings == siblings && file->device == st->st_dev && file->inode == st->st_ino &&
           file->size == (uint64_t)st->st_size && file->mtime_ns == timespec_to_ns(st->st_mtim) &&
           file->ctime_ns == timespec_to_ns(st->st_ctim);
}

/* Last-Modified may not be later than the answer's Date (RFC 9110 section 8.8.2.1). A time before the epoch, or the
 * epoch itself, says that nobody knows. */
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
    uint64_t seed = file->encoding; /* the same bytes mean something else in another coding */
    uint64_t hash = contents != NULL
                        ? file_hash(seed, contents, file->size)
                        : mix(mix(mix(seed, (uint64_t)file->mtime_ns), (uint64_t)file->ctime_ns), file->inode);
    int len = snprintf(file->etag, sizeof file->etag, "\"%" PRIx64 "-%016" PRIx64 "\"", file->size, hash);
    assert(len > 0 && (size_t)len < sizeof file->etag);
    file->etag_len = (uint32_t)len;
}

/* The heads of 200 and 304. A 304 carries what a cache needs to find and refresh its copy (RFC 9110 section 15.4.5). What
 * is chosen by Accept-Encoding says so in both, whatever was chosen (section 12.5.5). */
static int make_heads(struct cached_file *file, const char *fields, uint32_t content_room)
{
    static const char format[] = "%sETag: %s\r\n%s%s";
    static const char vary[] = "Vary: Accept-Encoding\r\n";
    char own[OWN_LINES_MAX] = "Accept-Ranges: bytes\r\n"; /* of 200 alone */
    size_t own_len = strlen(own);
    if (file->last_modified_s >= 0) {
        char date[HTTP_DATE_LEN];
        http_date_format(file->last_modified_s, date);
        own_len += (size_t)snprintf(own + own_len, sizeof own - own_len, "Last-Modified: %.*s\r\n", HTTP_DATE_LEN,
                                    date);
    }
    if (file->encoding != ENCODING_IDENTITY) {
        own_len += (size_t)snprintf(own + own_len, sizeof own - own_len, "Content-Encoding: %s\r\n",
                                    encoding_name(file->encoding));
    }
    size_t room = own_len + sizeof format + FILE_ETAG_MAX + sizeof vary + strlen(fields);
    char *lines = mem_alloc(room);
    if (lines == NULL) {
        return -ENOMEM;
    }
    bool varies = file->encoding != ENCODING_IDENTITY || file->siblings != 0;
    snprintf(lines, room, format, own, file->etag, varies ? vary : "", fields);
    int rv = response_prebuild(&file->full, 200, file->type, lines, file->size, content_room);
    rv = rv < 0 ? rv : response_prebuild(&file->not_modified, 304, NULL, lines + own_len, 0, 0);
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

/* Make the file of what stat says and, if contents is not NULL, the contents. Takes over fd when it is not -1, but not
 * on failure. */
static int make_file(const struct file_key *key, const struct stat *st, unsigned siblings, int64_t now_ms, int fd,
                     const char *contents, struct cached_file **file)
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
        .type = mime_type_of(key->path, key->len, key->root->types, key->root->type_count),
        .encoding = key->encoding,
        .siblings = siblings,
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

static int load_contents(const struct file_key *key, const struct stat *st, unsigned siblings, int64_t now_ms, int fd,
                         struct cached_file **file)
{
    size_t size = (size_t)st->st_size;
    char *contents = mem_alloc(size + 1); /* an empty file has contents too */
    if (contents == NULL) {
        return -ENOMEM;
    }
    int rv = read_all(fd, contents, size);
    rv = rv < 0 ? rv : make_file(key, st, siblings, now_ms, -1, contents, file);
    mem_free(contents);
    return rv;
}

/* 0 for a regular file that may stand for what key asks for, else what the asker is told. */
static int check_kind(const struct file_key *key, const struct stat *st)
{
    if (S_ISDIR(st->st_mode)) {
        return -EISDIR;
    }
    return S_ISREG(st->st_mode) && timespec_to_ns(st->st_mtim) >= key->least_mtime_ns ? 0 : -ENOENT;
}

int file_load(const struct file_key *key, int fd, const struct cached_file *held, uint64_t contents_max, int64_t now_ms,
              struct cached_file **file)
{
    *file = NULL;
    struct stat st;
    int rv;
    int tries = 0;
    do {
        rv = sys_stat(fd, &st);
        rv = rv < 0 ? rv : check_kind(key, &st);
        unsigned siblings = rv < 0 ? 0 : find_siblings(key, &st, held, now_ms);
        if (rv < 0 || (held != NULL && !held->is_unsettled && is_same_version(held, &st, siblings))) {
            break;
        }
        if ((uint64_t)st.st_size > contents_max) {
            rv = make_file(key, &st, siblings, now_ms, fd, NULL, file);
        } else {
            rv = load_contents(key, &st, siblings, now_ms, fd, file);
        }
    } while (rv == -EAGAIN && ++tries < LOAD_TRIES);
    if (*file == NULL || (*file)->fd < 0) {
        sys_close(fd);
    }
    return rv;
}
