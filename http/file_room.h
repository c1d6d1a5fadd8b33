#ifndef EVSERVE_HTTP_FILE_ROOM_H
#define EVSERVE_HTTP_FILE_ROOM_H

/* How the file cache has fds closed elsewhere if a file cannot be opened for lack of them. */

#include "core/sys.h"

#include <stdbool.h>
#include <stddef.h>

enum { FILE_ROOM_TRIES = 4 }; /* of opening one file: another thread may take the fd that was closed */

struct file_room {
    /* Close something, and return whether something was closed. Called in the middle of a request, so it must not touch
     * anything in use. NULL if there is nothing to close. */
    bool (*make)(void *arg);
    void *arg; /* passed to make */
};

/* An open failed with error: whether there is room now, so that it is worth trying again. room may be NULL. */
static inline bool file_room_make(const struct file_room *room, int error)
{
    return sys_is_out_of_fds(error) && room != NULL && room->make != NULL && room->make(room->arg);
}

#endif
