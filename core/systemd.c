/* Nothing here is fatal: values that make no sense are as good as none, and news that nobody takes are dropped. */

#include "core/systemd.h"

#include "core/sys.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

int systemd_passed_fds(const char *listen_pid, const char *listen_fds, pid_t pid)
{
    if (listen_pid == NULL || listen_fds == NULL || strtol(listen_pid, NULL, 10) != pid) {
        return 0;
    }
    long count = strtol(listen_fds, NULL, 10);
    return count < 0 ? 0 : count > SYSTEMD_FDS_MAX ? SYSTEMD_FDS_MAX : (int)count;
}

int64_t systemd_watchdog_ms(const char *watchdog_pid, const char *watchdog_usec, pid_t pid)
{
    if (watchdog_usec == NULL || (watchdog_pid != NULL && strtol(watchdog_pid, NULL, 10) != pid)) {
        return 0;
    }
    long long usec = strtoll(watchdog_usec, NULL, 10);
    return usec < 2000 ? 0 : usec / 2000;
}

void systemd_notify(const char *notify_socket, const char *news)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = notify_socket == NULL ? 0 : strlen(notify_socket);
    if (len < 2 || len >= sizeof address.sun_path || (notify_socket[0] != '/' && notify_socket[0] != '@')) {
        return;
    }
    memcpy(address.sun_path, notify_socket, len);
    if (notify_socket[0] == '@') {
        address.sun_path[0] = '\0'; /* an abstract name */
    }
    socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    (void)sys_send_datagram((const struct sockaddr *)&address, address_len, news, strlen(news));
}
