#ifndef EVSERVE_HTTP_FILE_CACHE_H
#define EVSERVE_HTTP_FILE_CACHE_H

/* Regular files kept ready to be sent: an open fd or, for small files, the contents; the validators; and the heads of
 * the usual responses, written beforehand. If a file is replaced on disk, the cache sees that within FILE_FRESH_MS. The
 * cache is bounded by max_cached_files, max_cached_file, max_cached_memory and FILE_FDS_MAX, and drops the least
 * recently used files first. It does not remember files that do not exist. One thread only.
 *
 * Versions. Two looks at a file see the same version if device, inode, size, modification time and change time agree.
 * The change time cannot be set back, so the cache notices a file that was written in place and had its modification
 * time restored. Contents in memory are one version: they are read between two looks that agree. A file that is sent
 * from its fd is checked with fstat(2) each time it is requested and each time sending resumes, so a head never
 * announces another version than the one that follows it. Writes through mmap(2) change the times only when the kernel
 * writes the pages back; nobody can see them earlier.
 *
 * Entity tags. If the contents are in memory, the tag is made from them. The tag of a larger file is made from its size
 * and its modification time, so it survives chmod, hard links, and copies that keep the time, even to another machine.
 * The times move in ticks, of up to 10 ms on Linux's own file systems and up to 2 s on others, and a file may change
 * twice in one tick. Therefore contents that changed just before they were read are read again at the next look,
 * whatever the times say; and a larger file that was modified so recently gets a weak tag until it has settled. Tools
 * that make builds reproducible set all modification times to the epoch or one second after it. Such times do not tell
 * versions apart, so inode and change time go into the tag instead.
 *
 * Generated files, as in sysfs(5) and proc(5), have a size that says nothing. Their contents are what read(2) returns,
 * up to FILE_GENERATED_MAX bytes; they are read again at each look and have no Last-Modified.
 *
 * Siblings. If root->has_siblings, each look at a file also looks for path.br, path.zst and path.gz: regular files
 * below the root that were not modified before the file itself. Tools that cut the time to seconds (brotli, pigz) make
 * it a little earlier: such a sibling counts if it was created (its change time) after the file was modified. The cache
 * remembers which siblings it found until its next look at the file. */

#include "http/encoding.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cached_file;
struct file_room;
struct file_root;
struct limits;
struct log;
struct stat;

enum {
    FILE_FRESH_MS = 1000,      /* a file is served so long without another look at its name */
    FILE_IDLE_MS = 60000,      /* files that nobody requested for so long are dropped at a look at the disk */
    FILE_FDS_MAX = 256,        /* fds that the cache keeps open at most: the others are for connections */
    FILE_PAGES_MAX = 64 << 20, /* bytes of pages that only their readers hold: with more, no page is made */
};

struct file_cache;

/* limits and log are borrowed and must outlive the cache; log may be NULL. Limits are read when they are needed, so
 * they may change later. Returns 0 or -ENOMEM. */
int file_cache_create(struct file_cache **cache, const struct limits *limits, const struct log *log);

/* Set what closes other fds when the cache has none left to close itself; at first there is nothing. room is copied. */
void file_cache_set_room(struct file_cache *cache, const struct file_room *room);
const struct file_room *file_cache_room(const struct file_cache *cache);

/* NULL is allowed. Files still in use are freed with their last reference. */
void file_cache_destroy(struct file_cache *cache);

/* In a forked child: close the cache's fds and leave everything else as it is. */
void file_cache_abandon(struct file_cache *cache);

/* Get the regular file path (below root, normalised, without a leading slash, NUL-terminated). now_ms is monotonic.
 * Returns 0 with a reference in *file, to be given back with cached_file_put(), or -errno: -ENOENT (also if it is not a
 * regular file: sockets, fifos, devices), -EISDIR, -EACCES, -EXDEV (a link leads out of root), -ENOTDIR, -ENAMETOOLONG,
 * -EMFILE, -ENOMEM, -EAGAIN (it changes faster than it can be read), -EFBIG, ... Failures of the machine are logged,
 * and so are places that may not be read, once for each; other failures of the path are not. While there are no fds for
 * a look at the disk, the cache serves the version it saw last. */
int file_cache_get(struct file_cache *cache, struct file_root *root, const char *path, size_t len, int64_t now_ms,
                   struct cached_file **file);

/* Something else below root, such as a directory that is to be listed, could not be opened: log it as above if it may
 * not be read. */
void file_cache_note_denied(struct file_cache *cache, struct file_root *root, const char *path, size_t len, int error,
                            int64_t now_ms);

/* Get a compressed sibling of a file that file_cache_get() returned: path.gz for path. encoding is one of
 * original->siblings. It is another representation of the same resource: it has its own bytes, tag, dates and
 * Content-Encoding, the original's Content-Type, and Vary like the original. Returns 0 with a reference in *sibling, or
 * -errno as above; -ENOENT also if it is older than the original by now. */
int file_cache_get_sibling(struct file_cache *cache, struct file_root *root, const struct cached_file *original,
                           enum encoding encoding, int64_t now_ms, struct cached_file **sibling);

/* Pages made of directories. They are kept among the files and within the same bounds, so that clients share them. st
 * is the directory as it was before it was read. The last reference to a page must be given back before its cache is
 * destroyed. */
struct file_page {
    char *bytes; /* len of them, from mem_alloc() */
    size_t len;
    uint64_t cut_rows; /* as in struct cached_file */
    int64_t made_ms;   /* monotonic: when the directory was looked at */
    int64_t until_ms;  /* from then on it must be made anew */
};

/* The page of the directory path, with a reference, if the directory has not changed and until_ms has not passed; else
 * NULL. */
struct cached_file *file_cache_get_page(struct file_cache *cache, struct file_root *root, const char *path, size_t len,
                                        const struct stat *st, int64_t now_ms);

/* Make a file whose contents are the page, and keep it in place of an earlier one if there is room. Takes over
 * page->bytes in every case. Returns 0 with a reference in *file, or -ENOMEM. */
int file_cache_add_page(struct file_cache *cache, struct file_root *root, const char *path, size_t len,
                        const struct stat *st, const struct file_page *page, struct cached_file **file);

/* Whether one more page may be made: clients that do not read keep old pages in memory. */
bool file_cache_has_page_room(const struct file_cache *cache);

/* Files held now, and those among them with an open fd, for tests and statistics. */
size_t file_cache_count(const struct file_cache *cache);
size_t file_cache_fd_count(const struct file_cache *cache);
uint64_t file_cache_memory(const struct file_cache *cache); /* bytes of contents held in memory */

/* Files that were asked for, since the cache was made: held and fresh, or looked for on the disk. */
struct file_cache_looks {
    uint64_t hits, misses;
};

struct file_cache_looks file_cache_looks(const struct file_cache *cache);

#endif
