/* Whether the file descriptors of the process are enough for the connections that it may have. */

#include "http/fd_check.h"

#include "core/log.h"
#include "core/sys.h"
#include "http/limits.h"

enum {
    OTHER_FDS = 16, /* beside connections, at least: the loop, listeners, directories, standard streams */
    FAR_BELOW = 10, /* so many times fewer fds than connections: too few even for a default that nobody has chosen */
};

void fd_check(const struct limits *limits, const struct log *log)
{
    uint64_t fds = sys_fd_limit();
    if (limits->max_connections + OTHER_FDS <= fds) {
        return;
    }
    bool is_asked_for = limits->max_connections != limits_find("max_connections")->initial;
    bool is_far_below = fds < limits->max_connections / FAR_BELOW;
    log_write(log, is_asked_for || is_far_below ? LOG_WARN : LOG_DEBUG,
              "max_connections is %llu, but this process may have %llu file descriptors (RLIMIT_NOFILE): raise that "
              "with LimitNOFILE= in a systemd unit, or ulimit -n, or lower max_connections",
              (unsigned long long)limits->max_connections, (unsigned long long)fds);
}
