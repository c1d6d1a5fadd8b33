#ifndef EVSERVE_CORE_BENEATH_H
#define EVSERVE_CORE_BENEATH_H

/* Open a file that lies below a directory, whatever the path and the symbolic links on it say. */

enum { BENEATH_LINKS_MAX = 40, BENEATH_PATH_MAX = 4096 };

/* Open path, relative to dir_fd, with flags of open(2), O_CREAT and O_PATH not among them. Symbolic links are followed
 * as long as they stay below dir_fd, absolute ones never. The kernel guarantees it through openat2(2); where it has
 * none, each step is taken here without following links. Returns the fd, or -errno: -EXDEV when the path leaves dir_fd,
 * -ELOOP after BENEATH_LINKS_MAX links, -ENAMETOOLONG when the path, or the fallback's path with a link's target put
 * in, does not fit into BENEATH_PATH_MAX with its NUL. Any thread. */
int open_beneath(int dir_fd, const char *path, int flags);

/* The same by the fallback alone, so that tests can compare the two. */
int open_beneath_by_steps(int dir_fd, const char *path, int flags);

#endif
