#ifndef EVSERVE_HTTP_ACCESS_SYSLOG_H
#define EVSERVE_HTTP_ACCESS_SYSLOG_H

/* The access log in syslog: a datagram for each line, to the socket of the local daemon, as syslog(3) writes them
 * (RFC 3164). Used under the lock of http/access_file.c. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct access_syslog;

/* Whether a target is one of syslog: it begins with "syslog:". */
bool access_syslog_is(const char *target);

/* Connect as target says: "syslog:", and options of nginx behind it, separated by commas: server=unix:PATH (default
 * /dev/log), facility (default local7), severity (default info), tag (default evserve). Returns 0, or -errno with a
 * text in err. */
int access_syslog_open(struct access_syslog **syslog, const char *target, char *err, size_t errlen);
void access_syslog_close(struct access_syslog *syslog); /* NULL is allowed */

/* Send a line, len bytes with its newline. Returns len, or -errno: -EAGAIN without room. Never waits. */
ssize_t access_syslog_send(struct access_syslog *syslog, const char *line, size_t len, int64_t now_s);

#endif
