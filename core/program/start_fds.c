/* Failure modes: without /dev/null for a closed stream the process ends; a limit that cannot be raised stays. A kernel
 * before 5.11 cannot mark all high fds at once: up to START_FDS_MARKED are marked one by one. */

#include "core/program/start_fds.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    START_FDS_NOTED = 64,    /* fds from 0 on whose state at the start is known */
    START_FDS_MARKED = 1024, /* fds that are closed with an old kernel */
};

/* From <linux/close_range.h>, which old systems do not have. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#define MARK_CLOSE_ON_EXEC (1U << 2)

/* A bit for each fd that was open at the start. */
static uint64_t fds_at_start;

static void note_fds(void)
{
    struct pollfd fds[START_FDS_NOTED];
    for (int fd = 0; fd < START_FDS_NOTED; fd++) {
        fds[fd] = (struct pollfd){.fd = fd};
    }
    bool is_known = poll(fds, START_FDS_NOTED, 0) >= 0;
    for (int fd = 0; fd < START_FDS_NOTED; fd++) {
        bool is_open = is_known ? (fds[fd].revents & POLLNVAL) == 0 : fcntl(fd, F_GETFD) >= 0;
        fds_at_start |= is_open ? UINT64_C(1) << fd : 0;
    }
}

/* If a standard fd were closed, the next file or connection would get its number, and what is meant for standard error
 * would go there. */
void start_fds_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            exit(EXIT_FAILURE); /* there is no place for a reason */
        }
    }
    note_fds();
}

void start_fds_close_others(int first)
{
    for (int fd = first; fd < START_FDS_NOTED; fd++) {
        if ((fds_at_start >> fd & 1) == 0) {
            (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
    int high = first > START_FDS_NOTED ? first : START_FDS_NOTED;
    if (syscall(SYS_close_range, (unsigned)high, ~0U, MARK_CLOSE_ON_EXEC) == 0) {
        return;
    }
    for (int fd = high; fd < START_FDS_MARKED; fd++) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
}

void start_fds_raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}
