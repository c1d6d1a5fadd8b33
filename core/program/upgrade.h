#ifndef EVSERVE_CORE_PROGRAM_UPGRADE_H
#define EVSERVE_CORE_PROGRAM_UPGRADE_H

/* Replacing the running program by another version of it, which takes over its listening sockets (launch.h). The old
 * program starts the new one and serves on; once the new one says that it serves, the old one stops. A new one that
 * ends before, or closes the pipe, or says nothing for UPGRADE_DEADLINE_MS, changes nothing. upgraded.h is the new
 * program's part. For programs; the main thread calls all of it. */

#include "evserve.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    UPGRADE_DEADLINE_MS = 60000, /* how long the new program may take until it serves */
    UPGRADE_END_MS = 2000,       /* until it must have ended once it can say nothing any more */
    UPGRADE_LOOK_MS = 50,        /* how often to call upgrade_look() meanwhile */
    UPGRADE_SAID_MAX = 1024,     /* bytes of what it says */
    UPGRADE_PATH_MAX = 4096,     /* of the program's path, with its NUL */
};

#define UPGRADE_READY "ready\n" /* what it says when it serves */

struct upgrade {
    const char *path; /* of the program, in path_text; NULL if it is not known */
    char path_text[UPGRADE_PATH_MAX];
    char *const *argv;           /* borrowed */
    pid_t child;                 /* the new program; 0 while there is none */
    int fd;                      /* what it says comes from here, until it ends; -1 afterwards */
    int64_t until_ms;            /* the deadline */
    char said[UPGRADE_SAID_MAX]; /* said_len bytes, without a NUL */
    size_t said_len;
};

/* At the start. argv is that of main(). */
void upgrade_init(struct upgrade *upgrade, char *const *argv);

/* Start the new program with the server's sockets. Returns 0, or -errno with a text in err and nothing changed:
 * -EALREADY if one was started and does not serve yet. */
int upgrade_begin(struct upgrade *upgrade, evserve *server, char *err, size_t errlen);

/* Look what has become of it. Returns 0 while it is starting; its process id once it serves; or -errno with a text in
 * err: it did not start, and is gone. */
pid_t upgrade_look(struct upgrade *upgrade, char *err, size_t errlen);

/* End a new program that does not serve yet. */
void upgrade_cancel(struct upgrade *upgrade);

static inline bool upgrade_is_under_way(const struct upgrade *upgrade)
{
    return upgrade->child > 0;
}

#endif
