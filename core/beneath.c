/* Containment of paths. openat2(2) does it in one call; the fallback for kernels before 5.6 walks the path.
 *
 * The walk opens one name after the other with O_NOFOLLOW, from the fd of the directory reached so far: what has been
 * walked are real directories, whose fds cannot be swapped for links behind our back. A link is read and what it says
 * is put in front of what is left to walk, starting again from the top, where ".." can be resolved in the text because
 * everything before it has been found to be a directory and not a link. */

#include "core/beneath.h"

#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { GO_ON = INT32_MIN }; /* take_path_step(): neither an fd nor an error */

struct path_walk {
    int top_fd;                     /* where it starts and what it may not leave */
    int dir_fd;                     /* the directory reached, top_fd itself at the start */
    int links;                      /* links followed so far */
    char reached[BENEATH_PATH_MAX]; /* path of dir_fd below top_fd, "" or "a/b" */
    char left[BENEATH_PATH_MAX];    /* what is still to be walked */
};

static void leave_dir(struct path_walk *walk)
{
    if (walk->dir_fd != walk->top_fd) {
        sys_close(walk->dir_fd);
    }
    walk->dir_fd = walk->top_fd;
}

/* Start again from the top with head before tail, which is empty or begins with a slash. */
static int restart(struct path_walk *walk, const char *head, const char *tail)
{
    char joined[BENEATH_PATH_MAX];
    int len = snprintf(joined, sizeof joined, "%s%s", head, tail);
    if (len < 0 || (size_t)len >= sizeof joined) {
        return -ENAMETOOLONG;
    }
    memcpy(walk->left, joined, (size_t)len + 1);
    walk->reached[0] = '\0';
    leave_dir(walk);
    return 0;
}

/* Go one directory up, in the text. */
static int go_up(struct path_walk *walk, const char *rest)
{
    if (walk->reached[0] == '\0') {
        return -EXDEV;
    }
    char *slash = strrchr(walk->reached, '/');
    *(slash == NULL ? walk->reached : slash) = '\0';
    char parent[BENEATH_PATH_MAX];
    memcpy(parent, walk->reached, sizeof parent);
    return restart(walk, parent, rest);
}

static int follow_link(struct path_walk *walk, const char *name, const char *rest)
{
    char target[BENEATH_PATH_MAX];
    ssize_t len = sys_read_link(walk->dir_fd, name, target, sizeof target);
    if (len < 0) {
        return (int)len;
    }
    if ((size_t)len == sizeof target) {
        return -ENAMETOOLONG;
    }
    target[len] = '\0';
    if (target[0] == '/') {
        return -EXDEV;
    }
    if (++walk->links > BENEATH_LINKS_MAX) {
        return -ELOOP;
    }
    char head[2 * BENEATH_PATH_MAX];
    snprintf(head, sizeof head, "%s/%s", walk->reached, target);
    return restart(walk, head, rest);
}

/* Enter the directory name, or follow it when it is a link. */
static int enter(struct path_walk *walk, const char *name, const char *rest)
{
    int fd = sys_open(walk->dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (fd == -ENOTDIR || fd == -ELOOP) {
        int rv = follow_link(walk, name, rest);
        return rv == -EINVAL ? -ENOTDIR : rv; /* EINVAL: not a link either */
    }
    if (fd < 0) {
        return fd;
    }
    leave_dir(walk);
    walk->dir_fd = fd;
    size_t used = strlen(walk->reached);
    snprintf(walk->reached + used, sizeof walk->reached - used, "%s%s", used == 0 ? "" : "/", name);
    memmove(walk->left, rest, strlen(rest) + 1);
    return 0;
}

/* Take one step. Returns the file's fd when it was the last one, GO_ON, or -errno. */
static int take_path_step(struct path_walk *walk, int flags)
{
    char name[BENEATH_PATH_MAX];
    const char *start = walk->left + strspn(walk->left, "/");
    size_t len = strcspn(start, "/");
    const char *rest = start + len;
    bool is_last = rest[strspn(rest, "/")] == '\0';
    bool wants_dir = *rest == '/';
    memcpy(name, start, len);
    name[len] = '\0';

    int rv;
    if (len == 0 || strcmp(name, ".") == 0) {
        if (is_last) {
            return sys_open(walk->dir_fd, ".", flags);
        }
        memmove(walk->left, rest, strlen(rest) + 1);
        rv = 0;
    } else if (strcmp(name, "..") == 0) {
        rv = go_up(walk, rest);
    } else if (!is_last) {
        rv = enter(walk, name, rest);
    } else {
        int fd = sys_open(walk->dir_fd, name, flags | O_NOFOLLOW | (wants_dir ? O_DIRECTORY : 0));
        bool may_be_link = fd == -ELOOP || fd == -ENOTDIR;
        if (!may_be_link || ((flags & O_NOFOLLOW) && !wants_dir)) {
            return fd;
        }
        rv = follow_link(walk, name, rest);
        rv = rv == -EINVAL ? fd : rv;
    }
    return rv < 0 ? rv : GO_ON;
}

int open_beneath_by_steps(int dir_fd, const char *path, int flags)
{
    if (path[0] == '\0') {
        return -ENOENT;
    }
    if (path[0] == '/') {
        return -EXDEV;
    }
    struct path_walk walk = {.top_fd = dir_fd, .dir_fd = dir_fd};
    size_t len = strlen(path);
    if (len >= sizeof walk.left) {
        return -ENAMETOOLONG;
    }
    memcpy(walk.left, path, len + 1);
    int rv;
    do {
        rv = take_path_step(&walk, flags);
    } while (rv == GO_ON);
    leave_dir(&walk);
    return rv;
}

int open_beneath(int dir_fd, const char *path, int flags)
{
    int fd;
    int tries = 0;
    do { /* EAGAIN: a rename somewhere kept the kernel from being sure (openat2(2)) */
        fd = sys_open_beneath(dir_fd, path, flags);
    } while (fd == -EAGAIN && ++tries < 8);
    /* EPERM: what the system call filters of older container runtimes say to calls they do not know. This is not
     * remembered anywhere: the call that is refused is the cheapest of those that follow. */
    return fd == -ENOSYS || fd == -EPERM ? open_beneath_by_steps(dir_fd, path, flags) : fd;
}
