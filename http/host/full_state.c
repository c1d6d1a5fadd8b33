/* Happy path: a report is posted to the first worker, which acts between two turns of its loop.
 *
 * Failure modes: no memory to post, or a script that cannot be loaded; the next report, after the same time, tries
 * again. */

#include "http/host/full_state.h"

#include "core/log.h"
#include "core/mailbox.h"

#include <errno.h>

static void on_full_reloaded(void *arg, int error, const char *err)
{
    const struct full_state *full = arg;
    if (error == 0) {
        log_write(full->log, LOG_WARN, "the Lua state stayed full, so the script was loaded anew (lua_full_timeout)");
    } else {
        log_write(full->log, LOG_ERROR, "the Lua state stays full, and the script was not loaded anew: %s", err);
    }
}

/* On the first worker's thread, which is also the one that sets its error. */
static void heed_full_state(void *arg)
{
    struct full_state *full = arg;
    char err[EVSERVE_ERROR_MAX];
    atomic_store(&full->is_noted, false);
    if (atomic_exchange(&full->ends, false)) {
        log_write(full->log, LOG_ERROR, "the Lua state stays full, so the server ends (lua_full_exit)");
        *full->error = -ENOMEM;
        full->stop(full->owner, EVSERVE_DRAIN_TIMEOUT);
        return;
    }
    int rv = full->reload(full->owner, on_full_reloaded, full, err, sizeof err);
    if (rv < 0 && rv != -EBUSY) { /* with -EBUSY another reload is under way, which is as good */
        on_full_reloaded(full, rv, err);
    }
}

void full_state_report(void *arg, bool ends)
{
    struct full_state *full = arg;
    if (ends) {
        atomic_store(&full->ends, true);
    }
    if (!atomic_exchange(&full->is_noted, true) && mailbox_post(full->first, heed_full_state, full) < 0) {
        atomic_store(&full->is_noted, false);
    }
}
