#ifndef EVSERVE_CORE_SYS_PIPE_H
#define EVSERVE_CORE_SYS_PIPE_H

#include <stddef.h>

enum { SYS_PIPE_BYTES_MAX = 4096 }; /* PIPE_BUF: so much goes into a new pipe without waiting */

/* The reading end of a pipe that holds data and then ends, non-blocking. What is in it never reaches a disk, not even
 * as swap, and is gone once it was read. Returns an fd above 2, or -errno: -EMSGSIZE for more than
 * SYS_PIPE_BYTES_MAX. */
int sys_pipe_with(const void *data, size_t len);

/* A pair of connected unix sockets, non-blocking, both above 2. Returns 0 or -errno. */
int sys_socket_pair(int ends[2]);

#endif
