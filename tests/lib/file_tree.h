#ifndef EVSERVE_TESTS_FILE_TREE_H
#define EVSERVE_TESTS_FILE_TREE_H

/* For tests: a directory of one's own below /tmp, and the usual things to put there. It is made and changed behind the
 * back of core/sys.h. What cannot be made ends the test program. */

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_tree {
    char path[64]; /* of the directory */
    int fd;        /* of the directory */
};

static inline void tree_must(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        abort();
    }
}

static inline void tree_make(struct file_tree *tree)
{
    snprintf(tree->path, sizeof tree->path, "/tmp/evserve-tree-XXXXXX");
    tree_must(mkdtemp(tree->path) == NULL ? -1 : 0, tree->path);
    tree->fd = open(tree->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    tree_must(tree->fd, tree->path);
}

static inline int tree_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void tree_remove(struct file_tree *tree)
{
    close(tree->fd);
    tree_must(nftw(tree->path, tree_remove_entry, 16, FTW_DEPTH | FTW_PHYS), tree->path);
}

static inline void tree_add_dir(const struct file_tree *tree, const char *name)
{
    tree_must(mkdirat(tree->fd, name, 0755), name);
}

static inline void tree_add_link(const struct file_tree *tree, const char *name, const char *target)
{
    tree_must(symlinkat(target, tree->fd, name), name);
}

/* Make a file, or write to the one that is there, in place. */
static inline void tree_write(const struct file_tree *tree, const char *name, const void *content, size_t len)
{
    int fd = openat(tree->fd, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    tree_must(fd, name);
    tree_must(write(fd, content, len) == (ssize_t)len ? 0 : -1, name);
    close(fd);
}

static inline void tree_add_file(const struct file_tree *tree, const char *name, const char *text)
{
    tree_write(tree, name, text, strlen(text));
}

/* A file of len equal bytes. */
static inline void tree_add_filled(const struct file_tree *tree, const char *name, char fill, size_t len)
{
    char *content = malloc(len + 1);
    tree_must(content == NULL ? -1 : 0, name);
    memset(content, fill, len);
    tree_write(tree, name, content, len);
    free(content);
}

/* Put another file in the place of the one that is there, as a careful deployment does. */
static inline void tree_replace_file(const struct file_tree *tree, const char *name, const char *text)
{
    tree_add_file(tree, ".new", text);
    tree_must(renameat(tree->fd, ".new", tree->fd, name), name);
}

static inline void tree_unlink(const struct file_tree *tree, const char *name)
{
    tree_must(unlinkat(tree->fd, name, 0), name);
}

static inline void tree_set_mtime(const struct file_tree *tree, const char *name, time_t mtime_s, long ns)
{
    struct timespec times[2] = {{.tv_sec = mtime_s, .tv_nsec = ns}, {.tv_sec = mtime_s, .tv_nsec = ns}};
    tree_must(utimensat(tree->fd, name, times, 0), name);
}

#endif
