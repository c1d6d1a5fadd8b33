/* Nothing here fails: what may is made at first use. */

#include "core/outbound.h"

#include <assert.h>

void outbound_init(struct outbound *outbound, struct reactor *reactor, struct job_pools *jobs, const struct log *log)
{
    *outbound = (struct outbound){.links = {.reactor = reactor, .log = log}, .jobs = jobs};
}

void outbound_done(struct outbound *outbound)
{
    assert(outbound->links.count == 0);
    (void)outbound;
}

void outbound_abandon(struct outbound *outbound)
{
    links_abandon(&outbound->links);
}
