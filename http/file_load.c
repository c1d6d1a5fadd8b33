/* From an open file to one that can be served.
 *
 * Happy path: file_load() stats the file, looks for compressed siblings beside it, reads the contents if they are few,
 * and prepares tag and heads.
 *
 * Failure modes: if a small file changes while it is being read, file_load() starts again, a few times. A sibling that
 * cannot be opened is ignored. */

#include "http/file_load.h"

#include "core/beneath.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/units.h"
#include "http/cached_file.h"
#include "http/file_room.h"
#include "http/file_root.h"
#include "http/http_date.h"
#include "http/mime.h"
#include "http/words.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    LOAD_TRIES = 4,      /* looks at a file that changes under our hands */
    UNSETTLED_S = 2,     /* the longest tick of a file system's clock */
    NO_TIME_S = 1,       /* modification times up to here are what tools set when they want none */
    OWN_LINES_MAX = 128, /* bytes of Accept-Ranges, Last-Modified and Content-Encoding */
};

/* A hash of contents, part of entity tags: it must not change from one release to the next. Each step is a bijection of
 * the state, so contents of the same length that differ in one word never have the same hash. */
static uint64_t hash_contents(uint64_t hash, const char *bytes, size_t len)
{
    uint64_t word;
    for (; len >= sizeof word; bytes += sizeof word, len -= sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = word_mix(hash, word);
    }
    word = 0;
    for (size_t i = 0; i < len; i++) {
        word = word << 8 | (unsigned char)bytes[i];
    }
    return word_mix(hash, word);
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

/* Siblings. */

/* Whether a file is not older than one that was modified at least_ns. If its time was cut to whole seconds, nobody
 * knows: then it counts as recent if it was created after least_ns. */
static bool is_recent_enough(const struct stat *st, int64_t least_ns)
{
    int64_t mtime_ns = cached_file_time_ns(st->st_mtim);
    if (mtime_ns >= least_ns) {
        return true;
    }
    bool is_cut = st->st_mtim.tv_nsec == 0 && st->st_mtim.tv_sec == least_ns / NS_PER_S;
    return is_cut && cached_file_time_ns(st->st_ctim) >= least_ns;
}

/* Whether there is a sibling in that coding that is not older than the file itself. */
static bool has_sibling(const struct file_key *key, enum encoding encoding, const struct stat *st, unsigned held,
                        int64_t now_ms)
{
    struct file_key sibling = *key;
    struct stat sibling_st;
    int fd;
    int tries = FILE_ROOM_TRIES;
    sibling.encoding = encoding;
    do {
        fd = file_open(&sibling, now_ms);
    } while (fd == -EINTR || (fd < 0 && --tries > 0 && file_room_make(key->room, fd)));
    if (fd < 0) { /* without fds nobody can tell: assume no change */
        return sys_is_out_of_fds(fd) && (held & 1U << encoding) != 0;
    }
    int rv = sys_stat(fd, &sibling_st);
    sys_close(fd);
    return rv == 0 && S_ISREG(sibling_st.st_mode) && is_recent_enough(&sibling_st, cached_file_time_ns(st->st_mtim));
}

/* The codings for which a file has siblings. A file that is compressed, by its name, has none. */
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

/* Whether a file that changed at time_s may, at now_s, change again without its time showing it. */
static bool is_unsettled(int64_t time_s, int64_t now_s)
{
    int64_t age_s = now_s - time_s;
    return age_s <= UNSETTLED_S && age_s >= -UNSETTLED_S; /* further in the future it is another clock's time */
}

bool file_is_unsettled(const struct stat *st, int64_t now_s)
{
    return is_unsettled(st->st_ctim.tv_sec, now_s);
}

static bool has_mtime(const struct stat *st)
{
    return st->st_mtim.tv_sec > NO_TIME_S;
}

/* Whether an open file was not written between two looks. It may have been renamed, which moves the change time. */
static bool is_unwritten(const struct stat *before, const struct stat *after)
{
    return before->st_size == after->st_size &&
           cached_file_time_ns(before->st_mtim) == cached_file_time_ns(after->st_mtim);
}

static bool is_same_version(const struct cached_file *file, const struct stat *st, unsigned siblings)
{
    return file->siblings == siblings && file->device == st->st_dev && file->inode == st->st_ino &&
           file->size == (uint64_t)st->st_size && file->mtime_ns == cached_file_time_ns(st->st_mtim) &&
           file->ctime_ns == cached_file_time_ns(st->st_ctim);
}

/* Last-Modified may not be later than the response's Date (RFC 9110 section 8.8.2.1). */
static int64_t last_modified(const struct stat *st, int64_t now_s)
{
    int64_t mtime_s = st->st_mtim.tv_sec;
    if (!has_mtime(st)) {
        return -1;
    }
    return mtime_s < now_s ? mtime_s : now_s;
}

static void write_etag(struct cached_file *file, bool is_weak, uint64_t hash)
{
    int len = snprintf(file->etag, sizeof file->etag, "%s\"%" PRIx64 "-%016" PRIx64 "\"", is_weak ? "W/" : "",
                       file->size, hash);
    assert(len > 0 && (size_t)len < sizeof file->etag);
    file->etag_len = (uint32_t)len;
}

/* The same bytes mean something else in another coding. */
void file_make_content_etag(struct cached_file *file, const char *contents)
{
    write_etag(file, false, hash_contents(file->encoding, contents, (size_t)file->size));
}

/* Make the entity tag: a strong one from the contents if we have them, else one from whatever tells versions apart.
 * While that may fail, the tag is weak and differs from the later one, so that clients ask again. */
static void make_etag(struct cached_file *file, const char *contents, const struct stat *st)
{
    uint64_t hash = file->encoding;
    if (contents != NULL) {
        file_make_content_etag(file, contents);
        return;
    }
    if (has_mtime(st)) {
        hash = word_mix(hash, (uint64_t)file->mtime_ns);
    } else {
        hash = word_mix(word_mix(hash, (uint64_t)file->ctime_ns), file->inode);
    }
    write_etag(file, file->is_unsettled, file->is_unsettled ? word_mix(hash, 1) : hash);
}

/* The heads of 200 and 304. A 304 carries what a cache needs to find and refresh its copy (RFC 9110 section 15.4.5). If
 * the representation was chosen by Accept-Encoding, both say so, whichever was chosen (section 12.5.5). */
int file_make_heads(struct cached_file *file, const char *fields, uint32_t content_room)
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
    int rv = prebuilt_init(&file->full, 200, file->type, lines, file->size, content_room);
    rv = rv < 0 ? rv : prebuilt_init(&file->not_modified, 304, NULL, lines + own_len, 0, 0);
    file->not_modified.type = file->type;
    mem_free(lines);
    return rv;
}

