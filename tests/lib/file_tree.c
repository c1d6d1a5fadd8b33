#include "tests/lib/file_tree.h"

#include "tests/lib/remove_tree.h"

void tree_must(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        abort();
    }
}

void tree_make(struct file_tree *tree)
{
    snprintf(tree->path, sizeof tree->path, "/tmp/evserve-tree-XXXXXX");
    tree_must(mkdtemp(tree->path) == NULL ? -1 : 0, tree->path);
    tree->fd = open(tree->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    tree_must(tree->fd, tree->path);
}

void tree_remove(struct file_tree *tree)
{
    close(tree->fd);
    tree_must(remove_tree(tree->path), tree->path);
}

void tree_add_dir(const struct file_tree *tree, const char *name)
{
    tree_must(mkdirat(tree->fd, name, 0755), name);
}

void tree_add_link(const struct file_tree *tree, const char *name, const char *target)
{
    tree_must(symlinkat(target, tree->fd, name), name);
}

void tree_write(const struct file_tree *tree, const char *name, const void *content, size_t len)
{
    int fd = openat(tree->fd, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    tree_must(fd, name);
    tree_must(write(fd, content, len) == (ssize_t)len ? 0 : -1, name);
    close(fd);
}

void tree_add_file(const struct file_tree *tree, const char *name, const char *text)
{
    tree_write(tree, name, text, strlen(text));
}

void tree_add_filled(const struct file_tree *tree, const char *name, char fill, size_t len)
{
    char *content = malloc(len + 1);
    tree_must(content == NULL ? -1 : 0, name);
    memset(content, fill, len);
    tree_write(tree, name, content, len);
    free(content);
}

void tree_replace_file(const struct file_tree *tree, const char *name, const char *text)
{
    tree_add_file(tree, ".new", text);
    tree_must(renameat(tree->fd, ".new", tree->fd, name), name);
}

void tree_unlink(const struct file_tree *tree, const char *name)
{
    tree_must(unlinkat(tree->fd, name, 0), name);
}

void tree_set_mtime(const struct file_tree *tree, const char *name, time_t mtime_s, long ns)
{
    struct timespec times[2] = {{.tv_sec = mtime_s, .tv_nsec = ns}, {.tv_sec = mtime_s, .tv_nsec = ns}};
    tree_must(utimensat(tree->fd, name, times, 0), name);
}
