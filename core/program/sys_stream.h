#ifndef EVSERVE_CORE_PROGRAM_SYS_STREAM_H
#define EVSERVE_CORE_PROGRAM_SYS_STREAM_H

/* Writing to streams that the program has inherited, whose flags are not its own. Not in sys.h, since only the program
 * does it; the conventions are those of sys.h. */

#include <stddef.h>
#include <sys/types.h>

/* May wait for a reader, and raises SIGPIPE, as write(2) does. */
ssize_t sys_write(int fd, const void *data, size_t len);

/* To a socket: neither waits nor raises SIGPIPE. */
ssize_t sys_send_now(int fd, const void *data, size_t len);

/* Let fd mean what other means, in one step, for other threads too. */
int sys_replace_fd(int fd, int other);

/* Wait until the stream can be written, for timeout_ms at most. Returns 1, also if there is an error to be read, 0 when
 * the time is over, or -errno. */
int sys_wait_writable(int fd, int timeout_ms);

#endif
