#ifndef EVSERVE_HTTP_FILE_KEY_H
#define EVSERVE_HTTP_FILE_KEY_H

/* What a file is asked for by. */

#include "http/encoding.h"
#include "http/words.h"

#include <stddef.h>
#include <stdint.h>

struct file_room;
struct file_root;

struct file_key {
    struct file_root *root;
    const char *path;             /* of the original, NUL-terminated */
    size_t len;                   /* bytes of path */
    enum encoding encoding;       /* the sibling of path that is meant, or path itself */
    uint64_t hash;                /* of root, path and encoding */
    int64_t least_mtime_ns;       /* of a sibling: when its original was modified; INT64_MIN for any file */
    const struct file_room *room; /* for its siblings; may be NULL */
};

/* A key for any version of a file, without room. */
static inline struct file_key file_key_of(struct file_root *root, const char *path, size_t len, enum encoding encoding)
{
    return (struct file_key){
        .root = root,
        .path = path,
        .len = len,
        .encoding = encoding,
        .hash = words_hash((uint64_t)(uintptr_t)root + encoding, path,
                           len), /* roots are further apart than encodings */
        .least_mtime_ns = INT64_MIN,
    };
}

#endif
