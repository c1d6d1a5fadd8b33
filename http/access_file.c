/* Happy path: one write(2) takes all lines of a buffer; with O_APPEND they stay together, whoever else writes.
 *
 * Failure modes: a pipe or a socket without room, a full disk, a reader that has gone: the lines stay with the caller,
 * who tries again, and drops what he has no room for. A disk that takes a part of a line leaves a torn one, which the
 * next write ends with a newline of its own, so that no line continues another. */

#include "http/access_file.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/sys.h"
#include "core/sys_append.h"
#include "http/access_syslog.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* How it is written to. */
enum access_kind {
    ACCESS_PLAIN,  /* a file: write(2) */
    ACCESS_PIPE,   /* a pipe or a terminal, in a description of our own that does not wait */
    ACCESS_ASKED,  /* one that could not be opened again: poll(2) says whether there is room */
    ACCESS_SOCKET, /* standard output is a socket */
    ACCESS_SYSLOG, /* a datagram for each line */
};

enum {
    STANDARD_OUTPUT = 1,
    FILE_MODE = 0640,
    LOG_FOLDER_MAX = 4096, /* bytes of the name of a directory, with its NUL */
};

struct access_file {
    unsigned references;          /* atomic */
    pthread_mutex_t lock;         /* of what follows */
    int fd;                       /* owned, except for standard output that could not be opened again */
    bool is_own;                  /* fd is to be closed */
    bool is_guarded;              /* a write may raise a signal */
    bool is_torn;                 /* the last line was cut in the middle */
    enum access_kind kind;        /* how to write */
    struct access_syslog *syslog; /* of ACCESS_SYSLOG; owned */
    const struct log *log;        /* borrowed: where losses are said */
    int base_fd;                  /* borrowed */
    uint64_t lost;                /* lines, not yet said */
    bool has_lost;                /* the log has said that lines are lost, and not that they are written again */
    int64_t say_ms;               /* when the log may say something again */
    int error;                    /* of the last write, -errno; 0: there was no room */
    char target[];                /* as it was named */
};

bool access_file_is_path(const char *target)
{
    return strcmp(target, "stdout") != 0 && !access_syslog_is(target);
}

/* Opening. */

