/* Failure modes: the file cannot be made, which ends the start; later it cannot be written or removed, which nobody can
 * do anything about then. */

#include "core/program/pid_file.h"

#include "core/ascii.h"
#include "core/log.h"
#include "core/program/sys_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { PID_TEXT_MAX = 32 }; /* bytes of the file that are read */

/* The number in an open file, or 0. */
static pid_t read_number(int fd)
{
    char text[PID_TEXT_MAX];
    uint64_t number = 0;
    ssize_t len = pread(fd, text, sizeof text, 0);
    const char *end = len <= 0 ? NULL : memchr(text, '\n', (size_t)len);
    if (end == NULL || !ascii_parse_number(text, (size_t)(end - text), INT32_MAX, &number)) {
        return 0;
    }
    return (pid_t)number;
}

/* Returns 0 or -errno. A user that does not exist is left to user_become(). */
static int give_to_user(int fd, const char *user)
{
    uid_t uid;
    gid_t gid;
    bool is_needed = user != NULL && geteuid() == 0 && sys_find_user(user, &uid, &gid) == 0;
    return is_needed && fchown(fd, uid, gid) < 0 ? -errno : 0;
}

int pid_file_open(struct pid_file *file, const char *path, const char *user, char *err, size_t errlen)
{
    *file = (struct pid_file){.path = path, .fd = -1};
    if (path == NULL) {
        return 0;
    }
    file->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    int error = file->fd < 0 || flock(file->fd, LOCK_SH | LOCK_NB) < 0 ? -errno : give_to_user(file->fd, user);
    if (error < 0) {
        pid_file_close(file);
        return error_text(err, errlen, error, "cannot write the file of --pid-file, %s: %s", path, errno_text(-error));
    }
    return 0;
}

void pid_file_write(struct pid_file *file)
{
    pid_file_tell_reload(file, false);
}

/* Shells and other programs that read the number ignore an empty line behind it. */
void pid_file_tell_reload(struct pid_file *file, bool has_failed)
{
    char text[PID_TEXT_MAX];
    int len = snprintf(text, sizeof text, "%d\n%s", (int)getpid(), has_failed ? "\n" : "");
    if (file->fd >= 0 && ftruncate(file->fd, 0) == 0) {
        (void)!pwrite(file->fd, text, (size_t)len, 0);
    }
}

void pid_file_close(struct pid_file *file)
{
    if (file->fd < 0) {
        return;
    }
    if (read_number(file->fd) == getpid()) {
        (void)!ftruncate(file->fd, 0);
        unlink(file->path); /* a sandbox, or the folder of another user, leaves it, empty */
    }
    close(file->fd);
    file->fd = -1;
}

pid_t pid_file_read(const char *path, struct timespec *written, char *err, size_t errlen)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int error = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return error_text(err, errlen, error, "cannot read the PID file %s: %s", path, errno_text(-error));
    }
    pid_t pid = read_number(fd);
    *written = st.st_mtim;
    bool is_kept = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return is_kept ? pid
                   : error_text(err, errlen, -ESRCH,
                                "%s is not the PID file of a running evserve, which would keep a lock on it", path);
}

bool pid_file_has_failed(const char *path)
{
    char text[PID_TEXT_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : pread(fd, text, sizeof text, 0);
    if (fd >= 0) {
        close(fd);
    }
    return len >= 2 && text[len - 1] == '\n' && text[len - 2] == '\n';
}
