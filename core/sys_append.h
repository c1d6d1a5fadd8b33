#ifndef EVSERVE_CORE_SYS_APPEND_H
#define EVSERVE_CORE_SYS_APPEND_H

/* Writing to logs. Not in sys.h, since only the access log does it; the conventions are those of sys.h. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Open a file to append to it, without waiting for the reader of a FIFO (-ENXIO if there is none). is_new: make it,
 * with this mode; -EEXIST if there is something of that name, a link for example. Returns the fd or -errno. */
int sys_open_append(int dir_fd, const char *path, bool is_new, mode_t mode);

/* 0 if owner and mode allow a file to be written, or files to be made in a directory; security modules are not
 * asked. */
int sys_may_write(int dir_fd, const char *path);
int sys_may_make_files(int dir_fd, const char *path);

/* Give the file fd, which we have made as root, to this user and group. Returns 0 or -errno. */
int sys_give_file(int fd, uid_t user, gid_t group);

/* Write once. is_guarded: no signal is raised where the reader has gone (SIGPIPE) or the file may not grow (SIGXFSZ),
 * at the price of more system calls. */
ssize_t sys_append(int fd, const void *data, size_t len, bool is_guarded);

/* To a socket: neither waits nor raises SIGPIPE. */
ssize_t sys_append_message(int fd, const void *data, size_t len);

/* Whether a stream has room now: 1, also if there is an error to be read, 0, or -errno. */
int sys_append_has_room(int fd);

/* Whether files may grow without a limit (RLIMIT_FSIZE). */
bool sys_append_is_unlimited(void);

#endif
