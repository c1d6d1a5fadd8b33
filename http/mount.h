#ifndef EVSERVE_HTTP_MOUNT_H
#define EVSERVE_HTTP_MOUNT_H

/* A directory, or files in memory, below a prefix of paths. For the code that serves static files; http/static_mounts.h
 * makes mounts. */

#include "http/file_root.h"
#include "http/static_options.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;

enum { STATIC_PREFIX_MAX = 255, STATIC_WHERE_MAX = 544 };

struct mount {
    struct file_root root;            /* the directory; its pointers lead into settings */
    struct file_root fallback;        /* the same for the fallback, which has other fields; not open if there is none */
    struct static_settings *settings; /* owned */
    char prefix[STATIC_PREFIX_MAX + 1]; /* without a slash at its end: "" or "/assets" */
    size_t prefix_len;                  /* bytes of prefix */
    bool is_pinned;                     /* later mounts of the prefix are ignored */
    char where[STATIC_WHERE_MAX];       /* where it was set: struct static_options */
};

/* Add the mount's own fields to a response whose head was not written beforehand. A field that finds no room is left
 * out. mount may be NULL. */
void mount_add_fields(struct exchange *exchange, const struct mount *mount);

#endif
