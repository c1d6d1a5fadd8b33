#ifndef EVSERVE_HTTP_HOST_CONFINE_H
#define EVSERVE_HTTP_HOST_CONFINE_H

/* The sandbox of a server (core/sandbox.h): what its offer needs stays allowed, everything else is given up. */

#include <stdbool.h>
#include <stddef.h>

struct access_keeper;
struct destinations;
struct file_stamps;
struct log;
struct offer;
struct server;
struct tls_plan;

/* What the host asks for. */
struct confinement {
    bool is_required;                         /* fail, rather than warn, if the kernel lacks a part of the sandbox */
    const char *allow_read;                   /* directories and files that may be read, separated by colons, or NULL */
    const char *allow_write;                  /* likewise for those that may also be changed */
    const struct destinations *allow_connect; /* servers that alone may be connected with */
};

/* Confine the calling thread, and all threads that it starts later, to what serving the offer takes: reading the
 * mounted directories, the folders of files (those of the script and its modules) and of certificates and keys (those
 * for upstreams too), the folders of Lua's packages and what wanted names; making files in the folders of access logs
 * that are paths; connecting with the servers that wanted names; and removing the sockets of the server, which must
 * have bound its addresses. Returns 0, or -errno with a text in err; a part of the sandbox may be in force then. */
int confine_server(const struct offer *offer, struct file_stamps *files, const struct tls_plan *tls,
                   const struct access_keeper *access, const struct server *server, const struct confinement *wanted,
                   const struct log *log, char *err, size_t errlen);

/* Whether the directories that next mounts or serves challenges from, and before does not, can be read: 0, or -EACCES
 * with a text in err that names the one that the sandbox keeps away. */
int confine_check(const struct offer *before, const struct offer *next, char *err, size_t errlen);

#endif
