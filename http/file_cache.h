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
    FILE_FRESH_MS = 1000,      /* how long a file is served without another look at its name */
    FILE_IDLE_MS = 60000,      /* a file that nobody asked for so long goes when the disk is looked at next */
    FILE_FDS_MAX = 256,        /* fds that the cache keeps open, so that enough of them are left for connections */
    FILE_PAGES_MAX = 64 << 20, /* bytes of pages that only their readers hold, from which on none is made */
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
 * Returns 0 with a reference in *file, to be given back with cached_file_put(), or -errno: -ENOENT (also for what is no
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

/* Files held now, and those among them with an open fd, for tests and statistics. */
size_t file_cache_count(const struct file_cache *cache);
size_t file_cache_fd_count(const struct file_cache *cache);
uint64_t file_cache_memory(const struct file_cache *cache); /* bytes of contents held in memory */

#endif
