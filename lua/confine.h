#ifndef EVSERVE_LUA_CONFINE_H
#define EVSERVE_LUA_CONFINE_H

/* What a server keeps when it gives up everything else (core/sandbox.h): it is the offer that knows. */

#include <stdbool.h>
#include <stddef.h>

struct file_stamps;
struct log;
struct offer;
struct server;

/* What is asked for. */
struct confinement {
    bool is_required;        /* what the kernel lacks is a failure, not a warning */
    const char *allow_read;  /* directories and files that may be read, separated by colons, or NULL */
    const char *allow_write; /* those that may be changed, too; likewise */
};

/* Confine the calling thread, and all that it begins later, to what serving the offer takes: to read the mounted
 * directories, the folders of files (those of the script and its modules) and of Lua's packages, and what is asked for,
 * and to remove the sockets of the server, which has bound its addresses. Returns 0, or -errno with a text in err; a part
 * may be in force then. */
int confine_server(const struct offer *offer, struct file_stamps *files, const struct server *server,
                   const struct confinement *wanted, const struct log *log, char *err, size_t errlen);

/* Whether the directories that next mounts, and the offer before it did not, can be read: 0, or -EACCES with a text in
 * err that names the one that a sandbox keeps away. */
int confine_check(const struct offer *before, const struct offer *next, char *err, size_t errlen);

#endif
