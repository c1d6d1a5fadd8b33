/* Directories by name. The fds are O_PATH: they need no right to read the directory, only to pass through it. */

#include "http/file_root.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void close_fd(int fd)
{
    if (fd >= 0) {
        sys_close(fd);
    }
}

static int open_directory(int base_fd, const char *directory)
{
    int fd;
    do {
        fd = sys_open(sys_base(base_fd), directory, O_PATH | O_DIRECTORY);
    } while (fd == -EINTR);
    return fd;
}

/* Check that names in the directory can be looked up, which an O_PATH fd does not tell. Returns 0 or -errno. */
static int check_access(int dir_fd)
{
    int fd = open_directory(dir_fd, ".");
    close_fd(fd);
    return fd < 0 ? fd : 0;
}

static const char *describe_error(int error)
{
    switch (error) {
    case -ENOENT:
        return "no such directory";
    case -ENOTDIR:
        return "not a directory";
    case -EACCES:
        return "permission denied";
    default:
        return errno_text(-error);
    }
}

static int open_all(struct file_root *root, int base_fd, const char *directory)
{
    root->directory = mem_copy_text(directory);
    if (root->directory == NULL) {
        return -ENOMEM;
    }
    if (directory[0] != '/') {
        root->base_fd = open_directory(base_fd, ".");
        if (root->base_fd < 0) {
            return root->base_fd;
        }
    }
    root->dir_fd = open_directory(root->base_fd, directory);
    return root->dir_fd < 0 ? root->dir_fd : check_access(root->dir_fd);
}

int file_root_open(struct file_root *root, const char *directory, const char *fields, char *err, size_t errlen)
{
    return file_root_open_at(root, 0, directory, fields, err, errlen);
}

int file_root_open_at(struct file_root *root, int base_fd, const char *directory, const char *fields, char *err,
                      size_t errlen)
{
    *root = (struct file_root){.fields = fields, .dir_fd = -1, .base_fd = -1, .checked_ms = INT64_MIN};
    int rv = open_all(root, base_fd, directory);
    if (rv < 0) {
        file_root_close(root);
        return error_text(err, errlen, rv, "cannot serve \"%s\": %s", directory, describe_error(rv));
    }
    return 0;
}

void file_root_abandon(struct file_root *root)
{
    close_fd(root->dir_fd);
    close_fd(root->base_fd);
    root->dir_fd = root->base_fd = -1;
}

void file_root_close(struct file_root *root)
{
    file_root_abandon(root);
    mem_free(root->directory);
    *root = (struct file_root){.dir_fd = -1, .base_fd = -1};
}

int file_root_dir(struct file_root *root, int64_t now_ms)
{
    if (root->directory == NULL || now_ms < root->checked_ms + ROOT_FRESH_MS) {
        return root->dir_fd;
    }
    root->checked_ms = now_ms;
    int fd = open_directory(root->base_fd, root->directory);
    if (fd >= 0) {
        sys_close(root->dir_fd);
        root->dir_fd = fd;
    }
    return root->dir_fd;
}
