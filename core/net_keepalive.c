/* Linux copies these options from a listening socket to the connections it accepts, so they cost no system call
 * each. */

#include "core/net_keepalive.h"

#include "core/sys.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    PROBES = 4,         /* unanswered probes that end a connection, in as much time as the silence before them */
    IDLE_MAX_S = 32767, /* of TCP_KEEPIDLE and TCP_KEEPINTVL (tcp(7)) */
    MS_PER_S = 1000,
};

static int seconds_of(uint64_t ms)
{
    uint64_t s = (ms + MS_PER_S - 1) / MS_PER_S;
    return s < 1 ? 1 : s > IDLE_MAX_S ? IDLE_MAX_S : (int)s;
}

int net_keepalive_set(int fd, uint64_t idle_ms, uint64_t give_up_ms)
{
    bool is_on = idle_ms > 0;
    uint64_t user_timeout_ms = give_up_ms < INT32_MAX ? give_up_ms : INT32_MAX;
    const struct {
        int level, option, value;
    } settings[] = {
        {IPPROTO_TCP, TCP_USER_TIMEOUT, is_on ? (int)user_timeout_ms : 0},
        {IPPROTO_TCP, TCP_KEEPIDLE, seconds_of(idle_ms)},
        {IPPROTO_TCP, TCP_KEEPINTVL, seconds_of(idle_ms / PROBES)},
        {IPPROTO_TCP, TCP_KEEPCNT, PROBES},
        {SOL_SOCKET, SO_KEEPALIVE, is_on},
    };
    int rv = 0;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0] && rv == 0; i++) {
        rv = sys_set_option(fd, settings[i].level, settings[i].option, settings[i].value);
    }
    return rv;
}
