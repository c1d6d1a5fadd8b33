#ifndef EVSERVE_HTTP_FD_CHECK_H
#define EVSERVE_HTTP_FD_CHECK_H

struct limits;
struct log;

/* Say in the log when this process may not have as many fds as max_connections (of the whole process) asks for: a
 * warning when somebody has set it, a line for those who debug when it is the default. log may be NULL. */
void fd_check(const struct limits *limits, const struct log *log);

#endif
