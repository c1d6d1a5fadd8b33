#ifndef EVSERVE_HTTP_HOST_RELOAD_H
#define EVSERVE_HTTP_HOST_RELOAD_H

/* Reloading a running server: evserve_reload() and evserve_reload_later(). */

#include "http/host/loading.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct errand;
struct mailbox_call;
struct worker;

/* Called once a reload is over: error is 0, or -errno with a text. */
typedef void (*reload_done_fn)(void *arg, int error, const char *err);

/* Memory for one reload, for each worker: taken before it begins, so that it can be finished. */
struct reload_room {
    struct errand *errands;
    struct mailbox_call *calls;
    struct offer **offers;
};

/* The reloads of a handle, one at a time. */
struct reload {
    struct worker *workers; /* borrowed, count of them */
    unsigned count;
    uint64_t timeout_ms; /* in which a script must load */
    atomic_bool is_busy; /* a reload is under way */
    struct loading loading;
    struct reload_room room;         /* of the one under way */
    bool is_waiting;                 /* for loading, in the loop of the first worker, whose thread has these three */
    uint64_t late_timer;             /* set while it does, else 0 */
    reload_done_fn done;             /* what follows then, NULL for nothing */
    void *arg;                       /* for done */
    atomic_ullong succeeded, failed; /* reloads since the start */
    atomic_bool has_failed;          /* the last one */
};

/* What was reloaded since the start. Any thread. */
struct reload_counts {
    uint64_t succeeded, failed;
    bool has_failed; /* the last one */
};

/* workers are borrowed; timeout_ms 0 is RELOAD_TIMEOUT_MS. on_last(owner) is called when the reload is no longer used,
 * see reload_release(). */
enum { RELOAD_TIMEOUT_MS = 30000 };
void reload_init(struct reload *reload, struct worker *workers, unsigned count, uint64_t timeout_ms,
                 void (*on_last)(void *owner), void *owner);

/* Make a new offer for each of the workers, and when all of them have one, go on to it. Any thread. Returns 0, or
 * -errno with a text in err, and every worker serves what it served before: -EBUSY while another reload is under
 * way. */
int reload_now(struct reload *reload, char *err, size_t errlen);

/* The same without waiting: done(arg, error, err) is called on the first worker's thread when it is over, or by
 * reload_end(). Any thread. Returns 0, or -errno with a text in err, and done is not called. */
int reload_later(struct reload *reload, reload_done_fn done, void *arg, char *err, size_t errlen);

void reload_get_counts(const struct reload *reload, struct reload_counts *counts);

/* A worker has ended, so that a reload would be in vain. Any thread. */
void reload_cancel(struct reload *reload);

/* All workers have ended: so does a reload that is under way. Nothing may follow but reload_release(). */
void reload_end(struct reload *reload);

/* Have on_last(owner) called, now or as soon as no thread uses the plan, the log and the reload itself any more. */
void reload_release(struct reload *reload);

#endif
