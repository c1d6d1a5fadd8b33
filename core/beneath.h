#ifndef EVSERVE_CORE_BENEATH_H
#define EVSERVE_CORE_BENEATH_H

/* Open a file that lies below a directory, whatever the path and the symbolic links on it say. */

enum { BENEATH_LINKS_MAX = 40, BENEATH_PATH_MAX = 4096 };

/* Open path, relative to dir_fd, with flags of open(2) except O_CREAT and O_PATH. Symbolic links are followed as long
 * as they stay below dir_fd, absolute ones never. The kernel guarantees that with openat2(2); if it lacks that call,
 * the path is walked here step by step, without letting the kernel follow links. Returns the fd, or -errno: -EXDEV if
 * the path leaves dir_fd, -ELOOP after BENEATH_LINKS_MAX links, -ENAMETOOLONG if the path, or in the fallback the path
 * with a link replaced by its target, does not fit into BENEATH_PATH_MAX with its NUL. Any thread. */
int open_beneath(int dir_fd, const char *path, int flags);

/* The same by the fallback alone, so that tests can compare the two. */
int open_beneath_by_steps(int dir_fd, const char *path, int flags);

#endif
