/* Failure modes: none is fatal. Values that make no sense count as absent, and notices that cannot be delivered are
 * dropped. */

#include "core/program/systemd.h"

#include "core/ascii.h"
#include "core/sys.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static bool is_pid(const char *text, pid_t pid)
{
    uint64_t number;
    return ascii_parse_number(text, strlen(text), INT32_MAX, &number) && (pid_t)number == pid;
}

int systemd_passed_fds(const char *listen_pid, const char *listen_fds, pid_t pid)
{
    if (listen_pid == NULL || listen_fds == NULL || !is_pid(listen_pid, pid)) {
        return 0;
    }
    uint64_t count = 0;
    (void)ascii_parse_number(listen_fds, strlen(listen_fds), UINT64_MAX, &count);
    return count > SYSTEMD_FDS_MAX ? SYSTEMD_FDS_MAX : (int)count;
}

int64_t systemd_watchdog_ms(const char *watchdog_pid, const char *watchdog_usec, pid_t pid)
{
    if (watchdog_usec == NULL || (watchdog_pid != NULL && !is_pid(watchdog_pid, pid))) {
        return 0;
    }
    uint64_t usec = 0;
    (void)ascii_parse_number(watchdog_usec, strlen(watchdog_usec), INT64_MAX, &usec);
    return (int64_t)(usec / 2000);
}

/* Make the address of a notify socket. Returns its length, or 0 if the name is invalid. */
static socklen_t make_address(struct sockaddr_un *address, const char *notify_socket)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t len = notify_socket == NULL ? 0 : strlen(notify_socket);
    if (len < 2 || len >= sizeof address->sun_path || (notify_socket[0] != '/' && notify_socket[0] != '@')) {
        return 0;
    }
    memcpy(address->sun_path, notify_socket, len);
    if (notify_socket[0] == '@') {
        address->sun_path[0] = '\0'; /* an abstract name */
    }
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static void connect_notifier(struct systemd_notifier *notifier)
{
    struct sockaddr_un address;
    socklen_t len = make_address(&address, notifier->socket);
    notifier->fd = len == 0 ? -1 : sys_connect_datagram((const struct sockaddr *)&address, len);
}

void systemd_notifier_open(struct systemd_notifier *notifier, const char *notify_socket)
{
    pthread_mutex_init(&notifier->lock, NULL);
    notifier->socket = notify_socket;
    connect_notifier(notifier);
}

void systemd_notifier_close(struct systemd_notifier *notifier)
{
    if (notifier->fd >= 0) {
        sys_close(notifier->fd);
    }
    notifier->fd = -1;
}

void systemd_notify(struct systemd_notifier *notifier, const char *news)
{
    pthread_mutex_lock(&notifier->lock);
    ssize_t rv = notifier->fd < 0 ? -ENOTCONN : sys_send(notifier->fd, news, strlen(news), false);
    if (rv == -ENOTCONN || rv == -ECONNREFUSED) { /* another socket has replaced the one we know */
        systemd_notifier_close(notifier);
        connect_notifier(notifier);
        if (notifier->fd >= 0) {
            (void)sys_send(notifier->fd, news, strlen(news), false);
        }
    }
    pthread_mutex_unlock(&notifier->lock);
}

void systemd_notify_serving(struct systemd_notifier *notifier, const char *address, const char *failure)
{
    static const char begin[] = "READY=1\nSTATUS=";
    char news[SYSTEMD_STATUS_MAX];
    snprintf(news, sizeof news, "%slistening on %s%s%s", begin, address == NULL ? "no address" : address,
             failure == NULL ? "" : "; not reloaded: ", failure == NULL ? "" : failure);
    for (char *at = news + sizeof begin - 1; (at = strchr(at, '\n')) != NULL;) {
        *at = ' '; /* a newline would begin another variable */
    }
    systemd_notify(notifier, news);
}

void systemd_notifier_silence(struct systemd_notifier *notifier)
{
    pthread_mutex_lock(&notifier->lock);
    systemd_notifier_close(notifier);
    notifier->socket = NULL;
    pthread_mutex_unlock(&notifier->lock);
}

void systemd_notify_reloading(struct systemd_notifier *notifier)
{
    char news[64];
    snprintf(news, sizeof news, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(sys_now_ns() / 1000));
    systemd_notify(notifier, news);
}
