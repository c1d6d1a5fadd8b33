/* From a path that may not be read to the place that denies it, and one line about that place.
 *
 * Happy path: the path is known already, or another one was looked for within the last second: nothing happens. Else
 * the directories on the way to it are looked at one by one.
 *
 * Failure modes: what changes during the look may be told as another place. If the table is full, nothing more is
 * told. */

#include "http/denied_places.h"

#include "core/beneath.h"
#include "core/log.h"
#include "core/sys.h"
#include "core/visible.h"
#include "http/file_key.h"
#include "http/file_root.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    DENIED_SHOWN_MAX = 512, /* bytes of a name in a line, escaped, with its NUL */
    DENIED_WHY_MAX = 128,   /* bytes of a reason */
};

/* The place that denies a path. */
struct denial {
    size_t len;  /* bytes of the path that name it; 0 is the root */
    bool is_dir; /* everything below it is denied */
    char why[DENIED_WHY_MAX];
};

static bool is_known(const struct denied_places *places, uint64_t hash)
{
    for (unsigned i = 0; i < places->count; i++) {
        if (places->known[i] == hash) {
            return true;
        }
    }
    return false;
}

/* The first directory on the way that cannot be passed through: the length of its name, or len if there is none. st
 * gets what is known of it, or of the path itself. */
static size_t find_closed(int dir_fd, const char *path, size_t len, struct stat *st)
{
    char name[BENEATH_PATH_MAX];
    size_t before = 0; /* the directory that the next name lies in */
    memcpy(name, path, len);
    name[len] = '\0';
    if (sys_stat(dir_fd, st) < 0) {
        *st = (struct stat){0};
    }
    for (size_t end = 1; end <= len; end++) {
        if (end < len && path[end] != '/') {
            continue;
        }
        name[end] = '\0';
        struct stat next;
        int rv = sys_stat_at(dir_fd, name, &next);
        if (rv == -EACCES) {
            return before;
        }
        if (rv < 0) {
            break;
        }
        *st = next;
        before = end;
        name[end] = end < len ? '/' : '\0';
    }
    return len;
}

static void find_denial(struct file_root *root, const char *path, size_t len, int error, int64_t now_ms,
                        struct denial *denial)
{
    struct stat st;
    *denial = (struct denial){.len = len};
    if (error == -EXDEV) {
        snprintf(denial->why, sizeof denial->why, "a symbolic link leads out of the directory that is served");
        return;
    }
    int dir_fd = file_root_dir(root, now_ms);
    denial->len = find_closed(dir_fd, path, len, &st);
    denial->is_dir = denial->len < len;
    if (!denial->is_dir && sys_may_read(dir_fd, len == 0 ? "." : path) == 0) {
        denial->len = 0;
        denial->is_dir = true;
        snprintf(denial->why, sizeof denial->why,
                 "permission denied by the sandbox (see --allow-read), or by another security module");
        return;
    }
    const char *what = error == -EACCES ? "permission denied" : errno_text(-error);
    if (S_ISLNK(st.st_mode)) { /* its own mode says nothing */
        snprintf(denial->why, sizeof denial->why, "%s where the symbolic link leads", what);
    } else {
        snprintf(denial->why, sizeof denial->why, "%s (mode %04o, owner %lu:%lu)", what, (unsigned)st.st_mode & 07777U,
                 (unsigned long)st.st_uid, (unsigned long)st.st_gid);
    }
}

static void tell(const struct log *log, const struct file_root *root, const char *path, size_t len,
                 const struct denial *denial, bool is_last)
{
    char directory[DENIED_SHOWN_MAX] = "";
    char file[DENIED_SHOWN_MAX];
    size_t taken;
    if (root->directory != NULL) {
        visible_copy(directory, sizeof directory, root->directory, strlen(root->directory), VISIBLE_QUOTED, &taken);
    }
    visible_copy(file, sizeof file, path, denial->len, VISIBLE_QUOTED, &taken);
    const char *slash = directory[0] == '\0' || denial->len == 0 ? "" : "/";
    char first[DENIED_SHOWN_MAX + 16] = "";
    if (denial->is_dir) {
        char asked[DENIED_SHOWN_MAX];
        visible_copy(asked, sizeof asked, path, len, VISIBLE_QUOTED, &taken);
        snprintf(first, sizeof first, " (\"%s\" first)", asked);
    }
    log_write(log, LOG_WARN, "cannot serve %s\"%s%s%s\"%s: %s; clients get 403, and this is not logged again%s",
              denial->is_dir ? "files below " : "", directory, slash, file, first, denial->why,
              is_last ? ", nor are other places" : "");
}

void denied_places_note(struct denied_places *places, const struct log *log, struct file_root *root, const char *path,
                        size_t len, int error, int64_t now_ms)
{
    bool is_denied = error == -EACCES || error == -EPERM || error == -EXDEV;
    if (!is_denied || len >= BENEATH_PATH_MAX || places->count == DENIED_PLACES_MAX || !log_is_on(log, LOG_WARN) ||
        is_known(places, file_key_of(root, path, len, ENCODING_IDENTITY).hash) || now_ms < places->look_ms) {
        return;
    }
    places->look_ms = now_ms + DENIED_LOOK_PAUSE_MS;
    struct denial denial;
    find_denial(root, path, len, error, now_ms, &denial);
    uint64_t hash = file_key_of(root, path, denial.len, ENCODING_IDENTITY).hash;
    if (!is_known(places, hash)) {
        places->known[places->count++] = hash;
        tell(log, root, path, len, &denial, places->count == DENIED_PLACES_MAX);
    }
}
