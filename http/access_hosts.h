#ifndef EVSERVE_HTTP_ACCESS_HOSTS_H
#define EVSERVE_HTTP_ACCESS_HOSTS_H

/* The access logs of those hosts of a site that have one of their own: one for each pair of a file and a format, however
 * many hosts share it. Every thread has a site of its own, so it has logs of its own, too; they write to files that the
 * threads share (http/access_file.h). */

#include <stdbool.h>
#include <stddef.h>

struct access_file;
struct access_format;
struct access_log;
struct reactor;
struct site;
struct vhost;

enum { ACCESS_HOSTS_MAX = 64 }; /* pairs of a site */

struct access_host {
    const char *target;           /* borrowed from the site or from a host of it */
    const char *text;             /* of format, likewise */
    const struct vhost *first;    /* that asked for it: errors name it */
    struct access_format *format; /* a reference */
    struct access_log *log;       /* owned; NULL before access_hosts_open() */
};

struct access_hosts {
    size_t count;
    struct access_host list[ACCESS_HOSTS_MAX];
};

/* Once all is set, and no request is served yet: find the logs that the site needs, into *hosts (NULL: none). A host that
 * names no file has the format for the site's file. One with the file and the format of the site has no log of its own.
 * Returns 0, -ENOMEM, or -ENOSPC for too many of them, with a text in err. */
int access_hosts_settle(struct access_hosts **hosts, const struct site *site, char *err, size_t errlen);

/* Write what waits, and free the logs. NULL is allowed. The thread of the reactor, if they are open. */
void access_hosts_destroy(struct access_hosts *hosts);

/* Which file the lines of a host go to, NULL: none of its own. Its format then, if it has one, is the site's file's. */
const char *access_hosts_target(const struct site *site, const struct vhost *vhost);

/* Begin an error text with the host that has asked for a log: "site.lua:7: the host one.example: ". Returns rv. */
int access_hosts_blame(const struct access_host *host, int rv, const char *why, char *err, size_t errlen);

/* Make the log of a host that is in the list, and let all hosts that share it use it. Its file, of which it takes a
 * reference, is open. reactor is borrowed. Before the site is served. Returns 0, or -ENOMEM with their lines in the
 * log of the site. */
int access_hosts_open(struct site *site, struct access_host *host, struct access_file *file, struct reactor *reactor);

/* Write what waits, as far as there is room at once. NULL is allowed. */
void access_hosts_flush(struct access_hosts *hosts);

/* Whether the begin of exchanges is to be timed for one of them. NULL is allowed. */
bool access_hosts_are_timed(const struct access_hosts *hosts);

#endif
