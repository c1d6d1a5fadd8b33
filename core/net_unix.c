/* A path may lead to another file at every look, since whoever owns the folder can replace the file: a successor that
 * takes the path over, or somebody who wants the mode of another file changed. So the file that bind(2) made is found
 * through the socket where the kernel allows that (SIOCUNIXFILE, for CAP_NET_ADMIN), else by its path, without
 * following a link; from then on it is known by device and inode number, and its mode is set through an fd. Between the
 * last look and unlink(2) a race remains: Linux cannot unlink a file that it is shown. */

#include "core/net_unix.h"

#include "core/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

bool net_unix_is_socket(const char *path)
{
    struct stat st;
    return sys_stat_at(AT_FDCWD, path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int open_folder(const char *path)
{
    char folder[sizeof(((struct sockaddr_un *)0)->sun_path) + 1] = ".";
    const char *slash = strrchr(path, '/');
    if (slash != NULL) {
        size_t len = (size_t)(slash - path) + 1;
        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    return sys_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
}

int net_unix_lock(const struct net_address *address)
{
    int folder = open_folder(net_unix_path(address));
    int rv = folder < 0 ? folder : sys_lock(folder);
    for (int i = 1; i < NET_UNIX_LOCK_TRIES && rv == -EWOULDBLOCK; i++) {
        sys_sleep_ms(NET_UNIX_LOCK_MS);
        rv = sys_lock(folder);
    }
    if (rv < 0 && folder >= 0) {
        sys_close(folder);
    }
    return rv < 0 ? rv : folder;
}

void net_unix_remove_stale(const struct net_address *address)
{
    const char *path = net_unix_path(address);
    struct stat before, now;
    if (sys_stat_at(AT_FDCWD, path, &before) < 0 || !S_ISSOCK(before.st_mode)) {
        return; /* connect(2) refuses what is no socket in the same way as a socket that nobody listens on */
    }
    int fd = sys_socket(AF_UNIX);
    if (fd < 0) {
        return;
    }
    if (sys_connect(fd, (const struct sockaddr *)&address->socket, address->len) == -ECONNREFUSED &&
        sys_stat_at(AT_FDCWD, path, &now) == 0 && now.st_dev == before.st_dev && now.st_ino == before.st_ino) {
        sys_unlink(AT_FDCWD, path);
    }
    sys_close(fd);
}

/* An fd (O_PATH) of the file that bind(2) made for the socket, or -errno. */
static int find_file(int fd, const char *path, struct stat *st)
{
    int file = sys_socket_file(fd);
    bool is_sure = file >= 0;
    file = is_sure ? file : sys_open(AT_FDCWD, path, O_PATH | O_NOFOLLOW);
    int rv = file < 0 ? file : sys_stat(file, st);
    if (rv == 0 && !is_sure && !(S_ISSOCK(st->st_mode) && st->st_uid == sys_user_id())) {
        rv = -ESTALE;
    }
    if (rv < 0 && file >= 0) {
        sys_close(file);
    }
    return rv < 0 ? rv : file;
}

int net_unix_note(struct net_unix_file *file, int fd, const struct net_address *address)
{
    struct stat st;
    const char *path = net_unix_path(address);
    int found = find_file(fd, path, &st);
    if (found < 0) {
        return found == -ENOENT || found == -ELOOP ? -ESTALE : found;
    }
    int rv = address->mode < 0 ? 0 : sys_set_mode(found, (mode_t)address->mode);
    sys_close(found);
    struct net_unix_file noted = {.device = st.st_dev, .inode = st.st_ino};
    if (path[0] != '/') {
        int base_fd = sys_open(AT_FDCWD, ".", O_PATH | O_DIRECTORY); /* the host may go elsewhere meanwhile */
        noted.base_fd = base_fd > 0 ? base_fd : 0;
    }
    memcpy(noted.path, path, sizeof noted.path);
    if (rv < 0) {
        net_unix_remove(&noted);
        return rv;
    }
    *file = noted;
    return 0;
}

void net_unix_remove(struct net_unix_file *file)
{
    struct stat st;
    int base = sys_base(file->base_fd);
    if (file->path[0] != '\0' && sys_stat_at(base, file->path, &st) == 0 && st.st_dev == file->device &&
        st.st_ino == file->inode) {
        sys_unlink(base, file->path);
    }
    net_unix_abandon(file);
}

void net_unix_abandon(struct net_unix_file *file)
{
    if (file->base_fd > 0) {
        sys_close(file->base_fd);
        file->base_fd = 0;
    }
    file->path[0] = '\0';
}
