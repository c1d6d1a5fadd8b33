/* Happy path: a file's stamp is the result of fstat(2), and file_stamps_changed() compares. Links are followed, so a
 * link that now leads to another file is a change.
 *
 * Failure mode: a file that cannot be opened keeps its stamp. */

#include "core/file_stamps.h"

#include "core/mem.h"
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct file_stamp {
    char *path;      /* owned */
    bool is_code;    /* the program is made of it; else it is data */
    bool is_ignored; /* data that the program writes itself */
    struct stat st;  /* as it was; of it device, inode, size and times count */
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

void file_stamps_set_base(struct file_stamps *stamps, int base_fd)
{
    stamps->base_fd = base_fd;
}

static int stat_path(const struct file_stamps *stamps, const char *path, struct stat *st)
{
    int fd = sys_open(sys_base(stamps->base_fd), path, O_PATH | O_CLOEXEC);
    int rv = fd < 0 ? fd : sys_stat(fd, st);
    if (fd >= 0) {
        sys_close(fd);
    }
    return rv;
}

/* Stamp the file anew. Returns whether that changed anything. */
static bool look_at_file(const struct file_stamps *stamps, struct file_stamp *stamp)
{
    struct stat st;
    if (stat_path(stamps, stamp->path, &st) < 0) {
        return false;
    }
    const struct stat *was = &stamp->st;
    bool is_same = st.st_dev == was->st_dev && st.st_ino == was->st_ino && st.st_size == was->st_size &&
                   st.st_mtim.tv_sec == was->st_mtim.tv_sec && st.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
    stamp->st = st;
    return !is_same;
}

static int add_stamp(struct file_stamps *stamps, const char *path)
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
    look_at_file(stamps, stamp);
    return 0;
}

/* The stamp of a path, or NULL. */
static struct file_stamp *find_stamp(const struct file_stamps *stamps, const char *path)
{
    for (size_t i = 0; i < stamps->count; i++) {
        if (strcmp(stamps->list[i].path, path) == 0) {
            return &stamps->list[i];
        }
    }
    return NULL;
}

int file_stamps_note(struct file_stamps *stamps, const char *path)
{
    int rv = 0;
    pthread_mutex_lock(&stamps->lock);
    struct file_stamp *stamp = find_stamp(stamps, path);
    if (stamp == NULL) {
        rv = add_stamp(stamps, path);
        stamp = rv < 0 ? NULL : &stamps->list[stamps->count - 1];
    } else {
        look_at_file(stamps, stamp);
    }
    if (stamp != NULL) {
        stamp->is_code = true;
    }
    pthread_mutex_unlock(&stamps->lock);
    return rv;
}

int file_stamps_note_data(struct file_stamps *stamps, const char *path)
{
    struct stat st;
    int rv = 0;
    pthread_mutex_lock(&stamps->lock);
    struct file_stamp *stamp = find_stamp(stamps, path);
    if (stamp != NULL) {
        look_at_file(stamps, stamp);
    } else if (stat_path(stamps, path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        rv = add_stamp(stamps, path);
    }
    pthread_mutex_unlock(&stamps->lock);
    return rv;
}

void file_stamps_ignore(struct file_stamps *stamps, const char *path)
{
    pthread_mutex_lock(&stamps->lock);
    struct file_stamp *stamp = find_stamp(stamps, path);
    if (stamp != NULL) {
        stamp->is_ignored = true;
    }
    pthread_mutex_unlock(&stamps->lock);
}

bool file_stamps_changed(struct file_stamps *stamps)
{
    bool has_changed = false;
    pthread_mutex_lock(&stamps->lock);
    for (size_t i = 0; i < stamps->count; i++) {
        const struct file_stamp *stamp = &stamps->list[i];
        bool counts = stamp->is_code || !stamp->is_ignored;
        has_changed = (look_at_file(stamps, &stamps->list[i]) && counts) || has_changed;
    }
    pthread_mutex_unlock(&stamps->lock);
    return has_changed;
}

int file_stamps_each(struct file_stamps *stamps, int (*fn)(void *arg, const char *path), void *arg)
{
    int rv = 0;
    pthread_mutex_lock(&stamps->lock);
    for (size_t i = 0; i < stamps->count && rv == 0; i++) {
        rv = stamps->list[i].is_code ? fn(arg, stamps->list[i].path) : 0;
    }
    pthread_mutex_unlock(&stamps->lock);
    return rv;
}
