#ifndef EVSERVE_HTTP_FILE_CACHE_H
#define EVSERVE_HTTP_FILE_CACHE_H

/* Regular files kept ready to be sent: an open fd or, for small ones, the contents, the validators and the heads of the
 * usual answers made beforehand. A file replaced on disk is seen within FILE_FRESH_MS. Bounded by max_cached_files,
 * max_cached_file, max_cached_memory and FILE_FDS_MAX; the least recently used go first. Files that do not exist are
 * not remembered. One thread only.
 *
 * What a version of a file is. Two looks at a file see the same version when device, inode, size, modification time and
 * change time agree. The change time cannot be set back, so a version is not mistaken for another when a file is
 * written in place and its modification time restored. Contents in memory are one version: they are read between two
 * looks that agree. What is sent from its fd is looked at (fstat(2)) each time it is asked for, and again whenever the
 * sending is resumed, so that a head never announces another version than the one that follows it. Writes through
 * mmap(2) move the times only when the kernel writes the pages back; nobody can see them earlier.
 *
 * Entity tags. That of contents in memory is made from the contents. That of a larger file is made from its size and its
 * modification time, so that it survives chmod, hard links, and copies that keep the time, to another machine too. The
 * times move in ticks, up to 10 ms on Linux's own file systems and up to 2 s on others: a file may change twice in one
 * tick. So contents that had changed just before they were read are read again at the next look, whatever the times say;
 * and the tag of a larger file that was modified so recently is a weak one, which is gone once the file has settled.
 * Tools that make builds reproducible set all modification times to the epoch, or a second after: these tell no
 * versions apart, and inode and change time go into the tag instead.
 *
 * Generated files, as in sysfs(5) and proc(5), have a size that says nothing: they are what read(2) gives, up to
 * FILE_GENERATED_MAX bytes, read again at each look and without a Last-Modified.
 *
 * Siblings. With root->has_siblings, a look at a file is also one at path.br, path.zst and path.gz: regular files below
 * the root whose modification time is not before the file's own. Tools that cut the time to seconds (brotli, pigz) make
 * it a little earlier: such a sibling counts if it was made (its change time) after the file was modified. What was found
 * is remembered with the file until its next look. */

#include "http/encoding.h"
#include "http/prebuilt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct file_room;
struct file_root;
struct limits;
struct log;
struct stat;

enum {
    FILE_FRESH_MS = 1000,         /* how long a file is served without another look at its name */
    FILE_IDLE_MS = 60000,         /* a file that nobody asked for so long goes when the disk is looked at next */
    FILE_FDS_MAX = 256,           /* fds that the cache keeps open, so that enough of them are left for connections */
    FILE_ETAG_MAX = 40,           /* bytes of an entity tag with its NUL */
    FILE_PAGES_MAX = 64 << 20,    /* bytes of pages that only their readers hold, from which on none is made */
    FILE_TAIL_BYTES = 32,         /* last bytes of a version that are compared when the file has grown */
    FILE_GENERATED_MAX = 1 << 20, /* bytes of a file whose size says nothing; a longer one is -EFBIG */
};

/* A place in a list in the order of use. */
struct file_links {
    struct cached_file *newer, *older;
};

/* One version of a file. */
struct cached_file {
    /* For those who serve it; does not change, except has_no_sendfile. */
    int fd;                       /* open for reading, or -1 when all contents are in memory */
    const char *lent;             /* of an asset: its contents, its owner's; else NULL, they stand in full */
    uint64_t size;                /* bytes */
    int64_t last_modified_s;      /* what Last-Modified says, seconds since the epoch; -1 when there is none */
    uint64_t cut_rows;            /* of a page that does not show all of its directory: what it shows; else 0 */
    char etag[FILE_ETAG_MAX];     /* entity tag with its quotes; weak while the file may change unseen */
    uint32_t etag_len;            /* bytes of etag */
    const char *type;             /* Content-Type; static text, or the root's */
    enum encoding encoding;       /* of its bytes: what Content-Encoding says */
    unsigned siblings;            /* set of 1 << ENCODING_x: compressed files that may stand for this one */
    struct prebuilt full;         /* 200: head, and the contents when fd is -1 and nothing is lent */
    struct prebuilt not_modified; /* 304 */
    bool has_no_sendfile;         /* its file system refused sendfile(2): it is read and sent */

    /* The cache's own. */
    unsigned refs;                /* users, and the cache itself while it holds the file */
    bool is_unsettled;            /* may change unseen: it is loaded again at the next look */
    const struct file_root *root; /* key: where it was found; never looked into, it may be gone */
    uint64_t hash;                /* of root and path */
    struct cached_file *next;     /* in its bucket */
    struct file_links by_use;     /* among all files */
    struct file_links by_fd_use;  /* among those with an fd */
    int64_t checked_ms;           /* last look at the disk */
    int64_t until_ms;             /* of a page: from then on it is made anew */
    uint64_t *page_bytes;         /* of a page: where the cache counts it, until its last reference goes; else NULL */
    uint64_t device, inode;       /* with size and the two times: tells one version from another */
    int64_t mtime_ns, ctime_ns;   /* modification and change, since the epoch */
    char tail[FILE_TAIL_BYTES];   /* of a file with an fd: its last bytes, which stay where they are when it grows */
    uint32_t tail_len;            /* bytes of tail */
    uint32_t path_len;            /* bytes of path */
    char path[];                  /* key: below root */
};