/* The directory of a path, or "" if its name is too long. */
static void copy_folder(char folder[LOG_FOLDER_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (len >= LOG_FOLDER_MAX) {
        len = 0;
        path = "";
    }
    memcpy(folder, path, len);
    strcpy(folder + len, slash == NULL ? "." : "");
}

/* The owner of the directory of a path that root has made a file in: who takes over from root can open it again. */
static void give_to_owner(int fd, int dir_fd, const char *path)
{
    char folder[LOG_FOLDER_MAX];
    struct stat st;
    copy_folder(folder, path);
    if (sys_user_id() != 0 || folder[0] == '\0') {
        return;
    }
    int folder_fd = sys_open(dir_fd, folder, O_PATH | O_DIRECTORY);
    if (folder_fd >= 0) {
        if (sys_stat(folder_fd, &st) == 0 && st.st_uid != 0) {
            (void)sys_give_file(fd, st.st_uid, st.st_gid);
        }
        sys_close(folder_fd);
    }
}

/* Open a path, or make a file there. A file is made only where nothing is, so root makes none through somebody's
 * link. */
static int open_path(int base_fd, const char *path)
{
    int dir_fd = sys_base(base_fd);
    int fd = -ENOENT;
    for (int tries = 0; fd == -ENOENT && tries < 3; tries++) { /* another process may make or rename it, too */
        fd = sys_open_append(dir_fd, path, false, 0);
        if (fd == -ENOENT) {
            fd = sys_open_append(dir_fd, path, true, FILE_MODE);
            if (fd >= 0) {
                give_to_owner(fd, dir_fd, path);
            }
            fd = fd == -EEXIST && tries < 2 ? -ENOENT : fd;
        }
    }
    return fd;
}

/* Standard output: pipes and terminals are opened a second time; a file keeps the position that it shares. */
static int open_stdout(struct access_file *file)
{
    struct stat st;
    int rv = sys_stat(STANDARD_OUTPUT, &st);
    file->fd = STANDARD_OUTPUT;
    file->is_own = false;
    if (rv < 0) {
        return rv;
    }
    if (S_ISSOCK(st.st_mode)) {
        file->kind = ACCESS_SOCKET;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        int own = sys_open_append(AT_FDCWD, "/proc/self/fd/1", false, 0);
        file->is_own = own >= 0;
        file->fd = own >= 0 ? own : STANDARD_OUTPUT;
        file->kind = own >= 0 ? ACCESS_PIPE : ACCESS_ASKED;
        file->is_guarded = true;
    }
    return 0;
}

static const char *explain(int error)
{
    return error == -ENXIO    ? "no process reads the pipe, or it is a socket"
           : error == -EISDIR ? "it is a directory"
           : error == -EEXIST ? "it is a symbolic link that leads nowhere"
           : error == -ENOENT ? "its directory does not exist"
                              : errno_text(-error);
}

/* Names that mean something else elsewhere. */
static int check_target_name(const char *target, char *err, size_t errlen)
{
    if (strcmp(target, "syslog") != 0 && strcmp(target, "stderr") != 0) {
        return 0;
    }
    return error_text(err, errlen, -EINVAL,
                      "cannot open the access log %s: \"stdout\" or \"syslog:\" expected; a file of that name is "
                      "written ./%s",
                      target, target);
}

/* Open the target into a struct in which nothing else is open. */
static int open_target(struct access_file *file, char *err, size_t errlen)
{
    struct stat st;
    int rv = 0;
    file->kind = ACCESS_PLAIN;
    file->is_own = true;
    if (access_syslog_is(file->target)) {
        file->kind = ACCESS_SYSLOG;
        return access_syslog_open(&file->syslog, file->target, err, errlen);
    }
    if (check_target_name(file->target, err, errlen) < 0) {
        return -EINVAL;
    }
    if (!access_file_is_path(file->target)) {
        rv = open_stdout(file);
    } else {
        rv = file->fd = open_path(file->base_fd, file->target);
        if (rv >= 0 && sys_stat(file->fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) {
            file->kind = ACCESS_PIPE;
            file->is_guarded = true;
        }
    }
    if (rv < 0) {
        return error_text(err, errlen, rv, "cannot open the access log %s: %s", file->target, explain(rv));
    }
    file->is_guarded = file->is_guarded || !sys_append_is_unlimited();
    return 0;
}

int access_file_open(struct access_file **file, const char *target, int base_fd, const struct log *log, char *err,
                     size_t errlen)
{
    size_t len = strlen(target) + 1;
    struct access_file *made = mem_zalloc(sizeof *made + len);
    if (made == NULL) {
        return error_text(err, errlen, -ENOMEM, "cannot open the access log %s: %s", target, errno_text(ENOMEM));
    }
    memcpy(made->target, target, len);
    made->references = 1;
    made->fd = -1;
    made->base_fd = base_fd;
    made->log = log;
    int rv = open_target(made, err, errlen);
    if (rv < 0) {
        mem_free(made);
        return rv;
    }
    pthread_mutex_init(&made->lock, NULL);
    *file = made;
    return 0;
}

/* What opening a path would come to. */
static int try_path(int dir_fd, const char *path)
{
    char folder[LOG_FOLDER_MAX];
    struct stat st;
    int fd = sys_open(dir_fd, path, O_PATH);
    if (fd >= 0) {
        int rv = sys_stat(fd, &st);
        sys_close(fd);
        return rv < 0 ? rv : S_ISDIR(st.st_mode) ? -EISDIR : sys_may_write(dir_fd, path);
    }
    copy_folder(folder, path);
    return fd != -ENOENT || folder[0] == '\0'    ? fd
           : sys_stat_at(dir_fd, path, &st) == 0 ? -EEXIST
                                                 : sys_may_make_files(dir_fd, folder);
}

int access_file_check(const char *target, int base_fd, char *err, size_t errlen)
{
    if (access_syslog_is(target)) {
        struct access_syslog *syslog = NULL;
        int rv = access_syslog_open(&syslog, target, err, errlen);
        access_syslog_close(syslog);
        return rv;
    }
    if (check_target_name(target, err, errlen) < 0) {
        return -EINVAL;
    }
    int rv = access_file_is_path(target) ? try_path(sys_base(base_fd), target) : 0;
    return rv < 0 ? error_text(err, errlen, rv, "cannot open the access log %s: %s", target, explain(rv)) : 0;
}

static void close_target(struct access_file *file)
{
    if (file->is_own && file->fd >= 0) {
        sys_close(file->fd);
    }
    access_syslog_close(file->syslog);
}

struct access_file *access_file_ref(struct access_file *file)
{
    if (file != NULL) {
        __atomic_fetch_add(&file->references, 1, __ATOMIC_RELAXED);
    }
    return file;
}

void access_file_put(struct access_file *file)
{
    if (file != NULL && __atomic_fetch_sub(&file->references, 1, __ATOMIC_ACQ_REL) == 1) {
        close_target(file);
        pthread_mutex_destroy(&file->lock);
        mem_free(file);
    }
}

const char *access_file_target(const struct access_file *file)
{
    return file->target;
}

size_t access_file_line_max(struct access_file *file)
{
    pthread_mutex_lock(&file->lock);
    bool is_plain = file->kind == ACCESS_PLAIN;
    pthread_mutex_unlock(&file->lock);
    return is_plain ? (size_t)ACCESS_FILE_LINE_MAX : (size_t)ACCESS_PIPE_LINE_MAX;
}

int access_file_reopen(struct access_file *file, char *err, size_t errlen)
{
    if (strcmp(file->target, "stdout") == 0) {
        return 0;
    }
    /* Opened beside the old one: a path that cannot be opened any more leaves the lines where they went. */
    struct access_file *fresh = NULL;
    int rv = access_file_open(&fresh, file->target, file->base_fd, file->log, err, errlen);
    if (rv < 0) {
        return rv;
    }
    pthread_mutex_lock(&file->lock);
    const int old_fd = file->fd;
    struct access_syslog *old_syslog = file->syslog;
    file->fd = fresh->fd;
    file->is_guarded = fresh->is_guarded;
    file->syslog = fresh->syslog;
    file->kind = fresh->kind;
    file->is_torn = false;
    fresh->fd = old_fd;
    fresh->syslog = old_syslog;
    pthread_mutex_unlock(&file->lock);
    access_file_put(fresh); /* closes what was open */
    return 0;
}

/* Writing. */

/* How much of the lines one write may have: whole lines, so few that a pipe takes all of them or none. */
static size_t portion_of(const struct access_file *file, const char *lines, size_t len)
{
    if (file->kind == ACCESS_SYSLOG) {
        return (size_t)((const char *)memchr(lines, '\n', len) - lines) + 1;
    }
    if (file->kind == ACCESS_PLAIN || len <= ACCESS_PIPE_LINE_MAX) {
        return len;
    }
    size_t portion = ACCESS_PIPE_LINE_MAX;
    while (portion > 0 && lines[portion - 1] != '\n') {
        portion--;
    }
    /* A longer line was written for a file that has become a pipe. */
    return portion > 0 ? portion : (size_t)((const char *)memchr(lines, '\n', len) - lines) + 1;
}

static ssize_t write_once(const struct access_file *file, const char *data, size_t len, int64_t now_s)
{
    ssize_t put;
    do {
        switch (file->kind) {
        case ACCESS_SYSLOG:
            put = access_syslog_send(file->syslog, data, len, now_s);
            break;
        case ACCESS_SOCKET:
            put = sys_append_message(file->fd, data, len);
            break;
        case ACCESS_ASKED:
            put = sys_append_has_room(file->fd) <= 0 ? -EAGAIN : sys_append(file->fd, data, len, file->is_guarded);
            break;
        default:
            put = sys_append(file->fd, data, len, file->is_guarded);
        }
    } while (put == -EINTR);
    return put;
}

/* Lines get through again: say how many were lost, but not more often than ACCESS_SAY_MS allows. */
static void say_recovered(struct access_file *file, int64_t now_ms)
{
    if (file->lost == 0 || now_ms < file->say_ms) {
        return;
    }
    file->say_ms = now_ms + ACCESS_SAY_MS;
    log_write(file->log, LOG_WARN, "the access log %s is written again: %llu line%s lost", file->target,
              (unsigned long long)file->lost, file->lost == 1 ? " was" : "s were");
    file->lost = 0;
    file->has_lost = false;
}

static void lose_lines(struct access_file *file, uint64_t lines, int64_t now_ms)
{
    file->lost += lines;
    if (!file->has_lost) {
        file->has_lost = true;
        file->say_ms = now_ms + ACCESS_SAY_MS;
        log_write(file->log, LOG_WARN, "lines of the access log %s are lost: %s", file->target,
                  file->error == 0 ? "its reader does not keep up" : errno_text(-file->error));
    }
}

size_t access_file_write(struct access_file *file, const char *lines, size_t len, int64_t now_ms)
{
    size_t done = 0;
    pthread_mutex_lock(&file->lock);
    int64_t now_s = file->kind == ACCESS_SYSLOG ? sys_wall_time_s() : 0;
    if (file->is_torn && write_once(file, "\n", 1, now_s) == 1) {
        file->is_torn = false;
    }
    while (done < len && !file->is_torn) {
        size_t portion = portion_of(file, lines + done, len - done);
        ssize_t put = write_once(file, lines + done, portion, now_s);
        if (put < 0) {
            file->error = put == -EAGAIN ? 0 : (int)put;
            break;
        }
        done += (size_t)put;
        say_recovered(file, now_ms);
        if ((size_t)put < portion && put > 0 && lines[done - 1] != '\n') { /* the rest of this line cannot follow it */
            file->is_torn = true;
            file->error = -ENOSPC;
            done += (size_t)((const char *)memchr(lines + done, '\n', len - done) - (lines + done)) + 1;
            lose_lines(file, 1, now_ms);
        }
        if (put == 0) {
            break;
        }
    }
    pthread_mutex_unlock(&file->lock);
    return done;
}

void access_file_lose(struct access_file *file, uint64_t lines, int64_t now_ms)
{
    pthread_mutex_lock(&file->lock);
    lose_lines(file, lines, now_ms);
    pthread_mutex_unlock(&file->lock);
}
