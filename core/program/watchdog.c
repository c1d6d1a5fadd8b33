/* Happy path: each thread posts the sign to the next one, from the last to the first, and that notifies systemd.
 *
 * Failure modes: without memory for a post, or when the server has ended, this sign is lost; the next one begins
 * anew. */

#include "core/program/watchdog.h"

#include "core/program/systemd.h"

#include <stddef.h>

static void pass_sign(void *arg)
{
    struct watchdog *watchdog = arg;
    unsigned next = atomic_fetch_sub(&watchdog->hops, 1) - 1;
    if (next == 0) {
        systemd_notify(watchdog->notifier, "WATCHDOG=1");
    } else if (evserve_post_to(watchdog->server, next - 1, pass_sign, watchdog) < 0) {
        atomic_store(&watchdog->hops, 0);
    }
}

void watchdog_send_sign(struct watchdog *watchdog)
{
    unsigned none = 0;
    if (atomic_compare_exchange_strong(&watchdog->hops, &none, watchdog->threads) &&
        evserve_post_to(watchdog->server, watchdog->threads - 1, pass_sign, watchdog) < 0) {
        atomic_store(&watchdog->hops, 0);
    }
}