/* What a look at the disk has found. */
struct found {
    struct stat st;
    unsigned siblings;
    const char *contents; /* st.st_size bytes, or NULL when they are to be sent from the fd */
    bool is_generated;    /* st_size was corrected: the file system does not know it */
};

/* Make the file of what was found. Takes over fd when it is not -1, but not on failure. */
static int make_file(const struct file_key *key, const struct found *found, int64_t now_ms, int fd,
                     struct cached_file **file)
{
    const struct stat *st = &found->st;
    struct cached_file *made = mem_alloc(sizeof *made + key->len + 1);
    if (made == NULL) {
        return -ENOMEM;
    }
    int64_t now_s = sys_wall_time_s();
    struct timespec changed = found->contents != NULL || !has_mtime(st) ? st->st_ctim : st->st_mtim;
    *made = (struct cached_file){
        .fd = -1,
        .size = (uint64_t)st->st_size,
        .last_modified_s = found->is_generated ? -1 : last_modified(st, now_s),
        .type = mime_type_of(key->path, key->len, key->root->types, key->root->type_count),
        .encoding = key->encoding,
        .siblings = found->siblings,
        .refs = 1,
        .is_unsettled = found->is_generated || is_unsettled(changed.tv_sec, now_s),
        .root = key->root,
        .hash = key->hash,
        .checked_ms = now_ms,
        .device = st->st_dev,
        .inode = st->st_ino,
        .mtime_ns = cached_file_time_ns(st->st_mtim),
        .ctime_ns = cached_file_time_ns(st->st_ctim),
        .path_len = (uint32_t)key->len,
    };
    memcpy(made->path, key->path, key->len + 1);
    make_etag(made, found->contents, st);
    ssize_t tail_len = fd < 0 ? 0 : cached_file_read_tail(fd, made->size, made->tail);
    made->tail_len = tail_len < 0 ? 0 : (uint32_t)tail_len;
    int rv = tail_len < 0 ? (int)tail_len : 0;
    rv = rv < 0 ? rv : file_make_heads(made, key->root->fields, found->contents == NULL ? 0 : (uint32_t)st->st_size);
    if (rv < 0) {
        cached_file_put(made);
        return rv;
    }
    if (found->contents != NULL) {
        memcpy(made->full.bytes + made->full.head_len, found->contents, (size_t)made->size);
        made->full.content_len = (uint32_t)made->size;
    }
    made->fd = fd;
    *file = made;
    return 0;
}

