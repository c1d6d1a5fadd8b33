#ifndef EVSERVE_CORE_PACKED_H
#define EVSERVE_CORE_PACKED_H

/* Files in memory in place of those on disk, found by the paths that they would have in the directory where relative
 * paths start. Immutable once made, so any thread may look. */

#include <stddef.h>
#include <stdint.h>

enum { PACKED_FILES_MAX = 65534, PACKED_PATH_MAX = 1023 };

/* One file. The strings and the content are its owner's, and must outlive the set. */
struct packed_file {
    const char *path;    /* "public/app.css" */
    const char *content; /* len bytes */
    size_t len;
    const char *type, *etag; /* as its owner says, or NULL */
    int64_t modified_s;      /* likewise, or 0 */
};

struct packed; /* NULL is a set without files */

/* Make a set of count files. The array is copied. Returns 0, or -errno with a text in err that names the file: -EBADMSG
 * for a path that is not relative, has empty or dot segments, is too long or occurs twice; -EFBIG for too many files;
 * -ENOMEM. */
int packed_create(struct packed **packed, const struct packed_file *files, size_t count, char *err, size_t errlen);
void packed_destroy(struct packed *packed);

/* The file at path, or NULL: "./a//b/../c" is "a/c". Absolute paths, and those that lead out, are not in memory. */
const struct packed_file *packed_find(const struct packed *packed, const char *path);

/* The files below a folder, *count of them in the order of their paths, of which *skip bytes name the folder; NULL if
 * there are none. */
const struct packed_file *packed_below(const struct packed *packed, const char *folder, size_t *count, size_t *skip);

#endif
