/* Happy path: retired_add() hooks into the site. When its last request lets go of it, a task looks at all retired
 * offers at the end of the tick, and frees those that nothing needs any more. A timer looks again at a script with work
 * left.
 *
 * Failure modes: the task needs no memory, so that no script is ever stopped where a request ends, deep inside the
 * server. Without memory for the timer, the next offer that retires, or retired_done(), does the work. */

#include "http/host/retired.h"

#include "core/reactor.h"
#include "http/host/offer.h"
#include "http/site.h"
#include "http/site_parts.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    REAP_MS = 100,         /* how often a retired script is asked whether it is still busy */
    RETIRED_MS_MAX = 60000 /* how long it may stay busy after its last request */
};

static void reap(struct retired *retired);

static void on_reap_timer(struct reactor *reactor, uint64_t timer, void *arg)
{
    (void)reactor;
    (void)timer;
    struct retired *retired = arg;
    retired->timer = 0;
    reap(retired);
}

/* Whether an offer can be freed: no request uses it, and its script has nothing left to do or has had enough time. */
static bool is_done_with(struct offer *offer, int64_t now_ms)
{
    if (offer->site->pins > 0) {
        return false;
    }
    offer->unused_ms = offer->unused_ms == 0 ? now_ms : offer->unused_ms;
    int64_t end_ms = offer->unused_ms + RETIRED_MS_MAX;
    return now_ms > end_ms || !offer_is_busy(offer, end_ms);
}

/* Free the offers that nothing uses any more; look again later at those that are still busy. */
static void reap(struct retired *retired)
{
    bool is_waiting = false;
    for (struct offer **at = &retired->first; *at != NULL;) {
        struct offer *offer = *at;
        if (is_done_with(offer, reactor_now_ms(retired->reactor))) {
            *at = offer->next;
            offer_stop(offer);
            offer_destroy(offer);
        } else {
            is_waiting = is_waiting || offer->site->pins == 0;
            at = &offer->next;
        }
    }
    if (is_waiting && retired->timer == 0) {
        retired->timer = reactor_set_timeout(retired->reactor, REAP_MS, on_reap_timer, retired);
    }
}

static void on_reap(struct reactor *reactor, void *arg)
{
    (void)reactor;
    reap(REACTOR_OWNER(arg, struct retired, task));
}

static void on_unpinned(void *arg)
{
    struct retired *retired = arg;
    reactor_schedule(retired->reactor, &retired->task);
}

void retired_init(struct retired *retired, struct reactor *reactor)
{
    *retired = (struct retired){.reactor = reactor, .task.fn = on_reap};
}

void retired_add(struct retired *retired, struct offer *offer)
{
    offer_end_timers(offer); /* in this order: a timer that "stopping" sets still runs */
    offer_announce_stop(offer);
    offer->site->on_unpinned = on_unpinned;
    offer->site->on_unpinned_arg = retired;
    offer->next = retired->first;
    retired->first = offer;
    on_unpinned(retired); /* there may be no request that does it */
}

bool retired_is_busy(const struct retired *retired, int64_t until_ms)
{
    bool is_busy = false;
    for (const struct offer *offer = retired->first; offer != NULL && !is_busy; offer = offer->next) {
        is_busy = offer_is_busy(offer, until_ms);
    }
    return is_busy;
}

void retired_stop(struct retired *retired)
{
    for (struct offer *offer = retired->first; offer != NULL; offer = offer->next) {
        offer_stop(offer);
    }
}

void retired_abandon(struct retired *retired)
{
    for (struct offer *offer = retired->first; offer != NULL; offer = offer->next) {
        site_abandon(offer->site);
    }
}

void retired_done(struct retired *retired)
{
    reactor_unschedule(retired->reactor, &retired->task);
    while (retired->first != NULL) {
        struct offer *next = retired->first->next;
        offer_destroy(retired->first);
        retired->first = next;
    }
}
