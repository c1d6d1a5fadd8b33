#ifndef EVSERVE_HTTP_CACHED_FILE_H
#define EVSERVE_HTTP_CACHED_FILE_H

/* One version of a file, ready to be sent: its contents or an open fd, its validators, and heads written beforehand.
 * References are counted. This is all that the code which sends files needs to know; http/file_cache.h finds them. One
 * thread only. */

#include "http/encoding.h"
#include "http/prebuilt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct file_root;

enum {
    FILE_ETAG_MAX = 40,   /* bytes of an entity tag with its NUL */
    FILE_TAIL_BYTES = 32, /* last bytes of a version that are compared when the file has grown */
};

/* A place in a list in the order of use. */
struct file_links {
    struct cached_file *newer, *older;
};

struct cached_file {
    /* For those who send it; does not change, except has_no_sendfile. */
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

/* Take one more reference. */
void cached_file_ref(struct cached_file *file);

/* Give one back; the last one closes the fd and frees the file. NULL is allowed. */
void cached_file_put(struct cached_file *file);

/* The contents of a file without an fd. */
static inline const char *cached_file_contents(const struct cached_file *file)
{
    return file->lent != NULL ? file->lent : file->full.bytes + file->full.head_len;
}

/* Whether the rest of a file that is being sent from its fd is still what its head announced. Returns 0; -ESTALE when
 * the file has become shorter or was rewritten; -EAGAIN when that cannot be told yet; or -errno. A file that has grown,
 * as logs do, was appended to if the bytes before its former end are still the same. A write(2) that appends sets the
 * time first and the size at its end: until then the file looks as if it was rewritten with the same length and end. */
int cached_file_check(const struct cached_file *file);

/* For the code that makes and compares versions. */

/* Read the last bytes of a file of that size. Returns their number, at most FILE_TAIL_BYTES, or -errno. */
ssize_t cached_file_read_tail(int fd, uint64_t size, char tail[FILE_TAIL_BYTES]);

/* Read up to len bytes from offset, fewer at the file's end. Returns their number or -errno. */
ssize_t cached_file_read(int fd, char *contents, size_t len, uint64_t offset);

/* A file's time in nanoseconds since the epoch. */
int64_t cached_file_time_ns(struct timespec time);

#endif
