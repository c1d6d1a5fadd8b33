#ifndef EVSERVE_CORE_PROGRAM_SYSTEMD_H
#define EVSERVE_CORE_PROGRAM_SYSTEMD_H

/* The protocols between systemd and a service, without its library: sd_listen_fds(3), sd_notify(3),
 * sd_watchdog_enabled(3). The caller reads and cleans the environment: a parameter named after a variable takes its
 * value, or NULL if it is not set. */

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    SYSTEMD_FIRST_FD = 3,      /* the first of the passed sockets */
    SYSTEMD_FDS_MAX = 1024,    /* more are ignored */
    SYSTEMD_STATUS_MAX = 1344, /* bytes of a notice with a status, with its NUL */
};

/* The number of sockets that were passed to the process pid, from SYSTEMD_FIRST_FD on; 0 if there are none, or if they
 * are meant for another process. */
int systemd_passed_fds(const char *listen_pid, const char *listen_fds, pid_t pid);

/* The interval at which the process pid should send signs of life: half of what the watchdog allows. 0: never. */
int64_t systemd_watchdog_ms(const char *watchdog_pid, const char *watchdog_usec, pid_t pid);

/* A connection to the service manager. */
struct systemd_notifier {
    const char *socket;   /* NOTIFY_SOCKET, borrowed; NULL if there is none */
    int fd;               /* connected to it, owned; < 0 if not connected */
    pthread_mutex_t lock; /* any thread may send notices */
};

/* Connect to the notify socket. A sandbox forbids that, so do it before. If it fails, the next systemd_notify() tries
 * again. */
void systemd_notifier_open(struct systemd_notifier *notifier, const char *notify_socket);
void systemd_notifier_close(struct systemd_notifier *notifier);

/* Send a notice such as "READY=1", if systemd asked for it. What cannot be sent is lost. Any thread, once it is
 * open. */
void systemd_notify(struct systemd_notifier *notifier, const char *news);

/* The service is ready, and what systemctl status shows: where it listens (NULL: nowhere), and why its last reload
 * has failed (NULL: it has not). What is longer than SYSTEMD_STATUS_MAX is cut. */
void systemd_notify_serving(struct systemd_notifier *notifier, const char *address, const char *failure);

/* Send nothing more: another process is the service now. */
void systemd_notifier_silence(struct systemd_notifier *notifier);

/* Announce that a reload begins now; READY=1 ends it. The time has full microseconds: under Type=notify-reload, systemd
 * ignores a notice whose time is before that of its SIGHUP, and `systemctl reload` then waits in vain. */
void systemd_notify_reloading(struct systemd_notifier *notifier);

#endif
