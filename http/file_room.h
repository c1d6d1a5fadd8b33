#ifndef EVSERVE_HTTP_FILE_ROOM_H
#define EVSERVE_HTTP_FILE_ROOM_H

/* Who gives up file descriptors when a file cannot be opened for lack of them. */

#include "core/sys.h"

#include <stdbool.h>
#include <stddef.h>

enum { FILE_ROOM_TRIES = 4 }; /* of opening one file: what was given up may go to another thread */

struct file_room {
    /* Close something, and return whether something was closed. Called in the middle of a request: it touches nothing
     * that is in use. NULL: nobody can. */
    bool (*make)(void *arg);
    void *arg; /* handed to make */
};

/* An open failed with error: whether there is room now, so that it is worth trying again. room may be NULL. */
static inline bool file_room_make(const struct file_room *room, int error)
{
    return sys_is_out_of_fds(error) && room != NULL && room->make != NULL && room->make(room->arg);
}

#endif
