/* Failure modes: without /dev/null for a closed stream the process ends; a limit that cannot be raised stays. */

#include "core/program/start_fds.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* If a standard fd were closed, the next file or connection would get its number, and what is meant for standard error
 * would go there. */
void start_fds_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            exit(EXIT_FAILURE); /* there is no place for a reason */
        }
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
