/* Happy path: a file is stamped with what fstat(2) says of it; asking compares. Links are followed, so a link that is
 * turned to another file is a change.
 *
 * Failure modes: a file that cannot be looked at keeps its stamp. */

#include "core/file_stamps.h"

#include "core/mem.h"
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct file_stamp {
    char *path;     /* owned */
    struct stat st; /* as it was; of it device, inode, size and times count */
};

void file_stamps_init(struct file_stamps *stamps)
{
    *stamps = (struct file_stamps){0};
    pthread_mutex_init(&stamps->lock, NULL);
}

void file_stamps_done(struct file_stamps *stamps)
{
    for (size_t i = 0; i < stamps->count; i++) {
        mem_free(stamps->list[i].path);
    }
    mem_free(stamps->list);
    pthread_mutex_destroy(&stamps->lock);
}

/* Stamp the file anew. Returns whether that changed anything. */
static bool look(struct file_stamp *stamp)
{
    struct stat st;
    int fd = sys_open(AT_FDCWD, stamp->path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    int rv = sys_stat(fd, &st);
    sys_close(fd);
    if (rv < 0) {
        return false;
    }
    const struct stat *was = &stamp->st;
    bool is_same = st.st_dev == was->st_dev && st.st_ino == was->st_ino && st.st_size == was->st_size &&
                   st.st_mtim.tv_sec == was->st_mtim.tv_sec && st.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
    stamp->st = st;
    return !is_same;
}

static int add(struct file_stamps *stamps, const char *path)
{
    if (stamps->count == FILE_STAMPS_MAX) {
        return -ENOSPC;
    }
    if (stamps->count == stamps->capacity) {
        size_t capacity = stamps->capacity == 0 ? 8 : stamps->capacity * 2;
        struct file_stamp *list = mem_resize(stamps->list, capacity * sizeof *list);
        if (list == NULL) {
            return -ENOMEM;
        }
        stamps->list = list;
        stamps->capacity = capacity;
    }
    struct file_stamp *stamp = &stamps->list[stamps->count];
    *stamp = (struct file_stamp){.path = mem_copy_text(path)};
    if (stamp->path == NULL) {
        return -ENOMEM;
    }
    stamps->count++;
    look(stamp);
    return 0;
}

int file_stamps_note(struct file_stamps *stamps, const char *path)
{
    int rv = 0;
    pthread_mutex_lock(&stamps->lock);
    size_t i = 0;
    while (i < stamps->count && strcmp(stamps->list[i].path, path) != 0) {
        i++;
    }
    if (i == stamps->count) {
        rv = add(stamps, path);
    } else {
        look(&stamps->list[i]);
    }
    pthread_mutex_unlock(&stamps->lock);
    return rv;
}

bool file_stamps_changed(struct file_stamps *stamps)
{
    bool has_changed = false;
    pthread_mutex_lock(&stamps->lock);
    for (size_t i = 0; i < stamps->count; i++) {
        has_changed = look(&stamps->list[i]) || has_changed;
    }
    pthread_mutex_unlock(&stamps->lock);
    return has_changed;
}

int file_stamps_each(struct file_stamps *stamps, int (*fn)(void *arg, const char *path), void *arg)
{
    int rv = 0;
    pthread_mutex_lock(&stamps->lock);
    for (size_t i = 0; i < stamps->count && rv == 0; i++) {
        rv = fn(arg, stamps->list[i].path);
    }
    pthread_mutex_unlock(&stamps->lock);
    return rv;
}
