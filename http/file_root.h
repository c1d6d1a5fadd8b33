#ifndef EVSERVE_HTTP_FILE_ROOT_H
#define EVSERVE_HTTP_FILE_ROOT_H

/* A directory that files are served from. It is looked up by its name again and again, so that a site can be deployed
 * by replacing the directory, or the symbolic link that leads to it. */

#include "http/mime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROOT_FRESH_MS = 50 }; /* how long a directory is used before its name is looked up again */

/* A root must not move while a file cache knows it: its address is part of the cache's keys. */
struct file_root {
    const char *fields; /* field lines for each response ("Cache-Control: ...\r\n"), or ""; the owner's */
    const struct mime_override *types; /* type_count of them, before the built-in types; the owner's */
    size_t type_count;
    struct assets *assets; /* files in memory in place of the directory; NULL if it is a directory. The owner's */
    bool has_siblings;     /* files may have compressed siblings (http/file_cache.h) */
    int dir_fd;            /* the directory, as found at the last look */
    int base_fd;           /* where a relative name starts, an fd of our own; else -1 */
    char *directory;       /* its name; NULL for a root that is only an fd and is not looked up again */
    int64_t checked_ms;    /* last look at the name */
};

/* Open a directory. Its files must be reachable. fields is borrowed and must
 * outlive the root. Returns 0, or -errno with a text that names the directory; then there is nothing to close. */
int file_root_open(struct file_root *root, const char *directory, const char *fields, char *err, size_t errlen);

/* The same, except that a relative name starts at the directory base_fd: see sys_base(). */
int file_root_open_at(struct file_root *root, int base_fd, const char *directory, const char *fields, char *err,
                      size_t errlen);
void file_root_close(struct file_root *root);

/* In a forked child: close the root's fds and leave everything else as it is. */
void file_root_abandon(struct file_root *root);

/* The fd to open files beneath, looked up again if the last look is ROOT_FRESH_MS ago. While the name does not lead to
 * a directory, the one found last is used. Valid until the next call. */
int file_root_dir(struct file_root *root, int64_t now_ms);

#endif
