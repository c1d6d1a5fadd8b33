#ifndef EVSERVE_CORE_PROGRAM_SYSTEMD_H
#define EVSERVE_CORE_PROGRAM_SYSTEMD_H

/* What systemd and a service tell each other, without its library: sd_listen_fds(3), sd_notify(3),
 * sd_watchdog_enabled(3). The environment is the caller's to read and to clean: a parameter with the name of a variable
 * is its value, NULL when it is not set. */

#include <stdint.h>
#include <sys/types.h>

enum {
    SYSTEMD_FIRST_FD = 3, /* the first of the sockets that were passed */
    SYSTEMD_FDS_MAX = 64, /* more are not looked at */
};

/* How many sockets were passed to the process pid, from SYSTEMD_FIRST_FD on; 0 when there are none, or they are
 * another's. */
int systemd_passed_fds(const char *listen_pid, const char *listen_fds, pid_t pid);

/* How often the watchdog wants a sign of life of the process pid: twice as often as it asks for. 0: never. */
int64_t systemd_watchdog_ms(const char *watchdog_pid, const char *watchdog_usec, pid_t pid);

/* The service manager that gets our notices. */
struct systemd_notifier {
    const char *socket; /* NOTIFY_SOCKET, borrowed; NULL: nobody */
    int fd;             /* connected to it, owned; < 0 when it is not */
};

/* Connect to the notify socket. A sandbox denies that, so do it before. What cannot be connected is tried again by the
 * next systemd_notify(). */
void systemd_notifier_open(struct systemd_notifier *notifier, const char *notify_socket);
void systemd_notifier_close(struct systemd_notifier *notifier);

/* Send news such as "READY=1", if systemd wants to know. What cannot be sent is lost. */
void systemd_notify(struct systemd_notifier *notifier, const char *news);

#endif
