#ifndef EVSERVE_CORE_SYS_H
#define EVSERVE_CORE_SYS_H

/* The only door to the kernel. Every other file of core/, http/ and lua/ reaches clocks, sockets and files through
 * these functions and those of sys_rights.h, so that a test can link a fake kernel in their place and script time,
 * EAGAIN, short reads and failures.
 *
 * Conventions: a result >= 0 is that of the system call, and a failure is -errno (the global errno is not part of the
 * contract). New fds are close-on-exec and never numbered 0 to 2; new sockets are non-blocking. Unless a function says
 * so, it does not raise SIGPIPE, retry on EINTR (callers own their loops), allocate or log. Any thread may call any
 * function. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Clocks. */
int64_t sys_now_ns(void);        /* CLOCK_MONOTONIC, nanoseconds */
int64_t sys_coarse_ns(void);     /* the same at the last tick of the kernel, up to 10 ms ago; a few ns to read */
int64_t sys_wall_time_s(void);   /* seconds since the epoch, for Date fields */
int64_t sys_wall_time_ms(void);  /* milliseconds since the epoch, for logs */
int64_t sys_thread_cpu_ns(void); /* processor time of the calling thread; a system call, unlike the clocks above */

/* Move the clocks above that are not of processor time ahead, for the whole process: tests of a site do, so that an
 * hour passes at once. Whoever waits for the kernel until an instant of sys_now_ns() takes sys_shift_ns() away from
 * it. */
void sys_shift_clocks(int64_t ns);
int64_t sys_shift_ns(void); /* by how much they were moved in all; 0 in a process that does not test */

/* Whether memory that was written may be made executable, as compilers of code at run time do: 0 or -errno. */
int sys_try_code(void);

void sys_sleep_ms(int ms);     /* for the start of a server, never for its loop */
unsigned sys_processors(void); /* that the process may use, at least 1 */
uid_t sys_user_id(void);       /* the effective one */
pid_t sys_process_id(void);

/* Fill buf with len unpredictable bytes, at most 256. Returns 0 or -errno. */
int sys_random(void *buf, size_t len);

/* epoll(7), eventfd(2), timerfd(2): the reactor sleeps on these. */
int sys_epoll_create(void);
int sys_epoll_add(int epoll_fd, int fd, uint32_t events, uint64_t data);
int sys_epoll_modify(int epoll_fd, int fd, uint32_t events, uint64_t data);
int sys_epoll_delete(int epoll_fd, int fd);
/* Wait for up to max events, for timeout_ns at most, or with -1 without limit. With a limit this is epoll_pwait2(2),
 * which fails with -ENOSYS on kernels before 5.11, and with -EPERM or -ENOSYS under older filters of system calls.
 * sys_epoll_wait_ms() always works. */
int sys_epoll_wait(int epoll_fd, struct epoll_event *events, int max, int64_t timeout_ns);
int sys_epoll_wait_ms(int epoll_fd, struct epoll_event *events, int max, int timeout_ms); /* -1: without limit */
int sys_eventfd_create(void);
int sys_eventfd_wake(int fd); /* async-signal-safe */
int sys_timerfd_create(void);
int sys_timerfd_set(int fd, int64_t deadline_ns); /* absolute CLOCK_MONOTONIC; 0 disarms */

/* Sockets. */
int sys_socket(int family);
int sys_datagram_socket(int family);
int sys_bind(int fd, const struct sockaddr *address, socklen_t len);
int sys_connect(int fd, const struct sockaddr *address, socklen_t len);
int sys_listen(int fd, int backlog);
int sys_accept(int fd, struct sockaddr *peer, socklen_t *peer_len);
int sys_socket_name(int fd, struct sockaddr *name, socklen_t *len);
int sys_socket_file(int fd); /* an O_PATH fd of the file that a unix socket is bound to; -EPERM without CAP_NET_ADMIN */
int sys_set_option(int fd, int level, int option, int value);
int sys_get_option(int fd, int level, int option); /* the option's value, >= 0 */
int sys_unread_bytes(int fd);                      /* that can be received (FIONREAD) */
int sys_unsent_bytes(int fd); /* in the socket, that its peer has not taken (SIOCOUTQ: unix(7), tcp(7)) */
int sys_set_nonblocking(int fd);
int sys_shutdown_write(int fd);
int sys_shutdown(int fd); /* both directions; sys_close() does that only if no other process has the socket */
/* Reset the connection and drop unsent bytes: at once if the kernel can (connect(2) to AF_UNSPEC, TCP), else when the
 * fd is closed (SO_LINGER). */
int sys_reset_on_close(int fd);
ssize_t sys_recv(int fd, void *buf, size_t len);
ssize_t sys_peek(int fd, void *buf, size_t len); /* the same, but what it gives is there for the next call, too */
/* more: further bytes follow at once, so the kernel may hold a last short segment back (MSG_MORE). */
ssize_t sys_send(int fd, const void *buf, size_t len, bool more);
ssize_t sys_sendv(int fd, const struct iovec *parts, size_t count);
/* A datagram socket for sys_send() to one peer. Unlike other sockets here it blocks: sys_send() waits for room. */
int sys_connect_datagram(const struct sockaddr *address, socklen_t address_len);
/* Send len bytes of file_fd from *offset, which moves on by the result. 0 means that the file ends before *offset. */
ssize_t sys_sendfile(int fd, int file_fd, off_t *offset, size_t len);

/* Files. */
uint64_t sys_fd_limit(void); /* fds that the process may have (RLIMIT_NOFILE) */
uint64_t sys_open_fds(void); /* and those that it has; 0: the kernel does not say (before Linux 6.2, without /proc) */
/* Whether a call failed because the process, or the system, has no fd left. */
static inline bool sys_is_out_of_fds(int error)
{
    return error == -EMFILE || error == -ENFILE;
}
int sys_open(int dir_fd, const char *path, int flags);

/* Where relative paths start, for calls that take a directory: at base_fd, or, unless that is above 0, at the working
 * directory. No fd of ours is 0. */
int sys_base(int base_fd);

/* openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS: -EXDEV for a path that leaves dir_fd, -ENOSYS on kernels
 * before 5.6. Callers want open_beneath() of core/beneath.h, which has a fallback. */
int sys_open_beneath(int dir_fd, const char *path, int flags);
ssize_t sys_read_link(int dir_fd, const char *path, char *buf, size_t len);
int sys_stat(int fd, struct stat *st);
int sys_stat_at(int dir_fd, const char *name, struct stat *st); /* of a link itself, not of its target */
/* Read the next entries of an open directory: struct dirent64 of <dirent.h>, one after the other, each d_reclen long.
 * Returns their bytes, 0 at the end; "." and ".." are among them. */
ssize_t sys_read_dir(int fd, void *buf, size_t len);
/* 0 if owner and mode allow the file to be read; security modules are not asked (faccessat(2)). */
int sys_may_read(int dir_fd, const char *path);
int sys_unlink(int dir_fd, const char *path);
int sys_set_mode(int fd, mode_t mode); /* permissions of a file; fd may be an O_PATH one */
int sys_lock(int fd);                  /* flock(2), exclusive, until fd is closed; -EWOULDBLOCK if another fd has it */
ssize_t sys_read(int fd, void *buf, size_t len); /* not of a socket; waits for a pipe */
ssize_t sys_pread(int fd, void *buf, size_t len, off_t offset);
int sys_duplicate(int fd);
int sys_close(int fd);

#endif
