/* evs_on_done(): what a host frees when a request is over. */

#include "http/host/evs_internal.h"

#include <errno.h>

_Static_assert((int)EVS_DONE_MAX == (int)EVS_DONE_LIMIT, "evserve.h says how many calls there are room for");

static void call_dones(struct exchange *exchange)
{
    struct evs_state *evs = &exchange->evs;
    while (evs->done_count > 0) {
        const struct evs_done *done = &evs->done[--evs->done_count];
        done->fn(done->arg);
    }
}

int evs_on_done(evs_request *request, void (*fn)(void *arg), void *arg)
{
    struct exchange *exchange = exchange_of(request);
    struct evs_state *evs = &exchange->evs;
    if (fn == NULL) {
        return -EINVAL;
    }
    if (evs->done_count == EVS_DONE_LIMIT) {
        return -ENOBUFS;
    }
    evs->done[evs->done_count++] = (struct evs_done){.fn = fn, .arg = arg};
    exchange->on_over = call_dones;
    exchange->dues.is_watched = true;
    return 0;
}
