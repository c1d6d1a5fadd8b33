/* Failure mode: what the kernel says. */

#include "core/epoll_wait_for.h"

#include "core/sys.h"
#include "core/units.h"

#include <errno.h>

int epoll_wait_for(int epoll_fd, struct epoll_event *events, int max, int64_t limit_ns, bool *lacks_ns_waits)
{
    if (limit_ns <= 0 || !*lacks_ns_waits) {
        int ready = sys_epoll_wait(epoll_fd, events, max, limit_ns);
        if (limit_ns <= 0 || (ready != -ENOSYS && ready != -EPERM)) {
            return ready;
        }
        *lacks_ns_waits = true;
    }
    int64_t ms = (limit_ns + NS_PER_MS - 1) / NS_PER_MS; /* rounded up: a timer never fires early (R5) */
    return sys_epoll_wait_ms(epoll_fd, events, max, ms > INT32_MAX ? INT32_MAX : (int)ms);
}
