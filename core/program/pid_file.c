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

enum {
    PID_DIGITS_MAX = 10,                                   /* of a process id */
    PID_LINES_MAX = 2 * PID_FILE_COUNTS * PID_FILE_COUNTS, /* newlines: 1, and one more for each value below */
    PID_TEXT_MAX = PID_DIGITS_MAX + PID_LINES_MAX,         /* bytes of the file */
};

/* Empty lines are digits of one number: whether the last reload has failed, the reloads, the refusals. */
static size_t write_news(const struct pid_file_news *news, char text[PID_TEXT_MAX + 1])
{
    unsigned lines = (news->has_failed ? 2U : 1U) + 2 * (news->reloads + PID_FILE_COUNTS * news->refusals);
    int len = snprintf(text, PID_TEXT_MAX + 1, "%d", (int)news->pid);
    memset(text + len, '\n', lines);
    return (size_t)len + lines;
}

/* What an open file says; all zeros if it has no number. */
static struct pid_file_news read_news(int fd)
{
    char text[PID_TEXT_MAX];
    uint64_t number = 0;
    struct pid_file_news news = {0};
    ssize_t len = pread(fd, text, sizeof text, 0);
    const char *end = len <= 0 ? NULL : memchr(text, '\n', (size_t)len);
    if (end == NULL || !ascii_parse_number(text, (size_t)(end - text), INT32_MAX, &number)) {
        return news;
    }
    unsigned empty = (unsigned)(text + len - end) - 1;
    news.pid = (pid_t)number;
    news.has_failed = empty % 2 == 1;
    news.reloads = empty / 2 % PID_FILE_COUNTS;
    news.refusals = empty / 2 / PID_FILE_COUNTS % PID_FILE_COUNTS;
    return news;
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

/* Over the text before, and cut only then: whoever reads meanwhile finds a number, and with the same number the news
 * before or these, since only empty lines follow. Nor does a full disk take the number away. */
static void put_news(struct pid_file *file)
{
    char text[PID_TEXT_MAX + 1];
    size_t len = write_news(&file->news, text);
    if (pwrite(file->fd, text, len, 0) == (ssize_t)len) {
        (void)!ftruncate(file->fd, (off_t)len);
    }
}

void pid_file_write(struct pid_file *file)
{
    if (file->fd >= 0) {
        file->news = (struct pid_file_news){.pid = getpid()};
        put_news(file);
    }
}

static bool has_our_number(const struct pid_file *file)
{
    return file->fd >= 0 && read_news(file->fd).pid == getpid();
}

void pid_file_tell_reload(struct pid_file *file, bool has_failed)
{
    if (has_our_number(file)) {
        file->news.reloads = (file->news.reloads + 1) % PID_FILE_COUNTS;
        file->news.has_failed = has_failed;
        put_news(file);
    }
}

void pid_file_tell_refusal(struct pid_file *file)
{
    if (has_our_number(file)) {
        file->news.refusals = (file->news.refusals + 1) % PID_FILE_COUNTS;
        put_news(file);
    }
}

void pid_file_close(struct pid_file *file)
{
    if (file->fd < 0) {
        return;
    }
    if (has_our_number(file)) {
        (void)!ftruncate(file->fd, 0);
        unlink(file->path); /* a sandbox, or the folder of another user, leaves it, empty */
    }
    close(file->fd);
    file->fd = -1;
}

int pid_file_read(const char *path, struct pid_file_news *news, char *err, size_t errlen)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int error = -errno;
        return error_text(err, errlen, error, "cannot read the PID file %s: %s", path, errno_text(-error));
    }
    *news = read_news(fd);
    bool is_kept = flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return is_kept ? 0
                   : error_text(err, errlen, -ESRCH,
                                "%s is not the PID file of a running evserve, which would keep a lock on it", path);
}
