#ifndef EVSERVE_CORE_EPOLL_WAIT_FOR_H
#define EVSERVE_CORE_EPOLL_WAIT_FOR_H

/* epoll_wait(2) with a limit in nanoseconds, on kernels that lack it, too. For reactor.c. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Wait for at most max events, and for limit_ns (negative: without a limit). *lacks_ns_waits, false at first, notes
 * that the kernel, or a filter of system calls, does not know epoll_pwait2(2). Returns the number of events, or
 * -errno. */
int epoll_wait_for(int epoll_fd, struct epoll_event *events, int max, int64_t limit_ns, bool *lacks_ns_waits);

#endif
