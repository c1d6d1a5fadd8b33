#ifndef EVSERVE_HTTP_STATIC_MOUNTS_H
#define EVSERVE_HTTP_STATIC_MOUNTS_H

/* The inside of struct static_mounts, for static_mounts.c, static_files.c and listing_reply.c. */

#include "http/file_root.h"
#include "http/listing_reply.h"
#include "http/static_files.h"
#include "http/static_options.h"

struct mount {
    struct file_root root;              /* the directory; what it points to is in settings */
    struct file_root fallback;          /* the same for the fallback, which has other fields; not open without one */
    struct static_settings *settings;   /* owned */
    char prefix[STATIC_PREFIX_MAX + 1]; /* without a slash at its end: "" or "/assets" */
    size_t prefix_len;                  /* bytes of prefix */
    bool is_pinned;                     /* later mounts of the prefix are ignored */
    char where[STATIC_WHERE_MAX];       /* who asked for it: struct static_options */
};

struct static_mounts {
    struct file_cache *cache;                /* borrowed: what files are taken from */
    int base_fd;                             /* where relative directories start: see sys_base() */
    struct listings listings;                /* pages of directories in the making */
    bool has_top;                            /* a mount has the prefix "", which covers what begins with a slash */
    size_t count;                            /* of mounts */
    struct mount *mounts[STATIC_MOUNTS_MAX]; /* in the order of adding; the cache knows their roots by address */
};

/* The mount that covers path: the one with the longest prefix, or NULL. */
struct mount *static_mounts_find(const struct static_mounts *mounts, const char *path, size_t len);

/* Add the mount's own fields to an answer whose head is not made beforehand. Nobody misses one that finds no room.
 * mount may be NULL. */
void static_mounts_add_fields(struct exchange *exchange, const struct mount *mount);

#endif
