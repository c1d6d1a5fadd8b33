#ifndef EVSERVE_HTTP_STATIC_MOUNTS_H
#define EVSERVE_HTTP_STATIC_MOUNTS_H

/* Which directory, or which files in memory, are served below which prefix. http/static_files.h serves them. */

#include "http/listing_reply.h"
#include "http/mount.h"
#include "http/static_options.h"

#include <stdbool.h>
#include <stddef.h>

struct asset;
struct exchange;
struct file_cache;
struct log;

enum { STATIC_MOUNTS_MAX = 64 };

struct static_mounts {
    struct file_cache *cache; /* borrowed: where files come from */
    int base_fd;              /* where relative directories start: see sys_base() */
    struct listings listings; /* pages of directories in the making */
    struct mount *top;        /* the mount of the prefix "", which covers every path with a slash first, or NULL */
    size_t count;             /* of mounts */
    struct mount
        *mounts[STATIC_MOUNTS_MAX]; /* in the order in which they were added; the cache knows their roots by address */
};

/* cache is borrowed and must outlive the mounts. Returns 0 or -ENOMEM. */
int static_mounts_create(struct static_mounts **mounts, struct file_cache *cache);
void static_mounts_destroy(struct static_mounts *mounts); /* NULL is allowed; files being sent stay valid */

/* Let relative directories start at the directory base_fd, which is borrowed: see sys_base(). To be called before
 * directories are added. */
void static_mounts_set_base(struct static_mounts *mounts, int base_fd);

/* In a forked child: close the fds of the mounts and leave everything else as it is. */
void static_mounts_abandon(struct static_mounts *mounts);

/* Serve the files of directory below prefix ("/" or "/assets"); the longest prefix wins. A second mount of the same
 * prefix is rejected. options may be NULL. Returns 0, or -errno with a text that names the directory or the prefix:
 * -EINVAL (no usable prefix, or an option that is wrong), -EEXIST, -ENOSPC (more than STATIC_MOUNTS_MAX), -ENOENT,
 * -ENOTDIR, -EACCES, ... */
int static_mounts_add(struct static_mounts *mounts, const char *prefix, const char *directory,
                      const struct static_options *options, char *err, size_t errlen);

/* Mount like static_mounts_add(), and let this mount win over later ones of the same prefix, which are then ignored
 * without an error. For mounts that the command line or the host sets in place of those of the script. */
int static_mounts_pin(struct static_mounts *mounts, const char *prefix, const char *directory,
                      const struct static_options *options, char *err, size_t errlen);

/* Mount count files in memory (http/assets.h) in the same way. On -EBADMSG the text begins with what is wrong: an asset
 * ("assets[2]: ..."), "fallback" or "not_found", which must be among them, or "list": files in memory are not
 * listed. */
int static_mounts_pin_assets(struct static_mounts *mounts, const char *prefix, const struct asset *assets, size_t count,
                             const struct static_options *options, char *err, size_t errlen);

/* The same, but a mount that was pinned wins, as with static_mounts_add(). copies: as in assets_create(), which may
 * return -EFBIG then. */
int static_mounts_add_assets(struct static_mounts *mounts, const char *prefix, const struct asset *assets, size_t count,
                             bool copies, const struct static_options *options, char *err, size_t errlen);

/* Log a warning for each fallback and not_found that is not in its directory now. That is no error: it may appear
 * later. log may be NULL. */
void static_mounts_log_missing(const struct static_mounts *mounts, const struct log *log);

/* Get the n-th mount in the order in which they were added, for route tables. Returns false past the last one.
 * *directory is NULL for files in memory. */
bool static_mounts_get(const struct static_mounts *mounts, size_t n, const char **prefix, const char **directory);

/* The mount that covers path, the one with the longest prefix, or NULL: a look at all of them. */
struct mount *static_mounts_search(const struct static_mounts *mounts, const char *path, size_t len);

/* Whether the mount of the prefix "" covers path, perhaps beside longer ones. */
static inline bool static_mounts_top_covers(const struct static_mounts *mounts, const char *path, size_t len)
{
    return mounts->top != NULL && len > 0 && path[0] == '/';
}

/* The mount that covers path, the one with the longest prefix, or NULL. One that is alone needs no search. */
static inline struct mount *static_mounts_find(const struct static_mounts *mounts, const char *path, size_t len)
{
    bool is_sole = mounts->count == 1 && static_mounts_top_covers(mounts, path, len);
    return is_sole ? mounts->top : static_mounts_search(mounts, path, len);
}

/* Whether a mount covers path. */
static inline bool static_mounts_cover(const struct static_mounts *mounts, const char *path, size_t len)
{
    return static_mounts_top_covers(mounts, path, len) || static_mounts_search(mounts, path, len) != NULL;
}

/* Whether the mount that covers path, if one does, has a prefix of at least min_len bytes ("/" has none). */
bool static_mounts_cover_from(const struct static_mounts *mounts, const char *path, size_t len, size_t min_len);

/* Add the fields of the mount that covers exchange->path to a response that is not made of a file. */
void static_mounts_add_fields_of_path(const struct static_mounts *mounts, struct exchange *exchange);

#endif
