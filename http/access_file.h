#ifndef EVSERVE_HTTP_ACCESS_FILE_H
#define EVSERVE_HTTP_ACCESS_FILE_H

/* Where the lines of the access log go: a file, a pipe, standard output, or syslog's socket. All threads of a server
 * write to one of these, and any thread may call every function here.
 *
 * No write waits for a reader: pipes and terminals are opened a second time, so that O_NONBLOCK is no matter of other
 * processes, sockets are sent to without waiting. A write to a file of a disk takes as long as the kernel takes.
 *
 * What is full (the pipe, the disk) is said once in the error log, and when lines get through again, how many were
 * lost. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_file;
struct log;

/* The bytes of one line, its newline included, that file can take: ACCESS_LINE_MAX of http/access_line.h for a file;
 * less where only short writes are whole. */
enum {
    ACCESS_FILE_LINE_MAX = 32768,
    ACCESS_PIPE_LINE_MAX = 4096, /* PIPE_BUF: up to here a write to a pipe is whole (pipe(7)) */
    ACCESS_SAY_MS = 10000,       /* how often the error log may say how many lines were lost */
};

/* Open what target names: the path of a file, which is made if it is not there (mode 0640; as root, with the owner of
 * its directory), or of a FIFO; "stdout"; "syslog:" with options as in nginx, separated by commas (server=unix:PATH,
 * facility=local7, severity=info, tag=evserve). base_fd: where relative paths start, see sys_base(). log is borrowed
 * and may be NULL. Returns 0 with a reference in *file, or -errno with a text in err that names target. */
int access_file_open(struct access_file **file, const char *target, int base_fd, const struct log *log, char *err,
                     size_t errlen);

/* Whether access_file_open() would open target, as far as that can be told without making a file: 0, or -errno with its
 * text in err. */
int access_file_check(const char *target, int base_fd, char *err, size_t errlen);

/* Whether a target names a path: not "stdout", not syslog. */
bool access_file_is_path(const char *target);

/* Take one more reference; give one back: the last one closes the file. NULL is allowed. */
struct access_file *access_file_ref(struct access_file *file);
void access_file_put(struct access_file *file);

/* What was opened, as it was named. Valid as long as the file. */
const char *access_file_target(const struct access_file *file);

/* The most bytes of a line. */
size_t access_file_line_max(struct access_file *file);

/* Open the path again, since the file was renamed (logrotate). "stdout" stays as it is. Returns 0, or -errno with a
 * text in err, and lines go on to where they went. */
int access_file_reopen(struct access_file *file, char *err, size_t errlen);

/* Write whole lines. Returns how many bytes were used up, from the beginning: those that were written, and those of a
 * line that a disk has taken only a part of, which is counted as lost. Less than len: there is no room now, or the
 * write failed. */
size_t access_file_write(struct access_file *file, const char *lines, size_t len, int64_t now_ms);

/* Count lines that were lost since there was no room for them. */
void access_file_lose(struct access_file *file, uint64_t lines, int64_t now_ms);

#endif
