#ifndef EVSERVE_HTTP_HOST_FULL_STATE_H
#define EVSERVE_HTTP_HOST_FULL_STATE_H

/* What becomes of a server whose Lua state stays full: the script is loaded anew, or the server ends. One for each
 * handle; its calls go up to the handle, so they are pointers. */

#include "evserve.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;
struct mailbox;

struct full_state {
    evserve *owner;        /* the handle */
    struct mailbox *first; /* of its first worker, which acts for all of them */
    int *error;            /* of that worker: -errno once the server ends */
    const struct log *log; /* borrowed */
    int (*reload)(evserve *owner, void (*done)(void *arg, int error, const char *err), void *arg, char *err,
                  size_t errlen);
    void (*stop)(evserve *owner, uint32_t drain_ms);
    atomic_bool is_noted; /* a report came, and nobody has acted on it yet */
    atomic_bool ends;     /* likewise, and the server ends */
};

/* Take note of it: arg is a struct full_state. On the thread of any worker, in the middle of a request. Of reports that
 * come before the first worker has acted, one counts. If the server ends, it does so with -ENOMEM as its error. */
void full_state_report(void *arg, bool ends);

#endif