/* Load a file whose size is unknown: read it to its end. */
static int load_generated(const struct file_key *key, struct found *found, int64_t now_ms, int fd,
                          struct cached_file **file)
{
    char *contents = mem_alloc(FILE_GENERATED_MAX + 1);
    if (contents == NULL) {
        return -ENOMEM;
    }
    ssize_t len = cached_file_read(fd, contents, FILE_GENERATED_MAX + 1, 0);
    int rv = len < 0 ? (int)len : len > FILE_GENERATED_MAX ? -EFBIG : 0;
    if (rv == 0) {
        found->is_generated = true;
        found->contents = contents;
        found->st.st_size = len;
        rv = make_file(key, found, now_ms, -1, file);
    }
    mem_free(contents);
    return rv;
}

/* Load a file of the size that stat(2) reports. Returns -EAGAIN if it changed meanwhile. */
static int load_contents(const struct file_key *key, struct found *found, int64_t now_ms, int fd,
                         struct cached_file **file)
{
    size_t size = (size_t)found->st.st_size;
    struct stat after;
    size_t room = size > 0 ? size : 1; /* a byte in an empty file says that its size is none */
    char *contents = mem_alloc(room);
    if (contents == NULL) {
        return -ENOMEM;
    }
    ssize_t len = cached_file_read(fd, contents, room, 0);
    int rv = len < 0 ? (int)len : sys_stat(fd, &after);
    if (rv == 0 && !is_unwritten(&found->st, &after)) {
        rv = -EAGAIN;
    } else if (rv == 0 && (size_t)len != size) {
        rv = load_generated(key, found, now_ms, fd, file);
    } else if (rv == 0) {
        found->contents = contents;
        rv = make_file(key, found, now_ms, -1, file);
    }
    mem_free(contents);
    return rv;
}

/* Whether a large file ends before its size. A file that takes no room on the disk may: it is sparse or generated. */
static bool ends_early(const struct stat *st, int fd)
{
    char last;
    return st->st_blocks == 0 && st->st_size > 0 && cached_file_read(fd, &last, 1, (size_t)st->st_size - 1) == 0;
}

/* Returns 0 for a regular file that may be served for key, else the error. */
static int check_kind(const struct file_key *key, const struct stat *st)
{
    if (S_ISDIR(st->st_mode)) {
        return -EISDIR;
    }
    return S_ISREG(st->st_mode) && is_recent_enough(st, key->least_mtime_ns) ? 0 : -ENOENT;
}

int file_load(const struct file_key *key, int fd, const struct cached_file *held, uint64_t contents_max, int64_t now_ms,
              struct cached_file **file)
{
    *file = NULL;
    struct found found;
    int rv;
    int tries = 0;
    do {
        found = (struct found){0};
        rv = sys_stat(fd, &found.st);
        rv = rv < 0 ? rv : check_kind(key, &found.st);
        found.siblings = rv < 0 ? 0 : find_siblings(key, &found.st, held, now_ms);
        if (rv < 0 || (held != NULL && !held->is_unsettled && is_same_version(held, &found.st, found.siblings))) {
            break;
        }
        if ((uint64_t)found.st.st_size <= contents_max) {
            rv = load_contents(key, &found, now_ms, fd, file);
        } else if (ends_early(&found.st, fd)) {
            rv = load_generated(key, &found, now_ms, fd, file);
        } else {
            rv = make_file(key, &found, now_ms, fd, file);
        }
    } while (rv == -EAGAIN && ++tries < LOAD_TRIES);
    if (*file == NULL || (*file)->fd < 0) {
        sys_close(fd);
    }
    return rv;
}