struct file_cache;

/* limits and log are borrowed and must outlive the cache; log may be NULL. Limits are read when they are needed, so
 * they may change later. Returns 0 or -ENOMEM. */
int file_cache_create(struct file_cache **cache, const struct limits *limits, const struct log *log);

/* Who gives up fds when the cache has none left to give; nobody at first. room is copied. */
void file_cache_set_room(struct file_cache *cache, const struct file_room *room);
const struct file_room *file_cache_room(const struct file_cache *cache);

/* NULL is allowed; files still in use go with their last reference. */
void file_cache_destroy(struct file_cache *cache);

/* In a process forked from the cache's: close its fds, and leave everything else as it is. */
void file_cache_abandon(struct file_cache *cache);

/* Get the regular file path (below root, normalised, without a leading slash, NUL-terminated). now_ms is monotonic.
 * Returns 0 with a reference in *file, to be given back with file_cache_put(), or -errno: -ENOENT (also for what is no
 * regular file: sockets, fifos, devices), -EISDIR, -EACCES, -EXDEV (a link leads out of root), -ENOTDIR, -ENAMETOOLONG,
 * -EMFILE, -ENOMEM, -EAGAIN (it changes faster than it can be read), -EFBIG, ... Failures of the
 * machine, and not of the path, are logged. While there are no fds for a look at the disk, the version seen last is still
 * served. */
int file_cache_get(struct file_cache *cache, struct file_root *root, const char *path, size_t len, int64_t now_ms,
                   struct cached_file **file);

/* Get a compressed sibling of a file that file_cache_get() gave: path.gz for path. encoding is one of original->siblings.
 * It is another representation of the same resource: it has its own bytes, tag, dates and Content-Encoding, the
 * original's Content-Type, and Vary like the original. Returns 0 with a reference in *sibling, or -errno as above;
 * -ENOENT also when it is older than the original by now. */
int file_cache_get_sibling(struct file_cache *cache, struct file_root *root, const struct cached_file *original,
                           enum encoding encoding, int64_t now_ms, struct cached_file **sibling);

/* Pages made of directories, kept among the files and within the same bounds, so that clients share them. st is the
 * directory as it was before it was read. A page must go before its cache does. */
struct file_page {
    char *bytes; /* len of them, from mem_alloc() */
    size_t len;
    uint64_t cut_rows; /* as in struct cached_file */
    int64_t made_ms;   /* monotonic: when the directory was looked at */
    int64_t until_ms;  /* from then on it is made anew */
};

/* The page of the directory path, with a reference, if the directory's times stand and its own is not over; or NULL. */
struct cached_file *file_cache_get_page(struct file_cache *cache, struct file_root *root, const char *path, size_t len,
                                        const struct stat *st, int64_t now_ms);

/* Make a page a file, whose contents it is, and keep it in place of an earlier one if there is room. Takes over
 * page->bytes in every case. Returns 0 with a reference in *file, or -ENOMEM. */
int file_cache_add_page(struct file_cache *cache, struct file_root *root, const char *path, size_t len,
                        const struct stat *st, const struct file_page *page, struct cached_file **file);

/* Whether one more page may be made: clients that do not read hold pages that others share no longer. */
bool file_cache_has_page_room(const struct file_cache *cache);

/* Whether a file or directory had changed so shortly before now_s that it may change again without its times showing
 * it. */
bool file_is_unsettled(const struct stat *st, int64_t now_s);

/* Whether the rest of a file that is being sent from its fd is still what its head announced. Returns 0; -ESTALE when it
 * has become shorter or was rewritten; -EAGAIN when that cannot be told yet; or -errno. A file that has grown, as logs
 * do, was appended to if the bytes before its former end are still the same. A write(2) that appends sets the time first
 * and the size at its end: until then the file looks as one that was rewritten with the same length and end. */
int file_cache_check(const struct cached_file *file);

/* The contents of a file without an fd. */
static inline const char *file_contents(const struct cached_file *file)
{
    return file->lent != NULL ? file->lent : file->full.bytes + file->full.head_len;
}

void file_cache_ref(struct cached_file *file);
void file_cache_put(struct cached_file *file); /* NULL is allowed */

/* Files held now, and those among them with an open fd, for tests and statistics. */
size_t file_cache_count(const struct file_cache *cache);
size_t file_cache_fd_count(const struct file_cache *cache);
uint64_t file_cache_memory(const struct file_cache *cache); /* bytes of contents held in memory */

#endif
